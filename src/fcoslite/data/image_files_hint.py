"""Why image files cannot be used, in a hint: found out by looking at a few of them, however many there are."""

import os
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from fcoslite.data.image_formats import IMAGE_SUFFIXES
from fcoslite.data.images import AnnotatedImage, UnusableImageError, read_image
from fcoslite.data.skipped import SkippedImage
from fcoslite.storage.places import is_remote

_LOOKED_AT = 10  # files
_LISTED = 1000  # entries of a folder: it may hold millions
_DEPTH = 2  # folders below the images folder
_LONG_NAME = 400
_FORMS: tuple[tuple[Literal["NFC", "NFD"], str], ...] = (("NFD", "NFC"), ("NFC", "NFD"))
_LFS_POINTER = b"version https://git-lfs"


class _Cause(NamedTuple):
    """What is the matter with a file: in words that hold for many, of this one, and what to do."""

    what: str
    example: str
    advice: str


def explain(skipped: Sequence[SkippedImage], images: Iterable[AnnotatedImage], folder: Path) -> str:
    """Say what is the matter with most of the first images that cannot be used, with an example, and what to do.

    Args:
        skipped: Images that cannot be used; at least one.
        images: As they are annotated; those skipped among them.
        folder: The images folder.
    """
    if is_remote(folder):
        return f"such as {folder / skipped[0].file_name}: {skipped[0].reason}"
    wanted = {one.image_id for one in skipped[:_LOOKED_AT]}
    look = _Look(folder)
    causes = [look.cause(image) for image in images if image.image_id in wanted]
    kinds = Counter(cause.what for cause in causes)
    what, count = kinds.most_common(1)[0]
    found = [cause for cause in causes if cause.what == what]
    advices = Counter(cause.advice for cause in found)
    advice, _ = advices.most_common(1)[0]
    if len(advices) > 1 and what == _IN_OTHER_FOLDER:
        advice = "they are spread over several folders: write each with its own in file_name"
    example = next(cause.example for cause in found if len(advices) > 1 or cause.advice == advice)
    return f"{what} ({count} of {len(causes)} looked at, such as {example}): {advice}"


_IN_OTHER_FOLDER = "the files are in another folder"


class _Look:
    """Looks at files of one images folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cause(self, image: AnnotatedImage) -> _Cause:
        name = image.file_name
        path = self.folder / name
        try:
            if os.path.lexists(path):
                if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(self.folder)):
                    return _leads_out(path, self.folder, name)
                return _of_its_content(path, image)
            return self._other_name(name) or self._other_folder(name) or _missing(name)
        except (OSError, ValueError):  # a folder that we may not look into, a name that no file can have
            return _missing(name)

    def _other_name(self, name: str) -> _Cause | None:
        ending = PurePosixPath(name).suffix
        stem = name.removesuffix(ending)
        for form, other in _FORMS:
            there = unicodedata.normalize(form, name)
            if there != name and self._holds(there):
                return _Cause(
                    f"the names look alike but are other characters: {other} in the annotations, {form} in the folder",
                    _short(name),
                    f"write both alike: `convmv -f utf8 -t utf8 --{other.lower()} -r --notest` renames the files",
                )
        cases = [stem + ending.upper(), stem + ending.lower(), name.lower(), name.upper()]
        found = next((there for there in cases if there != name and self._holds(there)), None)
        if found is not None:
            what = "the names differ in upper and lower case"
        else:
            found = next((stem + other for other in IMAGE_SUFFIXES if self._holds(stem + other)), None)
            what = "the names end differently"
        advice = "write both alike: rename the files, or change file_name in the annotations"
        return None if found is None else _Cause(what, f"{_short(name)}, which is {_short(found)} there", advice)

    def _other_folder(self, name: str) -> _Cause | None:
        for root in self._roots(len(PurePosixPath(name).parts)):
            if (root / name).is_file():
                return _Cause(
                    _IN_OTHER_FOLDER, _short(self._shown(root / name)), f"the images folder must be {self._shown(root)}"
                )
        parts = PurePosixPath(name).parts
        for first in range(1, len(parts)):
            rest = "/".join(parts[first:])
            if self._holds(rest):
                advice = f"leave it out of file_name, or move the files to {self._shown(self.folder / name)}"
                return _Cause(
                    "file_name has a folder that the files are not in", f"{_short(name)}, which is {rest} there", advice
                )
        return None

    def _roots(self, parts: int) -> Iterator[Path]:
        """Folders that may be meant: above, as far as the name has folders; below; and beside."""
        yield from islice(self._absolute.parents, max(1, parts - 1))
        yield from self._near

    @cached_property
    def _absolute(self) -> Path:
        return self.folder.absolute()

    @cached_property
    def _near(self) -> list[Path]:
        return [*_folders_in(self._absolute, _DEPTH), *_folders_in(self._absolute.parent, 1)]

    def _holds(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def _shown(self, path: Path) -> str:
        return str(path) if self.folder.is_absolute() else os.path.relpath(path)


def _folders_in(folder: Path, depth: int) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            found = sorted(Path(entry) for entry in islice(entries, _LISTED) if entry.is_dir())
    except OSError:
        return []
    below = [inner for one in found for inner in _folders_in(one, depth - 1)] if depth > 1 else []
    return [*found, *below][:_LISTED]


def _leads_out(path: Path, folder: Path, name: str) -> _Cause:
    link = next(
        (place for place in (*reversed(path.relative_to(folder).parents), Path(name)) if (folder / place).is_symlink()),
        Path(name),
    )
    target = os.path.realpath(path)
    parts = Path(target).parts
    if ".git" in parts and "annex" in parts:
        fetch, unlink = "`git annex get`", "`git annex unlock` makes files of them"
    elif ".dvc" in parts or ("files" in parts and "md5" in parts):
        fetch, unlink = (
            "`dvc pull`",
            "`dvc config cache.type copy` and `dvc checkout --relink` make files of them",
        )
    else:
        fetch, unlink = "", f"copy them as files, `cp -rL {folder} COPY`, and name that folder"
    example = f"{_short(str(link))} -> {_short(target)}"
    if path.exists():
        return _Cause("they are links that lead out of the images folder, which are not followed", example, unlink)
    advice = f"fetch it with {fetch}; {unlink}" if fetch else "bring back what they lead to, as files in the folder"
    return _Cause("they are links to what is not there", example, advice)


def _of_its_content(path: Path, image: AnnotatedImage) -> _Cause:
    name, sides = _short(image.file_name), (image.height, image.width)
    try:
        height, width, _ = read_image(path).shape
    except UnusableImageError as error:
        if path.is_file() and _begins_with(path, _LFS_POINTER):
            return _Cause("they are pointers of Git LFS, not images", name, "`git lfs pull` fetches the images")
        advice = "replace the files, or take them out of the annotations"
        return _Cause("the files themselves are bad", f"{name}: {error.reason}", advice)
    if (height, width) == sides:
        return _Cause("the files can be read by now", name, "run the command again")
    if (width, height) == sides:
        return _Cause(
            "width and height are exchanged in the annotations",
            f"{name}, which is {width} pixels wide and {height} high",
            "exchange them there, or take the photographs as they were before somebody turned them",
        )
    return _Cause(
        "the files have other sides than the annotations say",
        f"{name}, which is {width}x{height}, not {image.width}x{image.height}",
        "take the photographs that were labelled: with others, resized ones too, the boxes would be shifted",
    )


def _begins_with(path: Path, start: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(start)) == start


def _missing(name: str) -> _Cause:
    return _Cause("the files are not there", _short(name), "the images folder must be the one that holds them")


def _short(name: str) -> str:
    return name[-_LONG_NAME:]
