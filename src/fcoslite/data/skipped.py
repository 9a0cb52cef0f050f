"""Images that cannot be used: left out, listed with their reasons, and refused when they are too many."""

import logging
import re
from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

from fcoslite.data.images import AnnotatedImage, UnusableImageError
from fcoslite.errors import ConfigError, DataError, TooManySkippedError
from fcoslite.machine.threads import map_in_order, one_opencv_thread
from fcoslite.text import to_json

_log = logging.getLogger("fcoslite")

MAX_SKIPPED = "1%"
LISTING = "skipped.jsonl"
_NAMED = 3  # in a message
_LONG_NAME = 100

_Image = TypeVar("_Image", bound=AnnotatedImage)


@dataclass(frozen=True)
class SkippedImage:
    """An image that is left out: COCO's id, its file name, and why."""

    image_id: int
    file_name: str
    reason: str


def skipped_image(image: AnnotatedImage, error: UnusableImageError) -> SkippedImage:
    """Note why an image is left out."""
    _log.debug("skipped: %s", error.message)
    return SkippedImage(image.image_id, image.file_name, error.reason)


def try_images(
    images: Sequence[_Image], read: Callable[[_Image], object], workers: int
) -> Generator[SkippedImage | None, None, None]:
    """Read images, in threads, and tell of each, in their order, why it cannot be used, or None."""

    def attempt(image: _Image) -> SkippedImage | None:
        try:
            read(image)
        except UnusableImageError as error:
            return skipped_image(image, error)
        return None

    with one_opencv_thread(), closing(map_in_order(attempt, images, workers)) as tried:
        yield from tried


Explain = Callable[[Sequence[SkippedImage]], str]  # what is the matter with them, and what to do


def refuse_too_many(
    skipped: Sequence[SkippedImage], total: int, max_skipped: str, hint: str, explain: Explain | None = None
) -> None:
    """Stop because of the images that would be left out.

    Args:
        skipped: Images that cannot be used.
        total: Images in all.
        max_skipped: Most that may be left out: a count, or a share such as `1%`.
        hint: What else to do about too many.
        explain: Asked when there are.

    Raises:
        TooManySkippedError: There are more.
        ConfigError: `max_skipped` is neither.
    """
    if len(skipped) > most_skipped(max_skipped, total):
        raise TooManySkippedError(
            f"{summary(skipped, total)}: more than --max-skipped {max_skipped} allows",
            f"{explain(skipped) if explain else 'mend or replace them'}, or allow more with --max-skipped; {hint}",
        )


def go_without(bad: Collection[int], total: int, message: str, hint: str, skip: bool) -> frozenset[int]:
    """Accept or refuse that a source of `total` images goes without the bad ones.

    Args:
        bad: Their positions; at least one.
        total: Images of the source.
        message: What is wrong with them.
        hint: How to mend them.
        skip: Whether to go without them.

    Raises:
        DataError: They may not be skipped, or none is left.
    """
    if len(bad) == total:
        raise DataError(message, hint)
    if not skip:
        raise DataError(message, f"{hint}, or go without them: --skip-bad-records")
    _log.warning("%s; going on without them", message)
    return frozenset(bad)


def summary(skipped: Sequence[SkippedImage], total: int) -> str:
    """How many images cannot be used, and why the first of them cannot."""
    reasons = [f"{image.file_name[-_LONG_NAME:]}: {image.reason}" for image in skipped[:_NAMED]]
    if len(skipped) > _NAMED:
        reasons.append("...")
    return f"{len(skipped):,} of {total:,} images cannot be used ({'; '.join(reasons)})"


def most_skipped(max_skipped: str, total: int) -> int:
    """How many of `total` images may be left out.

    Raises:
        ConfigError: `max_skipped` is neither a count nor a share of at most 100%.
    """
    match = re.fullmatch(r"(\d{1,9})|(\d{1,9}(?:\.\d{1,9})?)%", max_skipped.strip())
    if match is None or (match[2] and Fraction(match[2]) > 100):
        raise ConfigError(f"max-skipped is '{max_skipped}'", "it is a count, such as 20, or a share, such as 1%")
    return int(match[1]) if match[1] else int(Fraction(match[2]) * total / 100)


def write_skipped(skipped: Sequence[SkippedImage], total: int, folder: Path) -> None:
    """Warn of the images that are left out of `total`, and list them in skipped.jsonl; without any, do nothing."""
    if skipped:
        _log.warning("%s and are left out: see %s", summary(skipped, total), LISTING)
        lines = [to_json(asdict(image)) + "\n" for image in skipped]
        (folder / LISTING).write_text("".join(lines), "utf-8")
