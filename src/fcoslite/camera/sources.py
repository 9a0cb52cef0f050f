"""What the words after `collect` stand for: live cameras and streams, and recordings; each belongs to a camera."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fcoslite.data.image_formats import is_image
from fcoslite.errors import ConfigError, SourceError, closest
from fcoslite.inference.input.addresses import is_address, parse_address
from fcoslite.inference.input.listing import VIDEO_SUFFIXES, name_of_address, video_stem

_LONGEST_NAME = 64  # characters


@dataclass(frozen=True)
class CameraSource:
    """Where frames of a camera come from.

    Attributes:
        camera: What the camera is called: letters, digits, dots, hyphens and underscores.
        text: What `open_source` takes; of an address it has user and password, and is never shown.
        recording: The file, if it is one.
    """

    camera: str
    text: str = field(repr=False)
    recording: Path | None = None


def list_camera_sources(words: Iterable[str]) -> tuple[CameraSource, ...]:
    """Find sources.

    Args:
        words: A camera's number, an rtsp, http or https address, a video, or a folder of videos, in folders below it,
            too; each may be `NAME=` before it, which calls the camera. Else it is called by what the word says.

    Raises:
        SourceError: One is not there.
        ConfigError: A name cannot be used; or two live sources, or recordings of different names, would be called the
            same.
    """
    found: list[CameraSource] = []
    owners: dict[str, object] = {}  # of each camera's name; a live source is its name's only one
    for word in words:
        name, text = _named(word)
        says, inputs = _look(text)
        camera = name or _safe(says)
        live = any(recording is None for _, recording in inputs)
        owner = object() if live else (name or says).lower()
        # some file systems do not tell cases apart
        if owners.setdefault(camera.lower(), owner) != owner:
            hint = f"give them names: {camera}-1=SOURCE {camera}-2=SOURCE"
            raise ConfigError(f"two sources would both be called {camera}", hint)
        found += [CameraSource(camera, place, recording) for place, recording in inputs]
    if not found:
        raise ConfigError("there is nothing to collect from", "name cameras, streams, videos or folders of videos")
    return tuple(found)


def _named(word: str) -> tuple[str | None, str]:
    """The name before a source, and the source."""
    match = re.match(r"([^=/\\:@?]*)=", word)
    if match is None or os.path.lexists(word):
        return None, word
    name = match[1]
    if name != _safe(name):
        hint = (
            "letters, digits, dots, hyphens and underscores, 64 at most, no dot or hyphen in front: front-door=SOURCE"
        )
        raise ConfigError(f"'{name[:_LONGEST_NAME]}' is no name for a camera", hint)
    return name, word[match.end() :]


def _look(text: str) -> tuple[str, Sequence[tuple[str, Path | None]]]:
    """What a source says it is called, and what it stands for: what `open_source` takes, and the file, if it is one."""
    if match := re.fullmatch(r"(?:/dev/video)?(\d+)", text):
        return f"camera-{int(match[1])}", [(text, None)]
    if is_address(text):
        parse_address(text)
        return name_of_address(text), [(text, None)]
    path = Path(text)
    if text and path.is_dir():
        return path.resolve().name, [(str(video), video) for video in _videos_in(path)]
    if not path.is_file():
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = closest(path.name, siblings) or "give a camera's number, an address, a video or a folder of videos"
        raise SourceError(f"no file or folder '{text}'", hint)
    if is_image(path):
        raise SourceError(f"{path} is an image, in which nothing moves", "images are labelled as they are: label")
    return video_stem(path.name), [(text, path)]


def _videos_in(folder: Path) -> list[Path]:
    files = (path for path in folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())
    found = sorted(path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts))
    if not found:
        raise SourceError(f"no video in {folder}", f"looked for {', '.join(sorted(VIDEO_SUFFIXES))}, below it, too")
    return found


def _safe(name: str) -> str:
    """What is left of a name as part of a path on any system."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[:_LONGEST_NAME].rstrip(".") or "camera"
