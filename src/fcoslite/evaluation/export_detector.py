"""Export: write a detector for another engine, run it there, and tell how far it is from the original."""

import logging
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from fcoslite.config.settings import DetectSettings
from fcoslite.data.embedded import embedded_data
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import UnusableImageError, read_image
from fcoslite.data.sources.folder import FolderSource
from fcoslite.errors import ConfigError, DataError, FcosliteError
from fcoslite.evaluation.layout_runtimes import LayoutRuntime
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.export.program_configuration import frigate_configuration, labels_text, scrypted_configuration
from fcoslite.fcos.postprocess import postprocess
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.about import about
from fcoslite.inference.input.image_files import images_in
from fcoslite.inference.predictor import Predictor
from fcoslite.inference.runtimes.exported import LITERT, ONNX, OPENVINO
from fcoslite.inference.runtimes.onnx_copy import facts_of
from fcoslite.inference.runtimes.open import open_runtime
from fcoslite.inference.runtimes.openvino import write_openvino
from fcoslite.inference.runtimes.runtime import Dense, Runtime
from fcoslite.models.facts import SAVED_MODEL_FACTS, ExportFacts, Layout
from fcoslite.models.presets import COCO_CLASSES
from fcoslite.progress import Progress, no_progress
from fcoslite.runs.figures import is_figure
from fcoslite.storage.files import replace_file
from fcoslite.storage.space import check_writable

if TYPE_CHECKING:
    from fcoslite.models.detector import Detector

Format = Literal["onnx", "openvino", "litert", "saved-model"]
FORMATS: tuple[Format, ...] = get_args(Format)
SUFFIXES: dict[Format, str] = {"onnx": ONNX, "openvino": OPENVINO, "litert": LITERT, "saved-model": ""}
Precision = Literal["float32", "float16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
FORMATS_OF: dict[Layout, tuple[Format, ...]] = {
    "fcoslite": FORMATS,
    "yolo": ("onnx", "openvino"),
    "ssd": ("litert",),
}  # the first is the usual one

_COMPARED = 8  # photographs
_CALIBRATED = 128  # photographs at most: ranges hardly change after some dozens
_SEEN = 0.05  # locations that score less are not compared
_MOST_LOST = 0.01  # AP, by int8

logger = logging.getLogger("fcoslite.evaluation")


@dataclass(frozen=True)
class ExportPlan:
    """What will be exported, and how.

    Attributes:
        weights: A weights file.
        out: The file to write; for OpenVINO the .xml, beside which a .bin is put; a SavedModel is a folder.
        format: Of the file.
        precision: Of the weights; int8 computes in 8-bit integers, too.
        layout: Of input and outputs: ours, or that of other projects, whose programs then read the file.
        nms: Duplicates are suppressed in the file.
        image_size: Side of the letterboxed image, pixels, which is a square then; None: that of the weights, and files
            for ONNX and OpenVINO take images of any shape with no more pixels, see `Letterbox.fitting`.
        batch: Images at a time; None: any number.
        calibrate: A folder of photographs, for int8; None: those embedded.
        check: A data set to score before and after: a folder with images/ and annotations.json; None: nothing is
            scored, or for int8 on the embedded photographs.
    """

    weights: Path
    out: Path
    format: Format = "onnx"
    precision: Precision = "float32"
    layout: Layout = "fcoslite"
    nms: bool = False
    image_size: int | None = None
    batch: int | None = 1
    calibrate: Path | None = None
    check: Path | None = None


@dataclass(frozen=True)
class ExportResult:
    """What was exported.

    Attributes:
        out: The file.
        size_bytes: Its size, of all its parts.
        compared: Photographs on which it was compared with Keras.
        box_difference: Greatest difference of a side, pixels of the letterboxed image, where a score is seen.
        score_difference: Greatest difference of a score.
        ap_before: AP of the original on the data of `check`; None where nothing was scored.
        ap_after: That of the file.
        labels: The file of class names, in the layouts of other projects.
        configurations: By program that reads the file: what to paste there.
    """

    out: Path
    size_bytes: int
    compared: int
    box_difference: float
    score_difference: float
    ap_before: float | None
    ap_after: float | None
    labels: Path | None
    configurations: dict[str, str]

    def document(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def export_detector(plan: ExportPlan, progress: Progress = no_progress) -> ExportResult:
    """Export; the file is run, by the runtime that it is for, before it is written to its place.

    Raises:
        WeightsError: The weights cannot be used.
        ConfigError: They cannot be built at that size.
        DataError: There is no photograph to calibrate on, or the data to check on cannot be used.
        FcosliteError: Packages are missing, or int8 loses more than 0.01 AP.
    """
    _check_format(plan)
    check_out(plan)
    facts = facts_of(plan.weights, plan.precision)
    size = plan.image_size or facts.image_size
    decoded = plan.layout != "fcoslite" or plan.format != "litert" or plan.precision != "int8"
    free = plan.image_size is None and plan.layout == "fcoslite" and plan.format in ("onnx", "openvino")
    own = {"image_size": size, "step": facts.step if free else None, "batch": plan.batch, "decoded": decoded}
    facts = facts.model_copy(update={**own, "layout": plan.layout})
    wanted = _CALIBRATED if plan.precision == "int8" else _COMPARED
    folder = plan.calibrate or embedded_data() / "images"
    images = list(islice(_letterboxed(folder, facts, wanted, progress), wanted))
    if not images:
        raise DataError(f"no image in {folder} can be read", "name another folder with --calibrate")
    from fcoslite.machine.backend import load_backend

    load_backend()
    from fcoslite.export.joined_scores import has_two_scores
    from fcoslite.inference.runtimes.keras import KerasRuntime
    from fcoslite.inference.runtimes.saved_model import SavedModelRuntime
    from fcoslite.models.detector import build_detector
    from fcoslite.models.header import model_settings
    from fcoslite.models.weights import load_weights

    model = model_settings(plan.weights).model_copy(update={"image_size": size})
    detector = build_detector(model, free_sides=free)
    load_weights(detector, plan.weights)
    # Windows keeps what a runtime has mapped
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        checked, final = _make(plan, detector, facts, images, Path(name))
        before: Runtime = KerasRuntime(detector)
        after: Runtime
        if checked.is_dir():
            after = SavedModelRuntime(checked, facts)
        elif plan.layout == "fcoslite":
            after = open_runtime(checked)
        else:
            after = LayoutRuntime(checked, facts, has_two_scores(detector))
        compare = _differences if plan.layout != "ssd" else partial(_differences_of_found, facts=facts)
        boxes, scores = compare(before, after, images[:_COMPARED])
        before_ap = after_ap = None
        if plan.check is not None or plan.precision == "int8":
            data = plan.check or embedded_data()
            of_file = {"iou": facts.webcam.iou} if plan.layout == "ssd" else {}  # it has suppressed duplicates by that
            settings = facts.evaluate.model_copy(update=of_file)
            before_ap, after_ap = (_average_precision(each, settings, data, progress) for each in (before, after))
            if not is_figure(before_ap):
                raise DataError(f"{data} has no box to score on", "name a data set with boxes with --check")
            if plan.precision == "int8" and after_ap < before_ap - _MOST_LOST:
                message = f"int8 loses too much: AP {before_ap:.3f} became {after_ap:.3f} on {data}"
                raise FcosliteError(message, "name more photographs like those to come with --calibrate, or float16")
        size_bytes = _put(final, plan.out)
    labels, configurations = _hand_over(plan, detector, facts)
    figures = (len(images[:_COMPARED]), boxes, scores, before_ap, after_ap)
    return ExportResult(plan.out, size_bytes, *figures, labels, configurations)


def check_out(plan: ExportPlan) -> None:
    """Refuse a plan before its work.

    Raises:
        DataError: The file or folder cannot be written, or the folder holds what no export has written.
        ConfigError: There is nothing to score int8 on.
    """
    if plan.precision == "int8" and plan.check is None:
        classes = about(plan.weights).class_names
        if not set(classes) <= set(COCO_CLASSES):
            lack = f"the photographs of the package are not labelled with {', '.join(classes)}"
            raise ConfigError(f"int8 is scored before and after, and {lack}", "name labelled images with --check")
    is_folder = plan.format == "saved-model"
    check_writable(plan.out, "name another place with --out", folder=is_folder)
    if not is_folder or not plan.out.is_dir() or not any(plan.out.iterdir()):
        return
    if not (plan.out / SAVED_MODEL_FACTS).is_file():
        raise DataError(f"{plan.out} is not empty", "name another folder with --out; only an export is ever replaced")


def places_of(plan: ExportPlan) -> list[Path]:
    """All that an export writes."""
    places = [plan.out, labels_beside(plan), weights_beside(plan.out) if plan.format == "openvino" else None]
    return [place for place in places if place is not None]


def weights_beside(openvino: Path) -> Path:
    """Where the weights of an OpenVINO file are."""
    return openvino.with_suffix(".bin")


def labels_beside(plan: ExportPlan) -> Path | None:
    """Where the file of labels goes, if one is written."""
    return None if plan.layout == "fcoslite" else plan.out.with_name(f"{plan.out.stem}-labels.txt")


def _hand_over(plan: ExportPlan, detector: "Detector", facts: ExportFacts) -> tuple[Path | None, dict[str, str]]:
    """Write the file of labels, and tell what the programs that read the detector are to be told."""
    labels = labels_beside(plan)
    if labels is None:
        return None, {}
    replace_file(labels, labels_text(facts.classes).encode())
    from fcoslite.export.joined_scores import joined

    score = float(joined(facts.webcam.score, detector))
    size, classes, name = facts.image_size, facts.classes, plan.out.name
    frigate = frigate_configuration(plan.format, name, labels.name, size, classes, score, plan.layout)
    if plan.layout == "ssd":
        return labels, {"Frigate": frigate}
    parts = [name, weights_beside(plan.out).name] if plan.format == "openvino" else [name]
    return labels, {"Frigate": frigate, "Scrypted": scrypted_configuration(parts, size, classes)}


def _make(
    plan: ExportPlan, detector: "Detector", facts: ExportFacts, images: Sequence[np.ndarray], folder: Path
) -> tuple[Path, Path]:
    """Write the file to check, and the one to hand out: the same, but where it suppresses duplicates itself."""
    if plan.format == "saved-model":
        from fcoslite.export.saved_model import write_saved_model

        write_saved_model(detector, facts, folder / "saved")
        return folder / "saved", folder / "saved"
    if plan.format == "litert":
        from fcoslite.export.litert import to_litert
        from fcoslite.export.ssd import to_ssd

        path = folder / f"detector{LITERT}"
        path.write_bytes((to_ssd if plan.layout == "ssd" else to_litert)(detector, facts, images))
        return path, path
    from fcoslite.export.append_nms import append_nms
    from fcoslite.export.int8 import to_int8
    from fcoslite.export.onnx import to_onnx

    model = to_onnx(detector, facts)
    if plan.precision == "int8":
        model = to_int8(model, facts, images)
    checked = _write(model, plan, folder / "checked")
    if not plan.nms:
        return checked, checked
    return checked, _write(append_nms(model, facts.model_copy(update={"nms": True})), plan, folder / "final")


def _write(model: Any, plan: ExportPlan, stem: Path) -> Path:
    """Write an ONNX model in the format that is asked for."""
    onnx_file = stem.with_suffix(ONNX)
    onnx_file.write_bytes(model.SerializeToString())
    if plan.format == "onnx":
        return onnx_file
    path = stem.with_suffix(OPENVINO)
    write_openvino(onnx_file, path, half=plan.precision == "float16")
    return path


def _put(made: Path, out: Path) -> int:
    """Put what was made in its place, over what is there; returns bytes."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if made.is_dir():
        with tempfile.TemporaryDirectory(prefix=f".{out.name}-", dir=out.parent) as beside:
            copied, former = Path(shutil.copytree(made, Path(beside) / "new")), Path(beside) / "old"
            if out.exists():
                out.rename(former)
            try:
                copied.rename(out)
            except BaseException:
                if former.exists():
                    former.rename(out)
                raise
        return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    parts = {out: made}
    if made.suffix == OPENVINO:  # what the other rests on comes first
        parts = {weights_beside(out): weights_beside(made), out: made}
    for place, path in parts.items():
        replace_file(place, path.read_bytes())
    return sum(path.stat().st_size for path in parts.values())


def _check_format(plan: ExportPlan) -> None:
    formats = FORMATS_OF[plan.layout]
    if plan.format not in formats:
        message = f"nothing reads the layout {plan.layout} in a file for {plan.format}"
        raise ConfigError(message, f"take --format {' or '.join(formats)}, or leave --layout out")
    if plan.layout == "yolo" and (plan.nms or plan.batch is None):
        # Ultralytics takes a batch of any number for a picture of any shape
        raise ConfigError(
            "in the layout yolo a file has a fixed batch, and its readers suppress duplicates",
            "leave --nms and --batch dynamic out",
        )
    if plan.layout == "ssd" and (plan.nms or plan.batch != 1):
        raise ConfigError(
            "in the layout ssd a file takes one image, and always suppresses duplicates", "leave --nms and --batch out"
        )
    if plan.format == "litert" and (plan.nms or plan.batch is None):
        raise ConfigError(
            "a LiteRT file has a fixed batch and no NMS", "leave --nms out and --batch dynamic, or take onnx"
        )
    if plan.format == "saved-model" and (plan.nms or plan.precision != "float32"):
        raise ConfigError("a SavedModel is in float32 and has no NMS", "leave --nms and --precision out, or take onnx")


def _letterboxed(folder: Path, facts: ExportFacts, wanted: int, progress: Progress) -> Iterator[np.ndarray]:
    """[1, H, W, 3] uint8 of each image that can be read."""
    size = facts.image_size
    if not folder.is_dir():
        raise DataError(f"{folder} is no folder of photographs", "name one with --calibrate")
    paths = images_in(folder, recursive=True)
    skipped = 0
    try:
        with progress("reading", min(len(paths), wanted), "images") as advance:
            for path in paths:
                try:
                    image_rgb = read_image(path)
                except UnusableImageError as error:
                    skipped += 1
                    logger.warning("skipped: %s", error.message)
                    continue
                height, width = image_rgb.shape[:2]
                letterbox = Letterbox.fitting(height, width, size, facts.step or size)
                yield letterbox.apply_image(image_rgb)[None]
                advance(1)
    finally:  # it may be left as soon as there are enough
        if skipped:
            logger.warning("%d images in %s could not be read", skipped, folder)


def _differences(one: Runtime, other: Runtime, images: Sequence[np.ndarray]) -> tuple[float, float]:
    """The greatest ones of boxes, pixels, and of scores, at locations that either sees something at."""
    boxes = scores = 0.0
    for image in images:
        pair: tuple[Dense, Dense] = (one(image), other(image))
        seen = np.maximum(pair[0].scores, pair[1].scores).max(axis=-1) > _SEEN
        boxes = max(boxes, float(np.abs(pair[0].boxes_xyxy - pair[1].boxes_xyxy)[seen].max(initial=0)))
        scores = max(scores, float(np.abs(pair[0].scores - pair[1].scores).max(initial=0)))
    return boxes, scores


def _differences_of_found(
    one: Runtime, other: Runtime, images: Sequence[np.ndarray], facts: ExportFacts
) -> tuple[float, float]:
    """As `_differences`, where the other has suppressed duplicates: of each box that stays, from the nearest one."""
    boxes = scores = 0.0
    settings = facts.evaluate.model_copy(update={"iou": facts.webcam.iou})
    for image in images:
        dense, there = one(image), other(image)
        found = postprocess(dense.boxes_xyxy[0], dense.scores[0], settings)
        for box, score, class_id in zip(*found, strict=True):
            if score < _SEEN:
                break
            of_class = there.scores[0][:, class_id - 1]
            moved = np.abs(there.boxes_xyxy[0] - np.clip(box, 0, facts.image_size)).max(axis=1)
            differs = np.abs(of_class - score)
            # of boxes that are cut to the same, the one of that score; a row without a box has none
            nearest = np.argmin(moved / facts.image_size + differs + (of_class == 0))
            boxes, scores = max(boxes, float(moved[nearest])), max(scores, float(differs[nearest]))
    return boxes, scores


def _average_precision(runtime: Runtime, settings: DetectSettings, data: Path, progress: Progress) -> float:
    dataset = read_coco(data / "annotations.json", data / "images", runtime.class_names)
    source = FolderSource(dataset, dataset.images, runtime.image_size, workers=2).checked(False)
    return PredictorEvaluator(Predictor(runtime, settings)).run(source, 4, progress).metrics["ap"]
