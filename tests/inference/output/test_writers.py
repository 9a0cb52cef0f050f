import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.images import read_image
from fcoslite.detections.detections import Detections
from fcoslite.errors import FcosliteError
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.open import open_source
from fcoslite.inference.output.recorder import Writer
from fcoslite.inference.output.writers import ImageWriter, JsonlWriter, VideoWriter, to_record
from fcoslite.storage import space
from tests.disks import SmallDisk

NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))


def result(
    index: int = 0,
    seconds: float = 0.0,
    size: tuple[int, int] = (96, 128),
    name: str = "walk.avi",
    fps: float | None = 9.0,
) -> FrameResult:
    image = np.full((*size, 3), 100, np.uint8)
    boxes = np.array([[10.126, 20.5, 60.25, 80.0]], np.float32)
    found = Detections(boxes, np.array([0.512345], np.float32), np.array([2], np.int32), ("person", "café"))
    return FrameResult(Frame(index, image, name, seconds), found, fps)


@pytest.mark.parametrize("name", ["out.mp4", "out.AVI"])
def test_a_video_has_every_frame_at_the_sources_rate(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new folder" / name
    writer = VideoWriter(path, 12.5)
    for index in range(7):
        writer.write(result(index, seconds=index / 12.5))
    writer.close()
    with open_source(str(path)) as source:
        assert (source.fps, source.width, source.height) == (12.5, 128, 96)
        frames = [frame.image_rgb for frame in source]
    assert len(frames) == 7
    difference = np.abs(frames[-1].astype(int) - result().draw())
    assert difference.mean() < 10  # boxes are on it, in their colours


def test_a_frame_of_another_size_is_fitted_into_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    writer = VideoWriter(path, None)
    for index, size in enumerate(((96, 128), (200, 100), (48, 64), (97, 129))):
        writer.write(result(seconds=index / 25, size=size))
    writer.close()
    with open_source(str(path)) as source:
        assert [frame.image_rgb.shape for frame in source] == [(96, 128, 3)] * 4


@pytest.mark.parametrize("fps", [10, 12.5, 25, 30000 / 1001, 30, 59.94, 240])
def test_a_constant_rate_repeats_and_leaves_out_nothing(fps: float, tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "out.avi", fps)
    for index in range(100):
        writer.write(
            result(index, seconds=round(3600 + index / fps, 3), size=(32, 32))
        )  # milliseconds, as Matroska has
    writer.close()
    with open_source(str(tmp_path / "out.avi")) as source:
        assert len(list(source)) == 100


def test_a_live_recording_keeps_time(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    writer = VideoWriter(path, 10.0)
    for seconds in (8.0, 8.5, 8.51, 8.52, 10.0):  # slower, then faster than ten a second
        writer.write(result(seconds=seconds))
    writer.close()
    with open_source(str(path)) as source:
        assert len(list(source)) == 21


def test_an_avi_plays_although_it_was_never_closed(tmp_path: Path) -> None:
    path = tmp_path / "out.avi"
    writer = VideoWriter(path, 10.0)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    for index in range(40):
        writer.write(replace(result(), frame=Frame(index, noise, "x", index / 10)))
    shutil.copy(path, tmp_path / "killed.avi")  # what a killed process leaves
    writer.close()
    with open_source(str(tmp_path / "killed.avi")) as source:
        assert len(list(source)) > 35


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.jsonl", "drawn"])
def test_a_disk_that_becomes_full(name: str, small_disk: SmallDisk) -> None:
    small_disk.resize(space._SPARE_BYTES + 2**20)
    path = small_disk.path / name
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    writer: Writer
    if name.startswith("out.jsonl"):
        writer = JsonlWriter(path)
        found = Detections(*(np.ones((2000, *shape), np.float32) for shape in ((4,), ())), np.ones(2000, int), ("x",))
    else:
        writer = ImageWriter(path, folder=True) if name == "drawn" else VideoWriter(path, 10.0)
        found = result().detections
    written = 0
    with pytest.raises(FcosliteError, match="is full"):
        for number in range(1000):
            writer.write(FrameResult(Frame(number, noise, f"{number}.png", number / 10), found, None))
            written += 1
    writer.close()
    assert written > 3
    if name == "out.jsonl":
        assert len([json.loads(line) for line in path.read_text("utf-8").splitlines()]) == written
    elif name == "drawn":
        assert len([read_image(image) for image in path.iterdir()]) == written
    else:
        with open_source(str(path)) as source:
            assert len(list(source)) == written


def test_a_disk_that_is_full_from_the_start(small_disk: SmallDisk) -> None:
    for writer in (VideoWriter(small_disk.path / "x" / "out.mp4", 10.0), JsonlWriter(small_disk.path / "a")):
        with pytest.raises(FcosliteError, match="is full"):
            writer.write(result())
        writer.close()
    assert list(small_disk.path.iterdir()) == []


def test_a_gap_in_a_live_recording_shows_what_was_seen_before(tmp_path: Path) -> None:
    writer = VideoWriter(tmp_path / "out.avi", 10.0)
    for seconds, brightness in ((0.0, 40), (0.1, 80), (1.0, 200)):  # lost for a while
        image = np.full((96, 128, 3), brightness, np.uint8)
        writer.write(FrameResult(Frame(0, image, "x", seconds), NOBODY, None))
    writer.close()
    with open_source(str(tmp_path / "out.avi")) as source:
        seen = [round(float(frame.image_rgb.mean()), -1) for frame in source]
    assert seen == [40, *9 * [80], 200]


def test_a_video_that_opencv_cannot_write(tmp_path: Path) -> None:
    with pytest.raises(FcosliteError, match="1x1"):
        VideoWriter(tmp_path / "out.mp4", 10.0).write(result(size=(1, 1)))


def test_images_keep_their_names_and_their_pixels(tmp_path: Path) -> None:
    folder = ImageWriter(tmp_path / "drawn", folder=True)
    folder.write(result(name="ä.png"))
    folder.write(result(name="b.jpg"))
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["b.jpg", "ä.png"]
    np.testing.assert_array_equal(read_image(tmp_path / "drawn" / "ä.png"), result().draw())
    ImageWriter(tmp_path / "one.PNG", folder=False).write(result(name="x.jpg"))
    assert cv2.imread(str(tmp_path / "one.PNG")).shape == (96, 128, 3)


def test_a_json_line_a_frame_at_once(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.jsonl"
    writer = JsonlWriter(path)
    writer.write(result(3, seconds=0.25))
    (line,) = path.read_text("utf-8").splitlines()  # before it is closed
    assert json.loads(line) == {
        "frame": 3,
        "seconds": 0.25,
        "name": "walk.avi",
        "detections": [{"bbox": [10.13, 20.5, 50.12, 59.5], "score": 0.51235, "class": "café"}],
    }
    assert "café" in line
    writer.write(result(4))
    writer.close()
    assert len(path.read_text("utf-8").splitlines()) == 2


@given(st.lists(st.tuples(*[st.floats(0, 5000, width=32)] * 4), max_size=5))
def test_records_are_xywh_of_the_boxes(boxes: list[tuple[float, ...]]) -> None:
    boxes_xyxy = np.array(boxes, np.float32).reshape(-1, 4)
    kept = boxes_xyxy.copy()
    count = len(boxes)
    found = Detections(boxes_xyxy, np.full(count, 0.5, np.float32), np.ones(count, np.int32), ("person",))
    record = json.loads(json.dumps(to_record(FrameResult(result().frame, found, None))))
    np.testing.assert_array_equal(boxes_xyxy, kept)
    for box, entry in zip(boxes_xyxy.astype(float), record["detections"], strict=True):
        x, y, width, height = entry["bbox"]
        assert [x, y, x + width, y + height] == pytest.approx(box.tolist(), abs=0.011)
