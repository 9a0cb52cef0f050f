"""Which camera a source belongs to."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.camera.sources import CameraSource, list_camera_sources
from fcoslite.errors import ConfigError, SourceError


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "front door"
    for name in ("28/22/b.mp4", "28/22/a.mp4", "27/c.MKV", ".trash/d.mp4", "notes.txt"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def cameras(*words: str) -> list[str]:
    return [source.camera for source in list_camera_sources(words)]


def test_cameras_are_called_by_what_the_words_say(recordings: Path) -> None:
    assert cameras("0", "/dev/video2") == ["camera-0", "camera-2"]
    assert cameras("rtsp://user:secret@10.0.0.7:554/stream?key=secret") == ["10.0.0.7-554-stream"]
    assert cameras(str(recordings / "28/22/a.mp4")) == ["a"]
    found = list_camera_sources([str(recordings)])
    assert [source.camera for source in found] == ["front-door"] * 3
    assert [source.recording.name for source in found if source.recording] == ["c.MKV", "a.mp4", "b.mp4"]


def test_a_name_may_stand_before_a_source(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cameras("door=rtsp://u:p@host/x?a=b", "yard=0") == ["door", "yard"]
    assert list_camera_sources(["door=0"]) == (CameraSource("door", "0"),)
    assert cameras(f"door={recordings}") == ["door"] * 3
    assert cameras("http://host/x?user=u&password=p") == ["host-x"]
    monkeypatch.chdir(recordings)
    Path("a=b.mp4").touch()
    assert cameras("a=b.mp4") == ["a-b"]


def test_an_address_is_never_shown() -> None:
    assert "secret" not in repr(list_camera_sources(["door=rtsp://u:secret@host/?k=secret"]))


@pytest.mark.parametrize(
    "words", [("0", "/dev/video0"), ("rtsp://h/x?channel=1", "rtsp://h/x?channel=2"), ("Door=0", "door=1")]
)
def test_two_cameras_of_one_name_are_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="both be called") as caught:
        list_camera_sources(words)
    assert "-1=SOURCE" in caught.value.hint


def test_recordings_whose_names_come_to_the_same_are_refused(tmp_path: Path) -> None:
    for name in ("門.mp4", "庭.mp4", "front door.mp4", "front-door.mp4"):
        (tmp_path / name).touch()
    for one, other, called in (("門", "庭", "camera"), ("front door", "front-door", "front-door")):
        words = [str(tmp_path / f"{name}.mp4") for name in (one, other)]
        with pytest.raises(ConfigError, match=f"both be called {called}"):
            list_camera_sources(words)
        assert cameras(f"yard={words[0]}", words[1]) == ["yard", called]
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday/門.mp4").touch()  # another recording of the same camera
    assert cameras(str(tmp_path / "門.mp4"), str(tmp_path / "monday/門.mp4")) == ["camera", "camera"]


@pytest.mark.parametrize("name", ["", "..", "a b", "-x", "x" * 65, "é"])
def test_names_that_are_no_part_of_a_path_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="no name for a camera"):
        list_camera_sources([f"{name}=0"])


def test_what_is_not_there_or_does_not_move(recordings: Path, demo_data: Path) -> None:
    with pytest.raises(SourceError, match="no file or folder") as caught:
        list_camera_sources([str(recordings / "28/22/c.mp4")])
    assert "did you mean" in caught.value.hint
    with pytest.raises(SourceError, match="is an image"):
        list_camera_sources([str(next((demo_data / "images").glob("*.jpg")))])
    with pytest.raises(SourceError, match="no video in"):
        list_camera_sources([str(demo_data)])
    with pytest.raises(SourceError, match="no stream address"):
        list_camera_sources(["ftp://host/x"])
    with pytest.raises(ConfigError, match="nothing to collect"):
        list_camera_sources([])


@given(st.text())
def test_any_name_of_a_host_is_a_safe_name(path: str) -> None:
    try:
        [source] = list_camera_sources([f"rtsp://user:secret@host/{path}"])
    except SourceError:
        return
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", source.camera)
    assert "secret" not in source.camera
