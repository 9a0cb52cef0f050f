"""Image files from anywhere: read whole, upright and inside their folder, or refused for a reason."""

import io
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from fcoslite.data.image_formats import FORMATS, ImageFormat, foreign_format, format_of
from fcoslite.errors import DataError
from fcoslite.storage.places import is_remote, read_bytes
from fcoslite.storage.staged_folder import CONVERT_KIND, EXTRACT_KIND, MANIFEST

# Pillow's own bound of what it takes for a decompression bomb: 512 MiB of decoded pixels
MAX_PIXELS = 178_956_970
MAX_BYTES = 1 << 30

_BY_OPENCV = ("MPO", *(known.name for known in FORMATS if known.by_opencv))
_BYTE = 255  # the largest value of 8 bits
_WORD = 65_535  # of 16 bits
_DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners
_EXIF_ORIENTATION = 0x0112
_JPEG_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")  # in a scan, FF 00 and FF D0 to FF D7 are data
_JPEG_END = 0xD9
_TIFF_WIDTH, _TIFF_HEIGHT, _TIFF_BITS, _TIFF_LARGEST, _TIFF_SAMPLE_FORMAT = 256, 257, 258, 281, 339
_JPEG2000_SIZES = b"\xff\x4f\xff\x51"  # the markers that a code stream begins with
_INVERSE = {6: 8, 8: 6}  # of the orientations; the others are their own
_DAMAGED = "damaged or cut short"
_OUTSIDE = "a link that leaves the images folder is not followed"
_NO_IMAGE = "no image, or of a format that is not read"

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
    content = read_content(image, folder, follow_links)
    return decode_image(content, folder / image.file_name, (image.height, image.width))


def read_content(image: AnnotatedImage, folder: Path, follow_links: bool = False) -> bytes:
    """The bytes of the file of an image that has annotations.

    Args:
        image: Which.
        folder: The images folder; nothing outside of it is read.
        follow_links: Take links out of the folder, too: see `follows_links`.

    Raises:
        UnusableImageError: The file is missing, outside, empty or too large.
    """
    path = _path_of(image.file_name, folder)
    if not follow_links and not _is_inside(path, folder):
        raise UnusableImageError(path, _OUTSIDE)
    return _read_file(path)


def read_sides(file_name: str, folder: Path, follow_links: bool = False) -> tuple[int, int]:
    """Height and width of an image as it is shown, pixels, by its header; no pixel is decoded.

    Args:
        file_name: Relative to the folder.
        folder: The images folder; nothing outside of it is read.
        follow_links: Take links out of the folder, too: see `follows_links`.

    Raises:
        UnusableImageError: The file is missing, outside, no image, or too large.
    """
    return read_orientation(file_name, folder, follow_links)[0]


def read_orientation(file_name: str, folder: Path, follow_links: bool = False) -> tuple[tuple[int, int], int]:
    """As `read_sides`, and EXIF's orientation, 1 to 8, by which the stored image is turned to be shown."""
    path = _path_of(file_name, folder)
    if not follow_links and not _is_inside(path, folder):
        raise UnusableImageError(path, _OUTSIDE)
    if is_remote(path):
        header = _read_header(path, _read_file(path), MAX_PIXELS)
        return _shown(header.sides, header.orientation), header.orientation
    try:
        _refuse_other_than_files(path)
        with path.open("rb") as file, Image.open(file, formats=[known.name for known in FORMATS]) as opened:
            _, sides, orientation = _stored(path, opened, MAX_PIXELS)
    except UnusableImageError:
        raise
    except Exception:  # the whole file is asked for the reason
        _read_header(path, _read_file(path), MAX_PIXELS)
        raise UnusableImageError(path, _DAMAGED) from None
    return _shown(sides, orientation), orientation


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
    """Decode an image file. Of an animation it is the first frame; transparency is dropped, not blended.

    More than 8 bits become 8. White is what the file declares (sBIT of a PNG, MaxSampleValue of a TIFF, the largest
    value of a PPM, the precision of a JPEG 2000); where it declares less than it holds, or nothing, the largest
    number of 8, 10, 12, 14 or 16 bits, of the fewest that hold its largest value.

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
    header = _read_header(path, content, max_pixels)
    orientation = header.orientation
    shown = _shown(header.sides, orientation)
    if sides is None or sides == shown:
        sides = shown
    elif sides == header.sides:
        orientation = 1
    else:
        raise UnusableImageError(path, _other_sides(shown, sides))
    try:
        image = _decode(content, header)
    except Exception:  # whatever a broken file makes a decoder trip over
        image = None
    if image is None:
        raise UnusableImageError(path, _DAMAGED)
    image = _turn(image, orientation)
    if image.shape[:2] != sides:
        raise UnusableImageError(path, _other_sides(image.shape[:2], sides))
    return image


class UnwritableImageError(DataError):
    """A picture that its format cannot hold.

    Args:
        name: Of the file, or its suffix.
        sides: Height and width of the picture, pixels.
        image_format: The format.
    """

    def __init__(self, name: str, sides: tuple[int, int], image_format: ImageFormat) -> None:
        longest = image_format.longest_side
        self.reason = f"{sides[1]}x{sides[0]} pixels cannot be written to {name}"
        if max(sides) > longest:
            hint = f"{image_format.name} holds {longest:,} pixels a side; .png and .tif hold more"
        else:
            hint = f"{image_format.name} does not hold such a picture; .png and .tif do"
        super().__init__(self.reason, hint)


def encode_picture(
    image_rgb: np.ndarray, path: str | Path, jpeg_quality: int = 95, png_compression: int | None = None
) -> bytes:
    """The content of an image file; cv2.imwrite cannot open every path on Windows.

    Args:
        image_rgb: [h, w, 3] uint8.
        path: Where it will be written, or only a suffix such as `.png`: one of `IMAGE_SUFFIXES`, in whatever case.
        jpeg_quality: Of a JPEG.
        png_compression: Of a PNG, 0 to 9; None: what is fastest.

    Raises:
        UnwritableImageError: It has more pixels a side than the format can hold, or else does not suit it.
    """
    name = os.fspath(path)
    image_format = format_of("." + name.rpartition(".")[2])
    if image_format is None:
        raise ValueError(f"{name} has the suffix of no image format")
    sides = (image_rgb.shape[0], image_rgb.shape[1])
    encoded = None
    if max(sides) <= image_format.longest_side:
        with suppress(cv2.error, OSError, ValueError):
            encoded = _encode(image_rgb, image_format, jpeg_quality, png_compression)
    if not encoded:
        raise UnwritableImageError(name, sides, image_format)
    return encoded


def _encode(
    image_rgb: np.ndarray, image_format: ImageFormat, jpeg_quality: int, png_compression: int | None
) -> bytes | None:
    if not image_format.by_opencv:
        content = io.BytesIO()
        Image.fromarray(image_rgb).save(content, image_format.name)
        return content.getvalue()
    parameters: tuple[int, ...] = ()
    if image_format.name == "JPEG":
        parameters = (cv2.IMWRITE_JPEG_QUALITY, jpeg_quality)
    elif image_format.name == "PNG" and png_compression is not None:
        parameters = (cv2.IMWRITE_PNG_COMPRESSION, png_compression)
    good, encoded = cv2.imencode(image_format.suffixes[0], cv2.cvtColor(image_rgb, cv2.COLOR_RGB2BGR), parameters)
    return encoded.tobytes() if good else None


def _path_of(file_name: str, folder: Path) -> Path:
    if is_remote(folder) and (file_name.startswith("/") or "://" in file_name):
        raise UnusableImageError(folder, f"{file_name} is no name of a file in it")
    return folder / file_name


def _is_inside(path: Path, folder: Path) -> bool:
    if is_remote(folder):
        return ".." not in path.parts  # and there are no links
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))


def _refuse_other_than_files(path: Path) -> None:
    """What is not a regular file might never end."""
    if not path.is_file():
        missing = "a link to nothing" if path.is_symlink() else "missing"
        raise UnusableImageError(path, "not a file" if path.exists() else missing)


def _read_file(path: Path) -> bytes:
    try:
        if not is_remote(path):
            _refuse_other_than_files(path)
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise UnusableImageError(path, f"{size:,} bytes: more than {MAX_BYTES:,} are not read")
        content = read_bytes(path)  # not cv2.imread, which cannot open every path on Windows
        if len(content) > MAX_BYTES:  # a remote one
            raise UnusableImageError(path, f"{len(content):,} bytes: more than {MAX_BYTES:,} are not read")
    except FileNotFoundError:
        raise UnusableImageError(path, "missing") from None
    except OSError as error:
        raise UnusableImageError(path, (error.strerror or str(error)).lower()) from None
    if not content:
        raise UnusableImageError(path, "empty")
    return content


class _Header(NamedTuple):
    """What is known of an image before a pixel is decoded.

    Attributes:
        name: Of the format.
        sides: Height and width as stored, pixels.
        orientation: EXIF's, 1 to 8.
        white: The largest value that a sample can have; None where it has 16 bits and the file does not say how many
            of them it uses.
    """

    name: str
    sides: tuple[int, int]
    orientation: int
    white: int | None


def _shown(sides: tuple[int, int], orientation: int) -> tuple[int, int]:
    """Height and width of an image as it is shown, of those as stored."""
    return sides[::-1] if orientation >= 5 else sides


def _read_header(path: Path, content: bytes, max_pixels: int) -> _Header:
    try:
        with Image.open(io.BytesIO(content), formats=[known.name for known in FORMATS]) as opened:
            name, sides, orientation = _stored(path, opened, max_pixels)
            white = _WHITE[name](opened, content) if name in _WHITE else _BYTE
    except Image.DecompressionBombError:
        raise UnusableImageError(path, _too_large(MAX_PIXELS)) from None
    except UnidentifiedImageError:
        foreign = foreign_format(content)
        reason = f"{foreign}, which is not read: convert it to JPEG" if foreign else _NO_IMAGE
        raise UnusableImageError(path, reason) from None
    except UnusableImageError:
        raise
    except Exception:  # whatever a broken file makes a parser trip over
        raise UnusableImageError(path, _DAMAGED) from None
    if white is not None and white > _WORD:
        raise UnusableImageError(path, "samples of more than 16 bits, or that are no whole numbers, are not read")
    if name in _HAS_END and not _HAS_END[name](content):
        raise UnusableImageError(path, "cut short")
    return _Header(name, sides, orientation, white)


def _stored(path: Path, opened: Image.Image, max_pixels: int) -> tuple[str, tuple[int, int], int]:
    """Name of the format, height and width as stored, and EXIF's orientation, 1 to 8."""
    if opened.height * opened.width > max_pixels:
        raise UnusableImageError(path, _too_large(max_pixels))
    name, sides = str(opened.format), (opened.height, opened.width)
    if name == "TIFF":
        sides = (opened.tag_v2[_TIFF_HEIGHT], opened.tag_v2[_TIFF_WIDTH])  # type: ignore[attr-defined]
    orientation = opened.getexif().get(_EXIF_ORIENTATION, 1)
    return name, sides, orientation if orientation in range(1, 9) else 1


def _decode(content: bytes, header: _Header) -> np.ndarray | None:
    """The pixels as they are stored, [h, w, 3] uint8 RGB; None if they cannot be decoded."""
    if header.white == _BYTE and header.name not in _BY_OPENCV:
        with Image.open(io.BytesIO(content), formats=[header.name]) as opened:
            image = np.asarray(opened.convert("RGB"))
    else:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
        image_bgr = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
        if image_bgr is None:
            return None
        if image_bgr.dtype == np.uint16:
            image_bgr = cv2.convertScaleAbs(image_bgr, alpha=_BYTE / _white_of(image_bgr, header.white))
        image = cv2.cvtColor(image_bgr, cv2.COLOR_BGR2RGB)
    # both decoders turn TIFFs, and nothing else
    return _turn(image, _INVERSE.get(header.orientation, header.orientation)) if header.name == "TIFF" else image


def _white_of(image: np.ndarray, declared: int | None) -> int:
    largest = int(image.max())
    if declared is not None and largest <= declared:
        return declared
    return next(2**bits - 1 for bits in _DEPTHS if largest < 2**bits)


def _white_of_png(opened: Any, png: bytes) -> int | None:
    if png[24] <= 8:
        return _BYTE
    # grey, RGB, palette, grey with alpha, RGBA; how opaque a pixel is does not matter
    samples = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}[png[25]]
    for name, start, length in _png_chunks(png):
        if name == b"sBIT":
            bits = max(png[start : start + min(length, samples)], default=16)
            # by the standard samples fill all 16 bits whatever is declared; who does not scale them declares how many
            return 2**bits - 1 if 8 < bits < 16 else None
    return None


def _white_of_tiff(opened: Any, tiff: bytes) -> int | None:
    tags = opened.tag_v2
    bits = max(tags.get(_TIFF_BITS, (1,)))
    if bits > 16 or set(tags.get(_TIFF_SAMPLE_FORMAT, (1,))) - {1, 4}:  # unsigned, or not said
        return _WORD + 1
    if bits <= 8:
        return _BYTE
    if bits < 16:
        return _WORD  # OpenCV widens them
    declared = tags.get(_TIFF_LARGEST, 0)
    largest = int(max(declared) if isinstance(declared, tuple) else declared)
    return largest if 0 < largest < _WORD else None


def _white_of_ppm(opened: Any, ppm: bytes) -> int | None:
    if opened.mode == "F":
        return _WORD + 1
    if ppm[:2] in (b"P1", b"P4"):
        return _BYTE
    largest = int(re.sub(rb"#[^\r\n]*", b" ", ppm[:10_000]).split(maxsplit=4)[3])
    return None if largest == _WORD else max(largest, _BYTE)


def _white_of_jpeg2000(opened: Any, jpeg2000: bytes) -> int | None:
    sizes = jpeg2000.index(_JPEG2000_SIZES)
    bits = 1 + (jpeg2000[sizes + 42] & 0x7F)
    return None if bits == 16 else max(2**bits - 1, _BYTE)


_WHITE = {"PNG": _white_of_png, "TIFF": _white_of_tiff, "PPM": _white_of_ppm, "JPEG2000": _white_of_jpeg2000}


def _jpeg_has_end(jpeg: bytes) -> bool:
    """Whether the end marker of the image itself is there, not only that of a thumbnail or of an appended video."""
    position = 2
    while found := _JPEG_MARKER.search(jpeg, position):
        if jpeg[found.end() - 1] == _JPEG_END:
            return True
        position = found.end() + int.from_bytes(jpeg[found.end() : found.end() + 2], "big")
    return False


def _png_chunks(png: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Name of each chunk, where its data begin, and how many bytes it says they are."""
    position = 8
    while len(png) >= position + 12:
        length = int.from_bytes(png[position : position + 4], "big")
        yield png[position + 4 : position + 8], position + 8, length
        position += 12 + length


def _png_has_end(png: bytes) -> bool:
    return any(name == b"IEND" for name, _, _ in _png_chunks(png))


# OpenCV 4 fills what is missing of a JPEG with grey; 5 takes gigabytes for a PNG chunk longer than its file
_HAS_END = {"JPEG": _jpeg_has_end, "MPO": _jpeg_has_end, "PNG": _png_has_end}


# EXIF 2.3, tag 274: where the stored first row and column belong; from 5 on they are exchanged before
_LEFT_IS_RIGHT = (2, 3, 6, 7)
_TOP_IS_BOTTOM = (3, 4, 7, 8)


def _turn(image: np.ndarray, orientation: int) -> np.ndarray:
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in _LEFT_IS_RIGHT:
        image = image[:, ::-1]
    if orientation in _TOP_IS_BOTTOM:
        image = image[::-1]
    return np.ascontiguousarray(image)


def turn_boxes(boxes_xywh: np.ndarray, sides: tuple[int, int], orientation: int) -> np.ndarray:
    """Boxes of a stored image as it is shown.

    Args:
        boxes_xywh: [N, 4], pixels.
        sides: Height and width as stored.
        orientation: EXIF's, 1 to 8.
    """
    x, y, w, h = boxes_xywh.T
    if orientation >= 5:
        x, y, w, h = y, x, h, w
    height, width = _shown(sides, orientation)
    if orientation in _LEFT_IS_RIGHT:
        x = width - x - w
    if orientation in _TOP_IS_BOTTOM:
        y = height - y - h
    return np.stack([x, y, w, h], axis=-1)


def _too_large(max_pixels: int) -> str:
    return f"more than {max_pixels:,} pixels by its header"


def _other_sides(found: tuple[int, ...], annotated: tuple[int, int]) -> str:
    return f"{found[1]}x{found[0]} pixels, its annotations are for {annotated[1]}x{annotated[0]}"
