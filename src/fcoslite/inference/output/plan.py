"""The plan of where results go: decided and checked before a model is loaded."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path

from fcoslite.errors import ConfigError, FcosliteError
from fcoslite.inference.input.frame_source import FrameSource, Kind
from fcoslite.inference.input.open import IMAGE_SUFFIXES
from fcoslite.inference.output.window import has_display
from fcoslite.inference.output.writers import VIDEO_CODECS
from fcoslite.storage.space import check_room, nearest_existing

logger = logging.getLogger("fcoslite.inference")


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go.

    Attributes:
        window: Show them in a window.
        save: A drawn video, image or folder of images.
        jsonl: A file of one JSON line per frame.
    """

    window: bool
    save: Path | None
    jsonl: Path | None


def plan_output(source: FrameSource, *, window: bool, save: Path | None, jsonl: Path | None) -> Output:
    """Decide where results go, and see that they can be written there; nothing is written.

    Without a screen the window gives way to a saved file, and a message says so.

    Raises:
        ConfigError: `save` is not a kind of file for this source.
        FcosliteError: A path cannot be written, or its disk is full.
    """
    if window and not has_display():
        window = False
        save = save or _free_name(source.kind)
        logger.info("no display here: the result will be saved to %s", save)
    if save is not None:
        _check_kind(save, source.kind)
        check_writable(save, folder=source.kind == "folder")
    if jsonl is not None:
        check_writable(jsonl)
    for path in filter(None, (save, jsonl)):
        check_room(path)
    paths = [path.resolve() for path in (source.path, save, jsonl) if path is not None]
    if len(set(paths)) < len(paths):
        raise ConfigError("source, --save and --jsonl must be different files", "choose another name")
    return Output(window, save, jsonl)


def check_writable(path: Path, folder: bool = False) -> None:
    """See that a file (or a folder of files) can be written, without writing anything.

    Raises:
        FcosliteError: It cannot.
    """
    if path.exists() and path.is_dir() != folder:
        kind, wanted = ("folder", "file") if path.is_dir() else ("file", "folder")
        raise FcosliteError(f"{path} is a {kind}", f"name a {wanted} to save to")
    # folders that are missing will be made, in the nearest that is there
    place = nearest_existing(path)
    if place.is_file() and place != path:
        raise FcosliteError(f"cannot save to {path}: {place} is a file", "name a path in a folder")
    if not os.access(place, os.W_OK):
        raise FcosliteError(f"cannot write {path}: no permission in {place}", "save to a folder of your own")


def _check_kind(save: Path, kind: Kind) -> None:
    suffix = save.suffix.lower()
    if kind == "folder":
        if suffix in (*VIDEO_CODECS, *IMAGE_SUFFIXES):
            raise ConfigError(f"a folder of images is saved to a folder, not to {save}", "for example --save drawn")
        return
    known = IMAGE_SUFFIXES if kind == "image" else tuple(VIDEO_CODECS)
    if suffix not in known:
        article = "an" if kind == "image" else "a"
        raise ConfigError(f"{article} {kind} cannot be saved to {save}", f"end the name in {' or '.join(known)}")


def _free_name(kind: Kind) -> Path:
    suffix = {"folder": "", "image": ".jpg"}.get(kind, ".mp4")
    names = (Path(f"webcam{number}{suffix}") for number in ("", *(f"-{n}" for n in range(2, 10_000))))
    return next(name for name in names if not name.exists())
