"""Every kind of image file: what is read, and why the rest is not."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fcoslite.data import images as images_module
from fcoslite.data.image_formats import FORMATS, IMAGE_SUFFIXES
from fcoslite.data.images import (
    UnusableImageError,
    UnwritableImageError,
    decode_image,
    encode_picture,
    follows_links,
    read_image,
    read_labelled,
)

HEIGHT, WIDTH = 60, 80


@dataclass(frozen=True)
class Annotated:
    file_name: str
    height: int = HEIGHT
    width: int = WIDTH
    image_id: int = 1


def picture() -> Image.Image:
    """Smooth, and different in every corner."""
    corners = np.random.default_rng(0).integers(0, 255, (3, 4, 3), np.uint8)
    return Image.fromarray(cv2.resize(corners, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC))


def encoded(image: Image.Image, file_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def by_opencv(pixels: np.ndarray, suffix: str) -> bytes:
    return cv2.imencode(suffix, pixels)[1].tobytes()


def with_orientation(orientation: int, file_format: str = "JPEG", image: Image.Image | None = None) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image or picture(), file_format, exif=exif, quality=95)


def transparent() -> Image.Image:
    image = picture().convert("RGBA")
    image.putalpha(Image.fromarray(np.linspace(0, 255, HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH)))
    return image


def animation(file_format: str) -> bytes:
    return encoded(picture(), file_format, save_all=True, append_images=[ImageOps.mirror(picture())] * 2, lossless=True)


def refusal(path: Path, sides: tuple[int, int] | None = None) -> str:
    with pytest.raises(UnusableImageError) as caught:
        read_image(path, sides)
    assert str(path) in caught.value.message and str(path) not in caught.value.reason
    assert caught.value.hint
    return caught.value.reason


@pytest.mark.parametrize(
    ("make", "off"),
    [
        pytest.param(lambda: encoded(picture(), "JPEG", quality=95), 3, id="jpeg"),
        pytest.param(lambda: encoded(picture(), "JPEG", quality=95, progressive=True), 3, id="progressive jpeg"),
        pytest.param(lambda: encoded(picture().convert("CMYK"), "JPEG", quality=95), 3, id="cmyk jpeg"),
        pytest.param(lambda: encoded(picture(), "PNG"), 0, id="png"),
        pytest.param(lambda: encoded(picture(), "PNG", bits=8, interlace=1), 0, id="interlaced png"),
        pytest.param(lambda: encoded(transparent(), "PNG"), 0, id="rgba png: alpha is dropped"),
        pytest.param(
            lambda: by_opencv(np.asarray(picture())[..., ::-1].astype(np.uint16) * 257, ".png"), 0, id="16-bit png"
        ),
        pytest.param(lambda: encoded(picture(), "WEBP", lossless=True), 0, id="webp"),
        pytest.param(lambda: encoded(picture(), "BMP"), 0, id="bmp"),
        pytest.param(lambda: encoded(picture(), "TIFF"), 0, id="tiff"),
        pytest.param(lambda: animation("PNG"), 0, id="animated png: the first frame"),
        pytest.param(lambda: animation("WEBP"), 0, id="animated webp: the first frame"),
        pytest.param(lambda: animation("TIFF"), 0, id="tiff of many pages: the first"),
        pytest.param(
            lambda: encoded(picture(), "JPEG", quality=95) + b"ftypmp4\xff\xd9.\xff\xda",
            3,
            id="video behind a jpeg",
        ),
    ],
)
def test_what_is_read(tmp_path: Path, make: Callable[[], bytes], off: float) -> None:
    path = tmp_path / "ünï.jpg"  # whatever the file is called
    path.write_bytes(make())
    pixels = read_image(path)
    assert pixels.shape == (HEIGHT, WIDTH, 3) and pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - np.asarray(picture()).astype(int)).mean() <= off


def test_grey_becomes_three_equal_channels(tmp_path: Path) -> None:
    grey = np.asarray(picture().convert("L"))
    for name, content in {
        "8 bits": encoded(picture().convert("L"), "PNG"),
        "16 bits": by_opencv(grey.astype(np.uint16) * 257, ".png"),
    }.items():
        (tmp_path / name).write_bytes(content)
        np.testing.assert_array_equal(read_image(tmp_path / name), np.repeat(grey[..., None], 3, axis=2))


# so that what Pillow writes can be compared to the last bit; WebP else forgets the colours of transparent pixels
OPTIONS: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
    "TIFF": {"compression": "tiff_lzw"},
}
LOSSY = {"JPEG": 3, "AVIF": 2}
MODES = {
    "JPEG": ("L", "RGB"),
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "WEBP": ("RGB", "RGBA"),
    "BMP": ("1", "L", "P", "RGB", "RGBA"),
    "GIF": ("L", "P"),
    "TIFF": ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK"),
    "PPM": ("1", "L", "RGB"),
    "JPEG2000": ("L", "LA", "RGB", "RGBA"),
    "AVIF": ("RGB", "RGBA"),
}


@pytest.mark.parametrize(
    ("name", "mode"), [(known.name, mode) for known in FORMATS for mode in MODES[known.name]], ids=str
)
def test_every_format_gives_the_colours_that_are_stored(name: str, mode: str) -> None:
    image = transparent().convert(mode) if mode != "P" else picture().quantize(64)
    content = encoded(image, name, **OPTIONS.get(name, {}))
    pixels = decode_image(content, Path("a"))
    with Image.open(io.BytesIO(content)) as opened:
        np.testing.assert_allclose(pixels, np.asarray(opened.convert("RGB")), atol=1 if name == "JPEG" else 0)
    stored = np.asarray(image.convert("RGB")).astype(int)
    assert np.abs(pixels - stored).mean() <= LOSSY.get(name, 0)


@pytest.mark.parametrize("name", ["PNG", "GIF", "TIFF"])
def test_a_transparent_colour_of_a_palette_is_a_colour(name: str) -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 150, 100])
    assert (decode_image(encoded(image, name, transparency=1), Path("a")) == [200, 150, 100]).all()


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
@pytest.mark.parametrize(
    ("suffix", "channels"),
    [
        (".png", 1),
        (".png", 3),
        (".png", 4),
        (".tif", 1),
        (".tif", 3),
        (".tif", 4),
        (".pgm", 1),
        (".ppm", 3),
        (".jp2", 1),
    ],
)
def test_sixteen_bits_are_scaled_by_what_they_hold(bits: int, suffix: str, channels: int) -> None:
    colours = np.asarray(picture()).astype(float)
    scaled = (colours - colours.min()) / np.ptp(colours)
    opaque = np.dstack([scaled, 1 - scaled[..., :1]])[..., :channels]
    if channels == 1:
        opaque, scaled = scaled.max(axis=2), np.repeat(scaled.max(axis=2, keepdims=True), 3, axis=2)
    deep = np.round(opaque * (2**bits - 1)).astype(np.uint16)
    if suffix == ".jp2":
        content = encoded(Image.fromarray(deep), "JPEG2000")
    else:
        content = by_opencv(deep if channels == 1 else deep[..., [2, 1, 0, 3][:channels]], suffix)
    np.testing.assert_allclose(decode_image(content, Path("a")), scaled * 255, atol=0.52)


def png_with_sbit(deep: np.ndarray, bits: int) -> bytes:
    content = by_opencv(deep, ".png")
    data = b"sBIT" + bytes([bits] * (1 if deep.ndim == 2 else deep.shape[2]))
    chunk = struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))
    return content[:33] + chunk + content[33:]


def test_a_dark_image_stays_dark_where_the_file_tells_its_depth() -> None:
    dark = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) % 200  # of 4095
    stored = Image.fromarray(dark)
    pgm = b"P5\n# a camera\n80 60\n4095\n" + dark.astype(">u2").tobytes()
    for content in (png_with_sbit(dark, 12), encoded(stored, "TIFF", tiffinfo={281: 4095}), pgm):
        pixels = decode_image(content, Path("a"))
        np.testing.assert_allclose(pixels[..., 0], dark * 255 / 4095, atol=0.51)
    # by the standard, samples fill all bits whatever sBIT says
    whole = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 13
    np.testing.assert_allclose(decode_image(png_with_sbit(whole, 12), Path("a"))[..., 0], whole / 257, atol=0.51)


def test_samples_of_few_bits() -> None:
    for most in (15, 255, 1000, 65_535):
        values = np.round(np.linspace(0, most, 4800)).astype(">u2" if most > 255 else np.uint8)
        content = b"P5 80 60 %d\n" % most + values.tobytes()
        expected = values.reshape(60, 80).astype(float) * 255 / most
        np.testing.assert_allclose(decode_image(content, Path("a"))[..., 0], expected, atol=1)


def test_twelve_bits_packed_in_a_tiff() -> None:
    values = np.arange(HEIGHT * WIDTH).reshape(-1, 2) % 4096
    first, second = values.T
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=1).astype(np.uint8).tobytes()
    tags = {256: WIDTH, 257: HEIGHT, 258: 12, 259: 1, 262: 1, 273: 8 + 2 + 9 * 12 + 4, 277: 1, 278: HEIGHT}
    tags[279] = len(packed)
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content = b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4) + packed
    np.testing.assert_allclose(decode_image(content, Path("a"))[..., 0].ravel(), values.ravel() / 16.06, atol=1)


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_samples_that_are_no_bytes_are_refused_for_that(tmp_path: Path, kind: type) -> None:
    (tmp_path / "a.tif").write_bytes(encoded(Image.fromarray(np.asarray(picture().convert("L")).astype(kind)), "TIFF"))
    assert "samples of more than 16 bits" in refusal(tmp_path / "a.tif")


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100), b"\xff\x0a" + bytes(50)])
def test_formats_that_are_not_read_are_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.heic").write_bytes(content)
    assert "convert it to JPEG" in refusal(tmp_path / "a.heic")


@pytest.mark.parametrize("suffix", [*IMAGE_SUFFIXES, ".JPG"])
def test_what_is_written_is_read_again(tmp_path: Path, suffix: str) -> None:
    pixels = np.asarray(picture())
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encode_picture(pixels, path))
    lossy = {".jpg": 3, ".jpeg": 3, ".jpe": 3, ".jfif": 3, ".gif": 8, ".avif": 8}
    assert np.abs(read_image(path).astype(int) - pixels).mean() <= lossy.get(suffix.lower(), 0)
    assert encode_picture(pixels, suffix) == path.read_bytes()


@pytest.mark.parametrize("known", FORMATS, ids=lambda known: known.name)
def test_what_a_format_cannot_hold_is_told(known: Any) -> None:
    for sides in ((1, known.longest_side + 1), (known.longest_side + 1, 1)):
        with pytest.raises(UnwritableImageError) as caught:
            encode_picture(np.zeros((*sides, 3), np.uint8), f"drawn/wide{known.suffixes[0]}")
        assert f"{sides[1]}x{sides[0]} pixels" in caught.value.message
        assert (
            f"drawn/wide{known.suffixes[0]}" in caught.value.message and f"{known.longest_side:,}" in caught.value.hint
        )
    widest = np.zeros((2, min(known.longest_side, 70_000), 3), np.uint8)
    if known.name != "JPEG2000":  # OpenJPEG refuses what is so flat
        assert decode_image(encode_picture(widest, known.suffixes[0]), Path("a")).shape == widest.shape


def test_an_image_of_one_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotated_sides_tell_whether_boxes_know_of_the_orientation(
    tmp_path: Path, orientation: int, file_format: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(with_orientation(orientation, file_format))
    with Image.open(path) as image:
        shown = np.asarray(ImageOps.exif_transpose(image))
    with Image.open(io.BytesIO(with_orientation(1, file_format))) as image:
        stored = np.asarray(image)
    sides = (shown.shape[0], shown.shape[1])
    np.testing.assert_allclose(read_image(path, sides), shown, atol=6)
    np.testing.assert_allclose(read_image(path), shown, atol=6)
    if orientation >= 5:
        np.testing.assert_allclose(read_image(path, (HEIGHT, WIDTH)), stored, atol=6)
    assert "its annotations are for 81x60" in refusal(path, (60, 81))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_deep_tiffs_are_turned_as_others_are(orientation: int) -> None:
    grey = np.asarray(picture().convert("L"))
    deep = encoded(Image.fromarray(grey.astype(np.uint16) * 257), "TIFF", tiffinfo={0x0112: orientation})
    flat = encoded(Image.fromarray(grey), "TIFF", tiffinfo={0x0112: orientation})
    with Image.open(io.BytesIO(flat)) as image:
        shown = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(decode_image(deep, Path("a")), shown)
    np.testing.assert_array_equal(decode_image(flat, Path("a")), shown)
    if orientation >= 5:
        np.testing.assert_array_equal(decode_image(deep, Path("a"), (HEIGHT, WIDTH))[..., 0], grey)


def test_an_orientation_that_does_not_exist_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(with_orientation(99))
    assert read_image(tmp_path / "a.jpg").shape == (HEIGHT, WIDTH, 3)


def cut(file_format: str) -> bytes:
    whole = encoded(picture(), file_format)
    return whole[: len(whole) * 2 // 3]


def with_thumbnail_cut() -> bytes:
    """A JPEG whose thumbnail has an end marker, but which is itself cut short."""
    whole = encoded(picture(), "JPEG")
    segment = b"Exif\0\0" + encoded(picture().resize((8, 6)), "JPEG")
    return whole[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2 : len(whole) // 2]


def png(width: int, height: int, chunk_length: int | None = None) -> bytes:
    """A PNG whose one chunk of pixels is nearly empty."""

    def chunk(name: bytes, data: bytes, length: int | None = None) -> bytes:
        size = struct.pack(">I", len(data) if length is None else length)
        return size + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0"), chunk_length) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "empty", id="empty"),
        pytest.param(b"hello", "no image", id="text"),
        pytest.param(b"<!DOCTYPE html><html>404</html>", "no image", id="web page"),
        pytest.param(cut("JPEG"), "cut short", id="cut jpeg"),
        pytest.param(encoded(picture(), "JPEG")[:-2], "cut short", id="jpeg without its end marker"),
        pytest.param(encoded(picture(), "JPEG")[:900] + bytes(3000), "cut short", id="jpeg that goes on as zeros"),
        pytest.param(with_thumbnail_cut(), "cut short", id="cut jpeg with a whole thumbnail"),
        pytest.param(encoded(picture(), "JPEG")[:20], "no image|cut short", id="jpeg without a scan"),
        pytest.param(cut("PNG"), "cut short", id="cut png"),
        # OpenCV 5 would allocate the four gigabytes
        pytest.param(png(80, 60, chunk_length=2**32 - 1), "cut short", id="png chunk longer than the file"),
        # beyond OpenCV's own bounds, where it raises
        pytest.param(encoded(Image.new("1", (1_100_000, 1)), "BMP"), "cut short", id="wider than opencv takes"),
        pytest.param(cut("WEBP"), "cut short", id="cut webp"),
        pytest.param(cut("BMP"), "cut short", id="cut bmp"),
        pytest.param(cut("TIFF"), "cut short", id="cut tiff"),
    ],
)
def test_what_is_no_whole_image(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert any(part in refusal(path) for part in reason.split("|"))


def jpeg_of_sides(width: int, height: int) -> bytes:
    content = bytearray(encoded(picture(), "JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("sides", [(30_000, 30_000), (20_000, 9_000)])
@pytest.mark.parametrize("make", [png, jpeg_of_sides])
def test_a_bomb_is_refused_by_its_header(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[int, int], bytes], sides: tuple[int, int]
) -> None:
    def never(*arguments: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(images_module.cv2, "imdecode", never)
    path = tmp_path / "a"
    path.write_bytes(make(*sides))
    assert "178,956,970 pixels" in refusal(path, sides[::-1])


def test_what_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(tmp_path / "absent.jpg") == "missing"
    (tmp_path / "dangling.jpg").symlink_to(tmp_path / "absent.jpg")
    assert refusal(tmp_path / "dangling.jpg") == "a link to nothing"
    (tmp_path / "folder.jpg").mkdir()
    assert refusal(tmp_path / "folder.jpg") == "not a file"
    assert "too long" in refusal(tmp_path / ("a" * 5000 + ".jpg"))
    (tmp_path / "large.jpg").write_bytes(encoded(picture(), "JPEG"))
    with monkeypatch.context() as patched:
        # as s3fs says that an object may not be read: there is no number
        patched.setattr(images_module, "read_bytes", Mock(side_effect=PermissionError("Access Denied")))
        assert refusal(tmp_path / "large.jpg") == "access denied"
    monkeypatch.setattr(images_module, "MAX_BYTES", 100)
    assert "more than 100 are not read" in refusal(tmp_path / "large.jpg")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in folders here")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jpg")
    reasons = []
    thread = threading.Thread(target=lambda: reasons.append(refusal(tmp_path / "a.jpg")), daemon=True)
    thread.start()
    thread.join(30)
    assert reasons == ["not a file"]


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="the superuser may read everything")
def test_a_file_without_permission(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(picture(), "JPEG"))
    (tmp_path / "a.jpg").chmod(0)
    assert refusal(tmp_path / "a.jpg") == "permission denied"


def test_links_do_not_leave_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "images", tmp_path / "outside"
    for path in (folder, outside):
        path.mkdir()
        (path / "a.png").write_bytes(encoded(picture(), "PNG"))
    (folder / "inside.png").symlink_to(folder / "a.png")
    (folder / "outside.png").symlink_to(outside / "a.png")
    (folder / "below").symlink_to(outside)
    (tmp_path / "link-to-images").symlink_to(folder)
    for root in (folder, tmp_path / "link-to-images"):
        for name in ("a.png", "inside.png"):
            assert read_labelled(Annotated(name), root).shape == (HEIGHT, WIDTH, 3)
        for name in ("outside.png", "below/a.png", "../outside/a.png", str(outside / "a.png")):
            with pytest.raises(UnusableImageError, match="leaves the images folder"):
                read_labelled(Annotated(name), root)
    assert read_labelled(Annotated("outside.png"), folder, follow_links=True).shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ("manifest", "follows"),
    [
        ('{"kind": "fcoslite-extract", "options": {"link": "symlink"}}', True),
        ('{"kind": "fcoslite-extract", "options": {"link": "copy"}}', False),
        ('{"kind": "other", "options": {"link": "symlink"}}', False),
        ('{"kind": "fcoslite-extract", "options": 3}', False),
        ("[]", False),
        ("{", False),
        (None, False),
    ],
)
def test_only_an_extract_made_of_links_follows_them(tmp_path: Path, manifest: str | None, follows: bool) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    assert follows_links(tmp_path / "images") is follows


WHOLE = {known.name: encoded(picture().resize((16, 12)), known.name) for known in FORMATS}
DEEP = np.asarray(picture().resize((16, 12))).astype(np.uint16) * 257
WHOLE |= {f"deep {suffix}": by_opencv(DEEP, suffix) for suffix in (".png", ".tif", ".ppm")}


@settings(max_examples=300)
@given(
    file_format=st.sampled_from(sorted(WHOLE)),
    changes=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8),
    end=st.integers(0, 2000),
)
def test_damage_gives_an_image_or_a_reason(
    tmp_path_factory: pytest.TempPathFactory, file_format: str, changes: list[tuple[int, int]], end: int
) -> None:
    content = bytearray(WHOLE[file_format])
    for position, value in changes:
        content[position % len(content)] = value
    path = tmp_path_factory.getbasetemp() / "damaged-image"
    path.write_bytes(content[:end] if end else content)
    try:
        pixels = read_image(path, (12, 16))
    except UnusableImageError as error:
        assert error.reason
    else:
        assert pixels.shape == (12, 16, 3)
