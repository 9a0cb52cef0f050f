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

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from fcoslite.data import images as images_module
from fcoslite.data.images import UnusableImageError, follows_links, read_image, read_labelled

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


def test_an_image_of_one_pixel(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG"))
    assert read_image(tmp_path / "a.png").tolist() == [[[1, 2, 3]]]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_annotated_sides_tell_whether_boxes_know_of_the_orientation(
    tmp_path: Path, orientation: int, file_format: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(with_orientation(orientation, file_format))
    with Image.open(path) as image:
        stored, shown = np.asarray(image), np.asarray(ImageOps.exif_transpose(image))
    sides = (shown.shape[0], shown.shape[1])
    np.testing.assert_allclose(read_image(path, sides), shown, atol=6)
    np.testing.assert_allclose(read_image(path), shown, atol=6)
    if orientation >= 5:
        np.testing.assert_allclose(read_image(path, (HEIGHT, WIDTH)), stored, atol=6)
    assert "its annotations are for 81x60" in refusal(path, (60, 81))


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
    assert refusal(tmp_path / "dangling.jpg") == "missing"
    (tmp_path / "folder.jpg").mkdir()
    assert refusal(tmp_path / "folder.jpg") == "not a file"
    assert "too long" in refusal(tmp_path / ("a" * 5000 + ".jpg"))
    (tmp_path / "large.jpg").write_bytes(encoded(picture(), "JPEG"))
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


WHOLE = {name: encoded(picture().resize((16, 12)), name) for name in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")}


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
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(content[:end] if end else content)
    try:
        pixels = read_image(path, (12, 16))
    except UnusableImageError as error:
        assert error.reason
    else:
        assert pixels.shape == (12, 16, 3)
