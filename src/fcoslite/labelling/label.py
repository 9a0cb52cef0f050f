"""Label pictures by detectors: a data set of images, annotations with scores, and a sheet to look at."""

import logging
import shutil
from collections.abc import Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from fcoslite import __version__
from fcoslite.camera.frames import FRAMES, IMAGES, CameraFrame
from fcoslite.config.settings import WorkspaceSettings
from fcoslite.data.formats.coco import CocoDocument
from fcoslite.data.formats.open import source_digest
from fcoslite.data.images import UnusableImageError, encode_picture, read_image
from fcoslite.data.skipped import (
    LISTING,
    MAX_SKIPPED,
    SkippedImage,
    most_skipped,
    refuse_too_many,
    summary,
    write_skipped,
)
from fcoslite.detections.detections import Detections
from fcoslite.errors import ConfigError, DataError
from fcoslite.labelling.annotations import HumanBoxes, kept_boxes, label_document, read_human_boxes
from fcoslite.labelling.detectors import Loaded, choose_detectors, load_detectors
from fcoslite.labelling.fuse import SURE, choose, fuse, load_fusion, mirrored
from fcoslite.labelling.journal import Entry, Journal
from fcoslite.labelling.sheet import write_sheet
from fcoslite.labelling.sources import (
    Photograph,
    Picture,
    Source,
    count_pictures,
    list_sources,
    needed_bytes,
    pictures,
)
from fcoslite.machine.threads import map_in_order, one_opencv_thread
from fcoslite.progress import Progress, no_progress
from fcoslite.storage.files import file_size, write_json
from fcoslite.storage.space import check_free_space, free_bytes
from fcoslite.storage.staged_folder import (
    MANIFEST,
    check_output,
    is_finished,
    job_digest,
    no_replacement,
    staged_bytes,
    staged_folder,
)

_log = logging.getLogger("fcoslite")

KIND = "fcoslite-label"
DEFAULT_BY = "lite"
LOWEST_SCORE = 0.08
EVERY = 25
ANNOTATIONS = "annotations.json"
SHEET = "sheet.jpg"
IN_PLACE = "label.json"  # the manifest of labels in a camera's folder, which is not to be taken for an output of ours
_JOURNAL = "labelled.jsonl"
_STAGED = ".labels"  # in a camera's folder
_HIGHEST_SCORE = 0.9999  # 1 is a human's
_BOX_DIGITS = 2  # as in COCO's own files
_SCORE_DIGITS = 4


@dataclass(frozen=True)
class LabelResult:
    """What was labelled, or would be.

    Attributes:
        out: The folder.
        class_names: Of the boxes; those of humans may have more.
        views: Times that each image is looked at: detectors, sizes, mirror images.
        images: Images in all; None in a dry run on a video that does not tell its length.
        boxes: Boxes of the detectors; 0 in a dry run, like those that follow.
        sure_boxes: Boxes that score at least 0.4, kept ones of a detector too.
        asked_boxes: Boxes of a camera's frames that a human is to be asked about.
        human_boxes: Boxes that were kept from `merge`.
        skipped_images: Images that could not be used.
        needed_bytes: About what the images take.
        free_bytes: Free space on that disk, before.
    """

    out: Path
    class_names: tuple[str, ...]
    views: int
    images: int | None
    boxes: int
    sure_boxes: int
    asked_boxes: int
    human_boxes: int
    skipped_images: int
    needed_bytes: int
    free_bytes: int = field(compare=False)


def label(
    paths: Sequence[Path],
    out: Path,
    by: Sequence[str] = (DEFAULT_BY,),
    sizes: Sequence[int] = (),
    mirror: bool = True,
    score: float = LOWEST_SCORE,
    merge: Path | None = None,
    every: int = EVERY,
    frames: tuple[int, int | None] = (0, None),
    max_skipped: str = MAX_SKIPPED,
    overwrite: bool = False,
    dry_run: bool = False,
    progress: Progress = no_progress,
) -> LabelResult:
    """Write a COCO data set of pictures, with the boxes that detectors see in them.

    Args:
        paths: Images, folders of them, videos, a camera's folder.
        out: Folder to write, or the camera's folder itself, which gets the annotations beside its images. Nothing
            appears there before it is complete. If it was made from the same pictures with the same options there is
            nothing to do; if that was stopped in the middle, it goes on.
        by: Detectors: packaged weights, .npz files, runs, or FILE.onnx[:DESCRIPTION].
        sizes: Squares that ONNX files look at, pixels; none: what each file fixes.
        mirror: Look at the mirror images, too.
        score: Boxes below are left out.
        merge: A data set, as `open_data` takes it, whose boxes stay as they are; those of detectors are added.
        every: Take each n-th frame of a video.
        frames: The first frame to take, and the one after the last; None: to the end.
        max_skipped: Most images that may be left out because they cannot be used: a count, or a share such as `1%`.
        overwrite: Replace a former output of this function at `out`.
        dry_run: Check and count, write nothing.
        progress: Told about every image.

    Raises:
        SourceError: A picture is not there, or a video cannot be read.
        WeightsError: A detector is not there, or cannot be used.
        ConfigError: An argument is not allowed, or a description does not fit its file.
        DataError: `merge` cannot be used, no image can, or `out` is taken.
        TooManySkippedError: More images cannot be used; with more allowed, the same call goes on.
        BusyError: Another process is at work on `out`.
    """
    _check_arguments(paths, score, every, frames)
    most_skipped(max_skipped, 0)  # a wrong one is told now
    in_place = _is_in_place(paths, out)
    if not in_place:
        check_output(out, KIND, overwrite, (*paths, merge) if merge is not None else tuple(paths))
    chosen = choose_detectors(by, sizes, Path(WorkspaceSettings().runs))
    class_names = chosen[0].class_names
    sources = list_sources(paths, every, frames)
    humans = read_human_boxes(merge) if merge is not None else None
    views = sum(len(one.sizes) for one in chosen) * (2 if mirror else 1)
    if views > 1:
        load_fusion()  # that it is missing is told now
    free = free_bytes(out)
    needed = 0 if in_place else needed_bytes(sources)
    result = partial(LabelResult, out, class_names, views, needed_bytes=needed, free_bytes=free)
    options: dict[str, Any] = {
        "by": [{"name": Path(one.name).name, **one.facts()} for one in chosen],
        "mirror": mirror,
        "score": score,
        "merge": humans and {"name": humans.file.path.name, "sha256": source_digest(humans.file)},
        "every": every,
        "frames": list(frames),
    }
    placed = [[source.source, file_size(source.path), source.count] for source in sources]
    job = job_digest({"version": __version__, "options": options, "placed": placed})
    if not overwrite and (_is_labelled(out, job) if in_place else is_finished(out, job)):
        _log.info("%s is there already, made from the same pictures with the same options", out)
        return result(**_counts(out / (IN_PLACE if in_place else MANIFEST)))
    # of a run's weights, loading leaves an ONNX copy beside them
    loaded = load_detectors([one for one in chosen if one.description is not None] if dry_run else chosen, score)
    hint = "use --every, or another disk with --out"
    check_free_space(out, needed, hint, staged_bytes(out))
    if dry_run:
        count = count_pictures(sources)
        return result(images=count, boxes=0, sure_boxes=0, asked_boxes=0, human_boxes=0, skipped_images=0)
    target = out / _STAGED if in_place else out
    with no_replacement(out) if in_place else nullcontext():  # a review writes its annotations, too
        with staged_folder(target, job, overwrite or in_place) as folder:
            images = out / IMAGES if in_place else folder / IMAGES
            if not (folder / MANIFEST).is_file():  # else killed after all the work
                entries, skipped = _label_all(
                    sources, loaded, mirror, score, humans, folder, images, max_skipped, progress
                )
                if not entries:
                    raise DataError(summary(skipped, len(skipped)), "there is nothing to label")
                document = label_document(entries, class_names, humans, _taken(sources))
                (folder / ANNOTATIONS).write_bytes(document.encode())
                write_sheet(document, entries, images, folder / SHEET)
                write_skipped(skipped, len(entries) + len(skipped), folder)
                counts = _count(document, kept_boxes(entries, humans), len(skipped))
                write_json(
                    folder / MANIFEST, {"kind": KIND, "version": __version__, **counts, "options": options, "job": job}
                )
            (folder / _JOURNAL).unlink(missing_ok=True)
        if in_place:
            _unpack(target, out)
    return result(**_counts(out / (IN_PLACE if in_place else MANIFEST)))


def _is_in_place(paths: Sequence[Path], out: Path) -> bool:
    """Whether the labels are for the very folder of frames that they are written to."""
    if not (out / FRAMES).is_file() or out.resolve() not in [path.resolve() for path in paths]:
        return False
    if len(paths) > 1:
        raise ConfigError(f"only the labels of {out} itself can be written into it", "choose another folder with --out")
    return True


def _is_labelled(out: Path, job: str) -> bool:
    """Whether a camera's folder has the labels of this very job.

    Raises:
        DataError: It has others.
    """
    if not (out / ANNOTATIONS).is_file():
        return False
    if _manifest(out / IN_PLACE).get("job") != job:
        hint = "add --overwrite to replace it, or choose another --out"
        raise DataError(f"{out / ANNOTATIONS} exists already, of other frames or with other options", hint)
    return True


def _unpack(staged: Path, out: Path) -> None:
    """Put labels in their place in a camera's folder, the file that says they are there last."""
    if not (staged / LISTING).exists():  # else what it lists was left out, and is not any more
        (out / LISTING).unlink(missing_ok=True)
    for path in sorted(staged.iterdir(), key=lambda path: path.name == MANIFEST):
        path.replace(out / (IN_PLACE if path.name == MANIFEST else path.name))
    staged.rmdir()


def _taken(sources: Sequence[Source]) -> dict[str, CameraFrame]:
    """When and why photographs were taken that a camera took, by name."""
    photographs = (source for source in sources if isinstance(source, Photograph))
    return {source.name: source.taken for source in photographs if source.taken is not None}


def _check_arguments(paths: Sequence[Path], score: float, every: int, frames: tuple[int, int | None]) -> None:
    if not paths:
        raise ConfigError("there is nothing to label", "name photographs, folders or videos")
    if not 0 < score < 1:
        raise ConfigError(f"score is {score}", "it is between 0 and 1")
    if every < 1:
        raise ConfigError(f"every is {every}", "it must be at least 1")
    first, end = frames
    if first < 0 or (end is not None and end <= first):
        raise ConfigError(f"frames is {first}:{end}", "it is FIRST:END, counted from 0, END being the first left out")


def _label_all(
    sources: Sequence[Source],
    loaded: Loaded,
    mirror: bool,
    score: float,
    humans: HumanBoxes | None,
    folder: Path,
    images: Path,
    max_skipped: str,
    progress: Progress,
) -> tuple[list[Entry], list[SkippedImage]]:
    """Label what is not labelled yet, and give all of it, in order.

    The journal is in `folder` after it, and the images in `images`; where they come from there they stay as they are.
    """
    images.mkdir(exist_ok=True)
    skipped: list[SkippedImage] = []
    total = count_pictures(sources)
    known = sum(source.count for source in sources if source.count is not None)
    with Journal(folder / _JOURNAL) as journal, one_opencv_thread():
        # a power cut may have taken what a kill cannot
        done = {name: entry for name, entry in journal.entries.items() if file_size(images / name) == entry.size}
        places = {source.path: place for place, source in enumerate(sources)}
        work = partial(_label_one, loaded=loaded, mirror=mirror, score=score, humans=humans)
        left = None if total is None else total - len(done)
        with (
            progress("Labelling", left, "images") as advance,
            closing(map_in_order(work, pictures(sources, done), loaded.at_once, ahead=1)) as labelled,
        ):
            for picture, entry, jpeg in labelled:
                advance()
                if isinstance(entry, UnusableImageError):
                    number = 1 + places[picture.path]
                    _log.debug("skipped: %s", entry.message)
                    skipped.append(SkippedImage(number, picture.name, entry.reason))
                    hint = "what is labelled so far is kept"
                    refuse_too_many(skipped, total or max(known, len(journal.entries)), max_skipped, hint)
                    continue
                _place(picture, jpeg, images)
                journal.add(entry)
    return _in_order(journal.entries, sources), skipped


def _label_one(
    picture: Picture, loaded: Loaded, mirror: bool, score: float, humans: HumanBoxes | None
) -> tuple[Picture, Entry | UnusableImageError, bytes | None]:
    """Boxes of a picture or why it has none, and the JPEG of a frame."""
    image_rgb, jpeg = picture.image_rgb, None
    sides = humans.sides(picture.name) if humans is not None else None
    if image_rgb is None:
        try:
            image_rgb = read_image(picture.path, sides)
        except UnusableImageError as error:
            return picture, error, None
        size = file_size(picture.path)
    else:
        height, width = image_rgb.shape[:2]
        if sides not in (None, (height, width)):
            reason = f"{width}x{height} pixels, its annotations are for {sides[1]}x{sides[0]}"
            return picture, UnusableImageError(picture.path, reason), None
        jpeg = encode_picture(image_rgb, ".jpg")
        size = len(jpeg)
    height, width = image_rgb.shape[:2]
    found = choose(fuse(_look(image_rgb, loaded, mirror), height, width), score)
    rounded = np.round(found.boxes_xyxy.astype(np.float64), _BOX_DIGITS)
    kept = (rounded[:, 2:] > rounded[:, :2]).all(axis=1)
    scores = np.minimum(np.round(found.scores.astype(np.float64), _SCORE_DIGITS), _HIGHEST_SCORE)
    entry = Entry(
        name=picture.name,
        source=picture.source,
        height=height,
        width=width,
        size=size,
        boxes_xyxy=[tuple(box) for box in rounded[kept].tolist()],
        scores=scores[kept].tolist(),
        class_ids=found.class_ids[kept].tolist(),
        frame=picture.frame,
        seconds=None if picture.seconds is None else round(picture.seconds, 3),
    )
    return picture, entry, jpeg


def _look(image_rgb: np.ndarray, loaded: Loaded, mirror: bool) -> list[Detections]:
    views = [detect(image_rgb) for detect in loaded.views]
    if mirror:
        reversed_rgb = np.ascontiguousarray(image_rgb[:, ::-1])
        views += [mirrored(detect(reversed_rgb), image_rgb.shape[1]) for detect in loaded.views]
    return views


def _place(picture: Picture, jpeg: bytes | None, images: Path) -> None:
    if picture.path == images / picture.name:
        return
    partial_file = images.parent / ".copy"  # renamed when it is whole
    if jpeg is None:
        shutil.copyfile(picture.path, partial_file)
    else:
        partial_file.write_bytes(jpeg)
    (images / picture.name).parent.mkdir(exist_ok=True)  # of a camera's frame
    partial_file.replace(images / picture.name)


def _in_order(entries: dict[str, Entry], sources: Sequence[Source]) -> list[Entry]:
    """Entries in the order of their sources, however often the work was stopped."""
    places = {source.source: place for place, source in enumerate(sources)}
    return sorted(entries.values(), key=lambda entry: (places[entry.source], entry.frame or 0))


def _count(document: CocoDocument, kept: int, skipped: int) -> dict[str, int]:
    return {
        "images": len(document.images),
        "boxes": len(document.annotations) - kept,
        "sure_boxes": sum((annotation.score or 0) >= SURE for annotation in document.annotations),
        "asked_boxes": sum(annotation.ask for annotation in document.annotations),
        "human_boxes": kept,
        "skipped_images": skipped,
    }


def _manifest(path: Path) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return {}
    return document if isinstance(document, dict) else {}


def _counts(path: Path) -> dict[str, int]:
    manifest = _manifest(path)
    names = ("images", "boxes", "sure_boxes", "asked_boxes", "human_boxes", "skipped_images")
    return {name: manifest[name] for name in names}
