"""The image formats that are read and written: the one table that their names and suffixes come from."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """An image format.

    Attributes:
        name: What Pillow calls it.
        suffixes: Of its files, the usual one first.
        longest_side: That a file of it can have, pixels.
        by_opencv: OpenCV decodes and encodes it; else Pillow, which does the rarer ones rightly, and no slower.
    """

    name: str
    suffixes: tuple[str, ...]
    longest_side: int
    by_opencv: bool = False


_NO_LIMIT = 1_000_000  # libpng's own, and about what OpenCV decodes

FORMATS = (
    ImageFormat("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif"), 65_500, by_opencv=True),
    ImageFormat("PNG", (".png",), _NO_LIMIT, by_opencv=True),
    ImageFormat("WEBP", (".webp",), 16_383, by_opencv=True),
    ImageFormat("BMP", (".bmp",), _NO_LIMIT, by_opencv=True),
    ImageFormat("GIF", (".gif",), 65_535),
    ImageFormat("TIFF", (".tif", ".tiff"), _NO_LIMIT),
    ImageFormat("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), _NO_LIMIT),
    ImageFormat("JPEG2000", (".jp2", ".j2k"), _NO_LIMIT),
    ImageFormat("AVIF", (".avif",), 32_768),
)
IMAGE_SUFFIXES = tuple(suffix for known in FORMATS for suffix in known.suffixes)

# photographs that are not read: whoever lists a folder must name them, not pass over them
_FOREIGN = {".heic": "HEIC", ".heif": "HEIC", ".jxl": "JPEG XL"}
_FOREIGN_SIGNATURES = (
    (4, b"ftyphei", "HEIC"),
    (4, b"ftyphev", "HEIC"),
    (4, b"ftypmif1", "HEIC"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL \r\n", "JPEG XL"),
)


def format_of(suffix: str) -> ImageFormat | None:
    """The format whose files have that suffix, in whatever case."""
    return next((known for known in FORMATS if suffix.lower() in known.suffixes), None)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image, even of one that is not read."""
    return path.suffix.lower() in (*IMAGE_SUFFIXES, *_FOREIGN)


def foreign_format(content: bytes) -> str | None:
    """What the content of a file is that is an image, but of no format that is read."""
    return next((name for at, mark, name in _FOREIGN_SIGNATURES if content[at:].startswith(mark)), None)
