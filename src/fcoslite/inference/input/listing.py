"""What the words after `detect` stand for: images, and what moves."""

import glob
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from fcoslite.data.image_formats import is_image
from fcoslite.errors import SourceError, closest
from fcoslite.inference.input.addresses import is_address, parse_address
from fcoslite.inference.input.image_files import images_in

VIDEO_SUFFIXES = {".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"}
VIDEO_SUFFIXES |= {".264", ".265", ".3gp", ".asf", ".h264", ".h265", ".hevc", ".m2ts", ".m2v", ".mjpeg", ".mjpg"}
VIDEO_SUFFIXES |= {".mts", ".mxf", ".ogv", ".vob", ".y4m"}


@dataclass(frozen=True)
class Listed:
    """One source.

    Attributes:
        text: What `open_source` or `read_image` takes.
        name: What to call it in results: a relative path; no two have the same.
        moves: It is a video or a stream, not an image.
    """

    text: str
    name: str
    moves: bool


def list_sources(words: Iterable[str], recursive: bool = False, without_suffix: bool = False) -> list[Listed]:
    """Find sources.

    An image is called by its file name, one of a folder by its path from there. Where two would have the same name,
    both are called by their paths as given.

    Args:
        words: Images, folders of images, videos, patterns such as `*.jpg`, or rtsp, http and https addresses.
        recursive: Of a folder take the images in folders below, too. An image that cannot be read is listed as well.
        without_suffix: Files are written that are called by the names of images without their suffixes.

    Raises:
        SourceError: One is not there, or two would be called the same.
    """
    found: dict[str, Listed] = {}  # by path, so that none comes twice
    for word in words:
        for one in _list(word, recursive):
            found.setdefault(one.text, one)

    def key(one: Listed) -> str:
        # drawn videos are all .mp4, and some file systems do not tell cases apart
        if one.moves:
            return video_stem(one.name).lower()
        name = PurePosixPath(one.name)
        return (name.with_suffix("") if without_suffix else name).as_posix().lower()

    names = Counter(map(key, found.values()))
    listed = [one if names[key(one)] == 1 else replace(one, name=_given(one.text)) for one in found.values()]
    again = Counter(map(key, listed))
    if shared := next((one for one in listed if again[key(one)] > 1), None):
        raise SourceError(f"two sources would both be called {shared.name}", "detect on them one after the other")
    return listed


def video_stem(name: str) -> str:
    """The name of a video or stream without the ending of a video: what follows a dot may be of a host or a date."""
    path = PurePosixPath(name)
    return (path.with_suffix("") if path.suffix.lower() in VIDEO_SUFFIXES else path).as_posix()


def name_of_address(url: str) -> str:
    """What to call a stream in file names: without user, password and query."""
    place = url.partition("://")[2].rpartition("@")[2].partition("?")[0]
    return re.sub(r"[^A-Za-z0-9.-]+", "-", place).strip("-.")[:100] or "stream"


def _list(word: str, recursive: bool) -> Sequence[Listed]:
    if is_address(word):
        parse_address(word)
        return [Listed(word, name_of_address(word), moves=True)]
    path = Path(word)
    if word and path.is_dir():
        return [
            Listed(str(image), image.relative_to(path).as_posix(), moves=False) for image in images_in(path, recursive)
        ]
    if path.is_file() or path.is_symlink():  # whoever reads it tells that there is nothing behind a link
        return [_file(path)]
    if matches := sorted(glob.glob(word, recursive=True)):  # noqa: PTH207, a pattern may be absolute
        return [_file(match) for match in map(Path, matches) if not match.is_dir()]
    if word.isdecimal():
        raise SourceError(f"no file or folder '{word}'", f"a camera is watched by: fcoslite webcam --source {word}")
    siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    raise SourceError(
        f"no file or folder '{word}'", closest(path.name, siblings) or "give images, folders of them, videos or streams"
    )


def _file(path: Path) -> Listed:
    return Listed(str(path), path.name, moves=not is_image(path))


def _given(text: str) -> str:
    if is_address(text):  # as given it would tell user, password and query
        return name_of_address(text)
    parts = PurePosixPath(Path(text).as_posix()).parts
    return PurePosixPath(*(part for part in parts if part not in ("/", "..") and not part.endswith(":"))).as_posix()
