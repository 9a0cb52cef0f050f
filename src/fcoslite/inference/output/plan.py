"""The plan of where results go: decided and checked before a model is loaded."""

import logging
from dataclasses import dataclass
from pathlib import Path

from fcoslite.data.image_formats import IMAGE_SUFFIXES
from fcoslite.errors import ConfigError
from fcoslite.inference.input.frame_source import Kind
from fcoslite.inference.output.places import check_new
from fcoslite.inference.output.window import has_display
from fcoslite.inference.output.writers import VIDEO_CODECS

logger = logging.getLogger("fcoslite.inference")


@dataclass(frozen=True, slots=True)
class Output:
    """Where results go.

    Attributes:
        window: Show them in a window.
        save: A drawn video, image or folder of images.
        jsonl: A file of one JSON line per frame; `-` is stdout.
    """

    window: bool = False
    save: Path | None = None
    jsonl: Path | None = None


def plan_output(
    kind: Kind,
    path: Path | None,
    *,
    window: bool,
    save: Path | None,
    jsonl: Path | None,
    events: Path | None = None,
    overwrite: bool = False,
) -> Output:
    """Decide where results go, and see that they can be written there; nothing is written.

    Without a screen the window gives way to a saved file, and a message says so.

    Args:
        kind: What the source is.
        path: Its file or folder, if it is one.
        window: Show results in a window.
        save: A drawn video, image or folder of images.
        jsonl: A file of one JSON line per frame; `-` is stdout.
        events: A file of events, which is checked elsewhere.
        overwrite: What is there may go.

    Raises:
        ConfigError: `save` is not a kind of file for this source, or two of the files are one.
        DataError: A path cannot be written, or holds something.
        FcosliteError: Its disk is full.
    """
    if window and not has_display():
        window = False
        save = save or _free_name(kind)
        logger.info("no display here: the result will be saved to %s", save)
    paths = [file.resolve() for file in (path, save, jsonl, events) if file is not None]
    if len(set(paths)) < len(paths):
        raise ConfigError("source, --save, --jsonl and --events must be different files", "choose another name")
    if save is not None:
        _check_kind(save, kind)
        check_new(save, "--save", kind == "folder", overwrite)
    if jsonl is not None:
        check_new(jsonl, "--jsonl", False, overwrite)
    return Output(window, save, jsonl)


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
