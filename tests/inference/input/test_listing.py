from pathlib import Path

import numpy as np
import pytest

from fcoslite.data.image_formats import FORMATS, IMAGE_SUFFIXES
from fcoslite.detections.detections import Detections
from fcoslite.errors import SourceError
from fcoslite.inference.detect_sources import Result
from fcoslite.inference.input.listing import list_sources
from fcoslite.inference.output.result_files import drawn_path, picture_name


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a/1.jpg", "a/2.PNG", "a/below/3.jpg", "a/.hidden/4.jpg", "a/notes.txt", "b/1.jpg", "walk.mp4"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def names(words: list[str], recursive: bool = False) -> list[str]:
    return [one.name for one in list_sources(words, recursive)]


def test_images_folders_videos_and_patterns_in_their_order(here: Path) -> None:
    assert names(["walk.mp4", "a"]) == ["walk.mp4", "1.jpg", "2.PNG"]
    assert [one.moves for one in list_sources(["walk.mp4", "a"])] == [True, False, False]
    assert names(["a"], recursive=True) == ["1.jpg", "2.PNG", "below/3.jpg"]
    assert names(["a/*.jpg", str(here / "*.mp4")]) == ["1.jpg", "walk.mp4"]
    assert names(["a/**/*.jpg"]) == ["1.jpg", "3.jpg"]


def test_no_source_comes_twice() -> None:
    assert names(["a/1.jpg", "a", "a/*.jpg"]) == ["1.jpg", "2.PNG"]


def test_where_two_have_one_name_both_are_called_by_their_paths(here: Path) -> None:
    assert names(["a/1.jpg", "b"]) == ["a/1.jpg", "b/1.jpg"]
    assert names([str(here / "a" / "1.jpg"), "b/1.jpg"])[0].endswith("a/1.jpg")
    assert not names([str(here / "a" / "1.jpg"), "b/1.jpg"])[0].startswith("/")
    (here / "a" / "1.png").write_bytes(b"")
    assert names(["a/1.jpg", "a/1.png"]) == ["1.jpg", "1.png"]
    with pytest.raises(SourceError, match="two sources would both be called"):  # of one .txt
        list_sources(["a/1.jpg", "a/1.png"], without_suffix=True)
    for video in ("a/walk.mov", "a/walk.avi"):
        (here / video).write_bytes(b"")
    with pytest.raises(SourceError, match="two sources would both be called"):  # of one .mp4
        list_sources(["a/walk.mov", "a/walk.avi"])


def test_what_follows_a_dot_may_be_of_a_host_or_a_date(here: Path) -> None:
    streams = list_sources(["rtsp://192.168.1.20/s", "rtsp://192.168.1.21/s", "rtsp://cam.example.org/"])
    drawn = [drawn_path(Path(), one).name for one in streams]
    assert drawn == ["192.168.1.20-s.mp4", "192.168.1.21-s.mp4", "cam.example.org.mp4"]
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))
    frame = Result(streams[0], np.zeros((8, 8, 3), np.uint8), nobody, 12, 0.5)
    assert picture_name(frame).name == "192.168.1.20-s-000012.jpg"
    for name in ("rec.2026-11-28", "rec.2026-11-29"):
        (here / name).touch()
    assert names(["rec.2026-11-28", "rec.2026-11-29"]) == ["rec.2026-11-28", "rec.2026-11-29"]


def test_an_image_that_cannot_be_read_is_listed(here: Path) -> None:
    for known in FORMATS:
        for suffix in known.suffixes:
            (here / "b" / f"x{suffix}").write_bytes(b"")
    (here / "b" / "phone.HEIC").write_bytes(b"")
    (here / "b" / "broken.jpg").symlink_to("nowhere")
    (here / "b" / "folder.jpg").mkdir()
    listed = names(["b"])
    assert set(listed) == {"1.jpg", "phone.HEIC", "broken.jpg", *(f"x{suffix}" for suffix in IMAGE_SUFFIXES)}
    assert sorted(names(["b/*"])) == sorted(listed)
    assert not any(one.moves for one in list_sources(["b/*"]))


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:pass@10.0.0.7:554/live/1?token=x", "10.0.0.7-554-live-1"),
        ("http://host/../../etc/passwd", "host-..-..-etc-passwd"),
    ],
)
def test_a_stream_is_called_by_its_place_without_its_secrets(address: str, name: str) -> None:
    [one] = list_sources([address])
    assert (one.text, one.name, one.moves) == (address, name, True)


def test_streams_that_cannot_be_told_apart_or_are_none_show_no_secret() -> None:
    for words in (["rtsp://user:secret@host/1?secret", "rtsp://host/1?secret"], ["https://user:secret@"]):
        with pytest.raises(SourceError) as raised:
            list_sources(words)
        assert "secret" not in raised.value.message + raised.value.hint


@pytest.mark.parametrize(
    ("word", "told"),
    [("walk.mp", "walk.mp4"), ("0", "webcam --source 0"), ("*.gif", "images"), ("", "images"), ("a/.hidden", "")],
)
def test_what_is_not_there(word: str, told: str) -> None:
    if word == "a/.hidden":  # named, it is meant
        assert names([word]) == ["4.jpg"]
        return
    with pytest.raises(SourceError) as raised:
        list_sources([word])
    assert told in (raised.value.hint or "")
