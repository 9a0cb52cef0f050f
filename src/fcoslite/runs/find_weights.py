"""Weights to start from, by the name that the user gives: of a run, a file or the package; and backbones."""

import logging
from collections.abc import Callable
from importlib import resources
from pathlib import Path

from fcoslite.errors import FcosliteError, RunError, WeightsError, closest
from fcoslite.runs.run import Run, list_runs, open_run

DEFAULT_WEIGHTS = "lite0"

_log = logging.getLogger("fcoslite")


def packaged_weights() -> dict[str, Path]:
    """Trained detectors installed with the package, by name. Beside each lies the config it was trained with."""
    return {name: path for name, path in _installed().items() if path.with_suffix(".yaml").is_file()}


def find_weights(text: str | Path | None, folder: Path) -> Path:
    """The weights file that a user means.

    Args:
        text: A .npz file, a run's path or name, the name of packaged weights, or None for the newest run that has
            weights, else the packaged `lite0`.
        folder: Where runs are.

    Raises:
        WeightsError: There are none.
    """
    packaged = packaged_weights()
    if text is None:
        # eval and webcam go by the settings beside the weights
        trained = newest_run(folder, lambda run: run.best_weights.is_file() and bool(run.settings()))
        return trained.best_weights if trained else packaged[DEFAULT_WEIGHTS]
    if Path(text).is_file():
        return Path(text)
    if str(text) in packaged:
        return packaged[str(text)]
    try:
        run = open_run(text, folder)
    except RunError as error:
        hint = closest(str(text), list(packaged)) or f"{error.hint}; packaged: {', '.join(packaged)}"
        raise WeightsError(f"no weights file, run or packaged weights named '{text}'", hint) from None
    if not run.best_weights.is_file():
        raise WeightsError(f"{run.path} holds no weights yet", "its first epoch was not finished; see train --resume")
    return run.best_weights


def find_backbone(text: str) -> Path:
    """The file to start a backbone from: a path, or the name of an installed backbone or detector.

    Raises:
        WeightsError: There is none.
    """
    if Path(text).is_file():
        return Path(text)
    installed = _installed()
    if text in installed:
        return installed[text]
    hint = closest(text, list(installed)) or f"a .npz file, or one of {', '.join(installed)}"
    raise WeightsError(f"no backbone weights named '{text}'", hint)


def _installed() -> dict[str, Path]:
    folder = Path(str(resources.files("fcoslite"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.npz"))}


def run_of(weights: Path) -> Run | None:
    """The run whose checkpoints a weights file is among."""
    folder = weights.parent
    if folder.parent.name in ("", ".."):  # it is named from within the run
        folder = folder.resolve()
    run = Run(folder.parent)
    is_ours = folder == run.checkpoints and (run.path / "run.json").is_file()
    return run if is_ours else None


def config_of(weights: Path) -> Path | None:
    """The config that a weights file was trained with: its run's, or one of its name beside it.

    Raises:
        ConfigError: That of the run is missing or damaged.
    """
    run = run_of(weights)
    if run is not None:
        run.settings()
        return run.path / "config.yaml"
    config = weights.with_suffix(".yaml")
    return config if config.is_file() else None


def newest_run(folder: Path, wanted: Callable[[Run], bool]) -> Run | None:
    """The newest run that is wanted; damaged ones are passed over with a warning."""
    for run in reversed(list_runs(folder)):
        try:
            if wanted(run):
                return run
        except FcosliteError as error:
            _log.warning("%s is passed over: %s", run.path, error.message)
    return None
