"""What is labelled: photographs, folders of them, frames that a camera took, and every n-th frame of videos."""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fcoslite.camera.frames import FRAMES, IMAGES, CameraFrame, read_frames
from fcoslite.data.formats.table import check_file_name
from fcoslite.data.image_formats import is_image
from fcoslite.errors import ConfigError, DataError, SourceError, closest
from fcoslite.inference.input.addresses import is_address
from fcoslite.inference.input.image_files import images_in
from fcoslite.inference.input.listing import video_stem
from fcoslite.inference.input.open import open_source
from fcoslite.storage.files import file_size
from fcoslite.text import as_utf8, without_user


@dataclass(frozen=True)
class Photograph:
    """An image file.

    Attributes:
        path: The file.
        taken: When and why it was taken, if a camera's folder says so.
        count: One image.
    """

    path: Path
    taken: CameraFrame | None = None
    count = 1

    @property
    def name(self) -> str:
        """In the data set, whose annotations are UTF-8; with its camera before it, if it is of one."""
        return as_utf8(self.path.name) if self.taken is None else self.taken.file_name

    @property
    def source(self) -> str:
        """What to call it by itself."""
        return self.name


@dataclass(frozen=True)
class Video:
    """Frames of a video file.

    Attributes:
        path: The file.
        numbers: Of the frames to label, from 0.
        count: How many these are; None if the video does not tell its length, and `numbers` goes beyond it.
        height: Pixels.
        width: Pixels.
    """

    path: Path
    numbers: range
    count: int | None
    height: int
    width: int

    def name(self, number: int) -> str:
        """Of a frame in the data set."""
        return f"{as_utf8(video_stem(self.path.name))}-{number:06d}.jpg"

    @property
    def source(self) -> str:
        """What to call it by itself."""
        return as_utf8(self.path.name)


@dataclass(frozen=True)
class Picture:
    """One image to label.

    Attributes:
        name: In the data set.
        source: What the photograph or video is called.
        path: The photograph, or the video.
        image_rgb: [h, w, 3] uint8 of a frame; None for a photograph, which is still to be read.
        frame: Its number in the video; None for a photograph.
        seconds: Since the video's first frame.
    """

    name: str
    source: str
    path: Path
    image_rgb: np.ndarray | None = None
    frame: int | None = None
    seconds: float | None = None


Source = Photograph | Video

_NO_END = 2**31


def list_sources(paths: Sequence[Path], every: int, frames: tuple[int, int | None]) -> tuple[Source, ...]:
    """What paths stand for, in their order.

    Args:
        paths: Images, videos and folders; of a folder its images, those in images/ if it is a data set, or the frames
            of a camera's folder that are still there.
        every: Label each n-th frame of the videos.
        frames: First frame, and the one after the last; None: to the end.

    Raises:
        SourceError: There is no such file or folder, or it cannot be read.
        ConfigError: Two images would have the same name.
    """
    sources: list[Source] = []
    for path in paths:
        if (path / FRAMES).is_file():
            sources += _frames_in(path)
        elif path.is_dir():
            sources += map(Photograph, _images_in(path))
        elif is_image(path) and (path.is_file() or path.is_symlink()):
            sources.append(Photograph(path))
        else:
            sources.append(_video(path, every, frames))
    _refuse_shared_names(sources)
    return tuple(sources)


def count_pictures(sources: Sequence[Source]) -> int | None:
    """How many images will be labelled; None where the length of a video is not known."""
    counts = [source.count for source in sources if source.count is not None]
    return sum(counts) if len(counts) == len(sources) else None


def needed_bytes(sources: Sequence[Source]) -> int:
    """About what the images will take: a JPEG of quality 95 has about three bits a pixel."""
    return sum(
        max(0, file_size(source.path))
        if isinstance(source, Photograph)
        else (source.count or 0) * source.height * source.width * 3 // 8
        for source in sources
    )


def pictures(sources: Sequence[Source], done: Mapping[str, object]) -> Iterator[Picture]:
    """What is left to label, in order; photographs are not read yet.

    Raises:
        SourceError: A video cannot be opened any more.
    """
    for source in sources:
        if isinstance(source, Photograph):
            if source.name not in done:
                yield Picture(source.name, source.source, source.path)
            continue
        if source.count is not None and all(source.name(number) in done for number in source.numbers):
            continue
        with open_source(str(source.path)) as frames:
            for frame in frames:
                if frame.index >= source.numbers.stop:
                    break
                name = source.name(frame.index)
                if frame.index in source.numbers and name not in done:
                    yield Picture(name, source.source, source.path, frame.image_rgb, frame.index, frame.seconds)


def _images_in(folder: Path) -> list[Path]:
    if (folder / "annotations.json").is_file() and (folder / "images").is_dir():
        folder = folder / "images"
    return images_in(folder)


def _frames_in(folder: Path) -> list[Photograph]:
    frames = ((folder / IMAGES / frame.file_name, frame) for frame in read_frames(folder))
    found = [Photograph(path, frame) for path, frame in frames if path.is_file()]
    if not found:
        raise SourceError(f"{folder} has no frame", "collect some first: fcoslite collect SOURCE --out FOLDER")
    return found


def _video(path: Path, every: int, frames: tuple[int, int | None]) -> Video:
    if is_address(str(path)):
        raise SourceError(
            f"{without_user(str(path))} is no file", "record a stream to a file first, with FFmpeg for example"
        )
    if not path.is_file():  # a camera, too: it could not be gone on with
        siblings = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = closest(path.name, siblings) or "give photographs, folders of them, or video files"
        raise SourceError(f"no file or folder '{path}'", hint)
    with open_source(str(path)) as opened:
        first, last = frames
        ends = [end for end in (last, opened.count) if end is not None]
        numbers = range(first, min(ends, default=_NO_END), every)
        if not numbers:
            raise ConfigError(f"{path} has no frame {first}", f"it has {opened.count}, from 0: change --frames")
        return Video(path, numbers, len(numbers) if ends else None, opened.height, opened.width)


def _refuse_shared_names(sources: Sequence[Source]) -> None:
    seen: dict[str, Path] = {}
    for source in sources:
        # frames are named by the video
        name = source.name if isinstance(source, Photograph) else f"{as_utf8(video_stem(source.path.name))}-"
        _refuse_unusable_name(name, source.path)
        key = _alike(name)
        if key in seen:
            raise ConfigError(
                f"{seen[key]} and {source.path} would have the same name in the data set",
                "rename one, or label them into data sets of their own",
            )
        seen[key] = source.path
    for source in sources:
        frame = re.fullmatch(r"(.+-)\d{6,}\.jpg", _alike(source.name)) if isinstance(source, Photograph) else None
        if frame and frame[1] in seen:
            raise ConfigError(
                f"{source.path} may have the name of a frame of {seen[frame[1]]}",
                "rename one, or label them into data sets of their own",
            )


def _alike(name: str) -> str:
    """The same for names that some file systems do not tell apart."""
    return unicodedata.normalize("NFC", name).lower()


def _refuse_unusable_name(name: str, path: Path) -> None:
    try:
        check_file_name(name, path)
        usable = "\\" not in name  # which others read as a folder's end
    except DataError:
        usable = False
    if not usable:
        hint = "no colon after a first letter, no backslash, no line break or the like"
        raise ConfigError(f"{str(path)!r} cannot have its name in a data set", f"rename it: {hint}")
