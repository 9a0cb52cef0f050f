from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera.frames import CameraFrame, FrameLog
from fcoslite.errors import ConfigError, SourceError
from fcoslite.labelling.sources import Photograph, Video, count_pictures, list_sources, pictures

TEN = datetime(2026, 11, 28, 22, tzinfo=UTC)


@pytest.fixture
def film(tmp_path: Path) -> Path:
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (32, 32))
    for number in range(10):
        writer.write(np.full((32, 32, 3), 20 * number, np.uint8))
    writer.release()
    return path


def test_folders_images_and_videos_in_their_order(film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in ("b.JPG", "a.png", "c.tiff", "notes.txt", ".hidden.jpg"):
        (folder / name).write_bytes(b"")
    (folder / "d.jpg").symlink_to("nowhere")
    (tmp_path / "one.jpg").write_bytes(b"")
    sources = list_sources([film, folder, tmp_path / "one.jpg"], every=4, frames=(1, None))
    assert sources == (
        Video(film, range(1, 10, 4), 3, 32, 32),
        Photograph(folder / "a.png"),
        Photograph(folder / "b.JPG"),
        Photograph(folder / "c.tiff"),
        Photograph(folder / "d.jpg"),
        Photograph(tmp_path / "one.jpg"),
    )
    assert count_pictures(sources) == 8


def test_what_is_done_is_left_out(film: Path) -> None:
    sources = list_sources([film], every=3, frames=(0, 8))
    left = list(pictures(sources, {"film-000003.jpg": None}))
    assert [(one.name, one.frame) for one in left] == [("film-000000.jpg", 0), ("film-000006.jpg", 6)]
    assert left[1].image_rgb is not None and abs(float(left[1].image_rgb.mean()) - 120) < 5
    assert left[1].seconds == pytest.approx(0.6)
    assert list(pictures(sources, dict.fromkeys(["film-000000.jpg", "film-000003.jpg", "film-000006.jpg"]))) == []


def test_a_length_that_is_not_known() -> None:
    assert count_pictures([Photograph(Path("a")), Video(Path("v"), range(0, 2**31), None, 8, 8)]) is None


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no image in"):
        list_sources([tmp_path], 1, (0, None))


def test_videos_of_one_name(film: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "film.avi").write_bytes(film.read_bytes())
    with pytest.raises(ConfigError, match="same name"):
        list_sources([film, tmp_path / "other" / "film.avi"], 1, (0, None))


def test_a_photograph_that_is_named_as_a_frame_would_be(film: Path, tmp_path: Path) -> None:
    (tmp_path / "film-000003.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match="name of a frame"):
        list_sources([tmp_path / "film-000003.jpg", film], 1, (0, None))
    assert len(list_sources([tmp_path / "film-000003.jpg"], 1, (0, None))) == 1


def test_the_frames_of_a_camera_are_named_with_it(tmp_path: Path) -> None:
    frames = [
        CameraFrame(f"{camera}/20261128T22000{second}.000Z.jpg", camera, TEN + timedelta(seconds=second), "moved")
        for second, camera in ((1, "yard"), (2, "door"), (3, "door"))
    ]
    with FrameLog(tmp_path) as log:
        for frame in frames:
            log.append(frame)
    with pytest.raises(SourceError, match="has no frame"):
        list_sources([tmp_path], 1, (0, None))
    for frame in frames[:2]:  # the third was deleted by hand
        path = tmp_path / "images" / frame.file_name
        path.parent.mkdir(parents=True)
        path.touch()
    sources = list_sources([tmp_path], 1, (0, None))
    assert sources == tuple(Photograph(tmp_path / "images" / frame.file_name, frame) for frame in frames[:2])
    assert [source.source for source in sources] == ["yard/20261128T220001.000Z.jpg", "door/20261128T220002.000Z.jpg"]


@pytest.mark.parametrize("name", ["9:05.jpg", "a\\b.jpg", "a\nb.jpg"])
def test_names_that_no_data_set_can_have_are_told_before_the_work(name: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="cannot have its name") as caught:
        list_sources([tmp_path], 1, (0, None))
    assert "rename" in caught.value.hint


def test_names_that_some_file_systems_do_not_tell_apart(tmp_path: Path) -> None:
    for folder, name in (("a", "IMG.JPG"), ("b", "img.jpg"), ("c", "e\u0301.jpg"), ("d", "\u00c9.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    for one, other in ("ab", "cd"):
        with pytest.raises(ConfigError, match="same name"):
            list_sources([tmp_path / one, tmp_path / other], 1, (0, None))
