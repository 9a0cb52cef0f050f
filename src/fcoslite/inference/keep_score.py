"""A threshold, written where `webcam`, `detect` and `export` read it: the config of the weights."""

from pathlib import Path

from fcoslite.errors import ConfigError
from fcoslite.inference.about import about
from fcoslite.inference.runtimes.exported import is_exported
from fcoslite.runs.find_weights import packaged_weights, run_of
from fcoslite.storage.files import replace_file
from fcoslite.storage.space import check_writable


def place_of_score(weights: Path) -> Path:
    """The config that the threshold of a weights file would be written to: its run's, or that of its name beside it.

    Raises:
        ConfigError: These weights are the package's, or an exported file, which holds its threshold itself.
        DataError: There is no permission.
    """
    if weights in packaged_weights().values():
        raise ConfigError(
            f"{weights.stem} is part of the package, and is not changed",
            f"give --score to detect and webcam; or copy {weights.stem}.* from {weights.parent} to a folder of yours, "
            "and name that copy with --weights",
        )
    if is_exported(weights):
        raise ConfigError(
            f"{weights} is an exported file: its threshold is inside",
            "write that of the weights that it was made of, and export them again",
        )
    run = run_of(weights)
    place = weights.with_suffix(".yaml") if run is None else run.path / "config.yaml"
    check_writable(place, "give --score to detect and webcam", folder=False)
    return place


def keep_score(weights: Path, score: float) -> Path:
    """Write `webcam.score` to the config of a weights file, and return that.

    Where there is none, it gets this setting alone. Comments in one that was written by hand are lost.

    Raises:
        ConfigError: There is no such place, see `place_of_score`, or the config there cannot be used.
        DataError: There is no permission.
    """
    place = place_of_score(weights)
    if place.is_file():
        settings = about(weights).settings
        webcam = settings.webcam.model_copy(update={"score": score})
        content = settings.model_copy(update={"webcam": webcam}).to_yaml()
    else:
        content = f"webcam:\n  score: {score}\n"
    replace_file(place, content.encode())
    return place
