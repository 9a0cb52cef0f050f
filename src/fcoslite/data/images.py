"""Image files from anywhere: read whole, upright and inside their folder, or refused for a reason."""

import io
import json
import os
import re
import warnings
from pathlib import Path
from typing import BinaryIO, Protocol

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fcoslite.errors import DataError
from fcoslite.storage.staged_folder import CONVERT_KIND, EXTRACT_KIND, MANIFEST

# Pillow's own bound of what it takes for a decompression bomb: 512 MiB of decoded pixels
MAX_PIXELS = 178_956_970
MAX_BYTES = 1 << 30

# those that OpenCV decodes
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
# elsewhere the decoder turns the pixels itself
_TURNED_BY_EXIF = ("JPEG", "MPO", "PNG", "WEBP")
_EXIF_ORIENTATION = 0x0112
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in a scan, FF 00 and FF D0 to FF D7 are data
_JPEG_END = 0xD9
_DAMAGED = "damaged or cut short"
_OUTSIDE = "a link that leaves the images folder is not followed"

# of what it warns of, we refuse what matters
warnings.filterwarnings("ignore", module="PIL")


class AnnotatedImage(Protocol):
    """An image as its annotations describe it."""

    @property
    def image_id(self) -> int:
        """COCO's id."""

    @property
    def file_name(self) -> str:
        """Relative to the images folder."""

    @property
    def height(self) -> int:
        """Pixels."""

    @property
    def width(self) -> int:
        """Pixels."""


class UnusableImageError(DataError):
    """An image file that cannot be used.

    Args:
        path: The file.
        reason: Why, in a few words and without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"image {path}: {reason}", "replace the file, or take it out of the annotations")
        self.reason = reason


def read_labelled(image: AnnotatedImage, folder: Path, follow_links: bool = False) -> np.ndarray:
    """Decode the file of an image that has annotations, in the orientation that they are for.

    Args:
        image: Which.
        folder: The images folder; nothing outside of it is read.
        follow_links: Take links out of the folder, too: see `follows_links`.

    Returns:
        [height, width, 3] uint8, RGB.

    Raises:
        UnusableImageError: The file is missing, outside, no whole image, too large, or not of the annotated size.
    """
    path = folder / image.file_name
    if not follow_links and not _is_inside(path, folder):
        raise UnusableImageError(path, _OUTSIDE)
    return read_image(path, (image.height, image.width))


def read_sides(file_name: str, folder: Path, follow_links: bool = False) -> tuple[int, int]:
    """Height and width of an image as it is shown, pixels, by its header; no pixel is decoded.

    Args:
        file_name: Relative to the folder.
        folder: The images folder; nothing outside of it is read.
        follow_links: Take links out of the folder, too: see `follows_links`.

    Raises:
        UnusableImageError: The file is missing, outside, no image, or too large.
    """
    path = folder / file_name
    if not follow_links and not _is_inside(path, folder):
        raise UnusableImageError(path, _OUTSIDE)
    try:
        if not path.is_file():
            raise UnusableImageError(path, "not a file" if path.exists() else "missing")
        with path.open("rb") as file:
            stored, orientation, _ = _open_header(path, file, MAX_PIXELS)
    except OSError as error:
        raise UnusableImageError(path, str(error.strerror).lower()) from None
    return stored[::-1] if orientation >= 5 else stored


def follows_links(folder: Path) -> bool:
    """Whether a folder is of an output of ours whose images are meant to be links to elsewhere."""
    return any(_has_links(place / MANIFEST) for place in (folder, folder.parent))


def _has_links(path: Path) -> bool:
    try:
        manifest = json.loads(path.read_text("utf-8"))
        return bool(manifest["kind"] in (EXTRACT_KIND, CONVERT_KIND) and manifest["options"]["link"] == "symlink")
    except (OSError, ValueError, LookupError, TypeError):
        return False


def read_image(path: str | Path, sides: tuple[int, int] | None = None) -> np.ndarray:
    """Decode an image file. Of an animation it is the first frame; transparency is dropped; 16 bits become 8.

    Args:
        path: The file.
        sides: Height and width that its annotations are for, pixels. They tell whether the boxes were drawn on the
            image as it is shown, turned by its EXIF orientation, or as it is stored. Where both fit, or without
            sides, it is taken as it is shown.

    Returns:
        [height, width, 3] uint8, RGB.

    Raises:
        UnusableImageError: The file is missing, no whole image, too large, or of other sides.
    """
    return decode_image(_read_file(Path(path)), Path(path), sides)


def decode_image(
    content: bytes, path: Path, sides: tuple[int, int] | None = None, max_pixels: int = MAX_PIXELS
) -> np.ndarray:
    """Decode the content of an image file, as `read_image` does.

    Args:
        content: The bytes.
        path: What to call it.
        sides: Height and width that its annotations are for, pixels.
        max_pixels: More are refused by the header.

    Returns:
        [height, width, 3] uint8, RGB.

    Raises:
        UnusableImageError: It is no whole image, too large, or of other sides.
    """
    stored, orientation = _read_header(path, content, max_pixels)
    shown = stored[::-1] if orientation >= 5 else stored
    if sides is None or sides == shown:
        sides = shown
    elif sides == stored:
        orientation = 1
    else:
        raise UnusableImageError(path, _other_sides(shown, sides))
    try:
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # of sides beyond its own bounds
        image = None
    if image is None:
        raise UnusableImageError(path, _DAMAGED)
    image = _turn(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), orientation)
    if image.shape[:2] != sides:
        raise UnusableImageError(path, _other_sides(image.shape[:2], sides))
    return image


def encode_picture(image_rgb: np.ndarray, suffix: str, jpeg_quality: int = 95) -> bytes:
    """The content of an image file; cv2.imwrite cannot open every path on Windows.

    Args:
        image_rgb: [h, w, 3] uint8.
        suffix: Of the file, such as `.png`.
        jpeg_quality: Of a JPEG.
    """
    parameters = (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality) if suffix.lower() in (".jpg", ".jpeg") else ()
    return cv2.imencode(suffix, cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), parameters)[1].tobytes()


def _is_inside(path: Path, folder: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _read_file(path: Path) -> bytes:
    try:
        if not path.is_file():  # what is not a regular file might never end
            raise UnusableImageError(path, "not a file" if path.exists() else "missing")
        size = path.stat().st_size
        if size > MAX_BYTES:
            raise UnusableImageError(path, f"{size:,} bytes: more than {MAX_BYTES:,} are not read")
        content = path.read_bytes()  # not cv2.imread, which cannot open every path on Windows
    except OSError as error:
        raise UnusableImageError(path, str(error.strerror).lower()) from None
    if not content:
        raise UnusableImageError(path, "empty")
    return content


def _read_header(path: Path, content: bytes, max_pixels: int) -> tuple[tuple[int, int], int]:
    """Height and width as stored, and EXIF orientation, 1 to 8, of a file that is whole; no pixel is decoded."""
    stored, orientation, form = _open_header(path, io.BytesIO(content), max_pixels)
    has_end = _HAS_END.get(form)
    if has_end is not None and not has_end(content):
        raise UnusableImageError(path, "cut short")
    return stored, orientation


def _open_header(path: Path, file: BinaryIO, max_pixels: int) -> tuple[tuple[int, int], int, str]:
    """Height and width as stored, EXIF orientation, 1 to 8, and Pillow's name of the format."""
    try:
        with Image.open(file, formats=_FORMATS) as header:
            stored, form = (header.height, header.width), str(header.format)
            orientation = header.getexif().get(_EXIF_ORIENTATION, 1) if form in _TURNED_BY_EXIF else 1
    except Image.DecompressionBombError:
        raise UnusableImageError(path, _too_large(MAX_PIXELS)) from None
    except UnidentifiedImageError:
        raise UnusableImageError(path, "no image, or of a format that is not read") from None
    except Exception:  # whatever a broken file makes a parser trip over
        raise UnusableImageError(path, _DAMAGED) from None
    if stored[0] * stored[1] > max_pixels:
        raise UnusableImageError(path, _too_large(max_pixels))
    return stored, orientation if orientation in range(1, 9) else 1, form


def _jpeg_has_end(jpeg: bytes) -> bool:
    """Whether the end marker of the image itself is there, not only that of a thumbnail or of an appended video."""
    position = 2
    while found := _JPEG_MARKER.search(jpeg, position):
        if jpeg[found.end() - 1] == _JPEG_END:
            return True
        position = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
    return False


def _png_has_end(png: bytes) -> bool:
    position = 8
    while len(png) >= position + 12:
        if png[position + 4 : position + 8] == b"IEND":
            return True
        position += 12 + int.from_bytes(png[position : position + 4], "big")
    return False


# OpenCV 4 fills what is missing of a JPEG with grey; 5 takes gigabytes for a PNG chunk longer than its file
_HAS_END = {"JPEG": _jpeg_has_end, "MPO": _jpeg_has_end, "PNG": _png_has_end}


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    # EXIF 2.3, tag 274: where the stored first row and column belong
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _too_large(max_pixels: int) -> str:
    return f"more than {max_pixels:,} pixels by its header"


def _other_sides(found: tuple[int, ...], annotated: tuple[int, int]) -> str:
    return f"{found[1]}x{found[0]} pixels, its annotations are for {annotated[1]}x{annotated[0]}"
