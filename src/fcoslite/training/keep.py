"""What a detector has known stays: weights from before and after fine-tuning are averaged (WiSE-FT, arXiv 2109.01903).

kept = share · before + (1 - share) · tuned, for every array of a weights file, the moving statistics of batch
normalisation included. A share is judged on held-out images of the data, and on the photographs that are installed with
the package, which no fine-tuning has seen.
"""

import logging
from collections.abc import Mapping
from typing import Any

from fcoslite.config.settings import Settings
from fcoslite.data.embedded import embedded_data
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.source import Source
from fcoslite.errors import ConfigError
from fcoslite.evaluation.evaluation import Evaluates
from fcoslite.models.detector import Detector
from fcoslite.models.presets import COCO_CLASSES
from fcoslite.models.weights import assign_weights, save_weights
from fcoslite.progress import Progress
from fcoslite.runs.figures import figure_text, is_figure
from fcoslite.runs.kept import HELD_OUT, PHOTOGRAPHS, TITLES, read_kept
from fcoslite.runs.run import Run
from fcoslite.storage.arrays import read_arrays, read_header
from fcoslite.storage.files import replace_file

MOST_LOST = 0.01  # AP on the photographs: the noise of 32 of them, and what nobody sees
_SHARES = tuple(tenths / 10 for tenths in range(11))

_log = logging.getLogger("fcoslite")


def settle_keep(settings: Settings, of_camera: bool, validation: Source | None) -> Settings:
    """Settings in which `finetune.keep` says what will be done.

    Args:
        settings: With the classes of the data.
        of_camera: The data are frames of a camera: unless told otherwise, what was known is kept.
        validation: Held-out images.

    Raises:
        ConfigError: The share is to be chosen, and there is nothing to choose it by.
    """
    keep, classes = settings.finetune.keep, settings.model.classes or ()
    lack = ""
    if validation is None:
        lack = "no image of the data is held out"
    elif isinstance(validation, FolderSource) and all(image.iscrowd.all() for image in validation.images):
        lack = f"none of the {len(validation)} held-out images has a box"
    elif not set(classes) <= set(COCO_CLASSES):
        lack = f"the photographs of the package are not labelled with {', '.join(classes)}"
    if keep == "auto" and lack:
        raise ConfigError(f"finetune.keep is auto, but {lack}", "name a share from 0 to 1: --keep 0.5")
    if keep is not None or not of_camera:
        return settings
    if lack:
        _log.warning("weights from before are not averaged in: %s (--keep 0.5 does it unjudged)", lack)
        return settings
    return settings.model_copy(update={"finetune": settings.finetune.model_copy(update={"keep": "auto"})})


def is_kept(run: Run) -> bool:
    """Whether the run's best weights are averages already, and keep.json says of what."""
    return read_kept(run) is not None and "keep" in read_header(run.best_weights)


def keep_known(
    run: Run,
    detector: Detector,
    evaluator: Evaluates,
    validation: Source | None,
    settings: Settings,
    bar: Progress,
) -> dict[str, Any]:
    """Make the average of a finished run's weights its best ones, write keep.json, and say what was gained and lost.

    Killed at any place, it does the same again: what it begins with stays in before.npz and tuned.npz.

    Args:
        run: With before.npz, and best.npz as training has left it.
        detector: Of the run; it gets the average.
        evaluator: Of that detector.
        validation: Held-out images.
        settings: Of the run.
        bar: Progress of each evaluation.

    Returns:
        The document of keep.json.
    """
    if not is_kept(run):
        _average(run, detector, evaluator, validation, settings, bar)
    document = read_kept(run)
    assert document is not None
    _tell(document)
    return document


def _average(
    run: Run,
    detector: Detector,
    evaluator: Evaluates,
    validation: Source | None,
    settings: Settings,
    bar: Progress,
) -> None:
    keep, batch_size = settings.finetune.keep, settings.compute.batch_size
    assert keep is not None
    if "keep" not in read_header(run.best_weights):
        replace_file(run.tuned_weights, run.best_weights.read_bytes())
    before, _ = read_arrays(run.before_weights)
    tuned, facts = read_arrays(run.tuned_weights)
    sets: dict[str, Source] = {} if validation is None else {HELD_OUT: validation}
    if set(detector.class_names) <= set(COCO_CLASSES):
        sets[PHOTOGRAPHS] = _photographs(detector, settings)

    def mix(share: float) -> None:
        mixed = {name: share * before[name] + (1 - share) * array for name, array in tuned.items()}
        assign_weights(detector, mixed, str(run.path))

    figures: dict[float, dict[str, dict[str, float]]] = {}
    shares = _SHARES if keep == "auto" else sorted({0.0, keep, 1.0})
    counts = " and ".join(f"{len(source)} {TITLES[name]}" for name, source in sets.items()) or "nothing"
    _log.info("weights from before and after are averaged: %d shares of them are tried on %s", len(shares), counts)
    for share in shares:
        mix(share)
        figures[share] = {name: evaluator.run(source, batch_size, bar).metrics for name, source in sets.items()}
    chosen = choose_share({share: {name: part["ap"] for name, part in all_.items()} for share, all_ in figures.items()})
    share = chosen if keep == "auto" else keep
    document = {
        "share": float(share),
        "chosen": keep == "auto",
        "most_lost": MOST_LOST,
        "sets": {
            name: {
                "images": len(source),
                "before": figures[1.0][name],
                "tuned": figures[0.0][name],
                "kept": figures[share][name],
            }
            for name, source in sets.items()
        },
        "tried": [{"share": one, **{name: part["ap"] for name, part in figures[one].items()}} for one in shares],
    }
    metrics = {f"val_{key}": value for key, value in figures[share].get(HELD_OUT, {}).items()}
    mix(share)
    known: dict[str, Any] = {key: facts[key] for key in ("run", "epoch") if key in facts}
    save_weights(detector, run.best_weights, {**known, "metrics": metrics, "keep": share})
    run.write_json(run.keep_file.name, document)


def choose_share(ap: Mapping[float, Mapping[str, float]]) -> float:
    """The share with the most AP on the held-out images, of those that lose no more than `MOST_LOST` elsewhere.

    Args:
        ap: By share, then by set; share 1, the weights from before, is among them, and always allowed. Where two are
            as good, more is kept; where the held-out images have no box to judge by, the least that is allowed.
    """
    least = ap[1.0].get(PHOTOGRAPHS, 0.0) - MOST_LOST
    allowed = [share for share, figures in ap.items() if share == 1.0 or figures.get(PHOTOGRAPHS, 0.0) >= least]
    if not is_figure(ap[1.0].get(HELD_OUT, 0.0)):
        return min(allowed)
    return max(allowed, key=lambda share: (ap[share].get(HELD_OUT, 0.0), share))


def _photographs(detector: Detector, settings: Settings) -> FolderSource:
    folder = embedded_data()
    dataset = read_coco(folder / "annotations.json", folder / "images", detector.class_names)
    return FolderSource(dataset, dataset.images, detector.image_size, settings.compute.workers)


def _tell(document: Mapping[str, Any]) -> None:
    share, sets = document["share"], document["sets"]
    for name, part in sets.items():
        texts = [figure_text(part[one]["ap"], 3) for one in ("before", "tuned", "kept")]
        _log.info("AP on %d %s: %s before, %s fine-tuned, %s kept", part["images"], TITLES[name], *texts)
    _log.info("kept: %g of the weights from before, %g of the fine-tuned", share, round(1 - share, 6))
    if document["chosen"] and share == 1.0:
        _log.warning("no share of the fine-tuned weights is better on the %s: they stay as before", TITLES[HELD_OUT])
    lost = {name: part["before"]["ap"] - part["kept"]["ap"] for name, part in sets.items()}
    if lost.get(PHOTOGRAPHS, 0.0) > document["most_lost"]:
        _log.warning("elsewhere the detector has become worse: AP on the photographs fell by %.3f", lost[PHOTOGRAPHS])
    if lost.get(HELD_OUT, 0.0) > 0:
        _log.warning("on the data it has become worse, too: AP on held-out images fell by %.3f", lost[HELD_OUT])
