from pathlib import Path

import pytest

from fcoslite.errors import SourceError
from fcoslite.inference.input.listing import list_sources


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
    with pytest.raises(SourceError, match="two sources would both be called"):  # of one .txt
        list_sources(["a/1.jpg", "a/1.png"])


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("rtsp://user:pass@10.0.0.7:554/live/1?token=x", "10.0.0.7-554-live-1"),
        ("http://host/../../etc/passwd", "host-..-..-etc-passwd"),
        ("https://", "stream"),
    ],
)
def test_a_stream_is_called_by_its_place_without_its_secrets(address: str, name: str) -> None:
    [one] = list_sources([address])
    assert (one.text, one.name, one.moves) == (address, name, True)


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
