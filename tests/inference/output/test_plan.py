import os
from pathlib import Path

import pytest

from fcoslite.errors import ConfigError, FcosliteError
from fcoslite.inference.input.open import open_source
from fcoslite.inference.output.plan import Output, plan_output
from tests.disks import SmallDisk


@pytest.fixture(autouse=True)
def no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("fcoslite.inference.output.plan.has_display", lambda: False)
    monkeypatch.chdir(tmp_path)


def plan(
    source: Path, save: str | None = None, jsonl: str | None = None, window: bool = False, overwrite: bool = False
) -> Output:
    with open_source(str(source)) as opened:
        return plan_output(
            opened.kind,
            opened.path,
            window=window,
            save=Path(save) if save else None,
            jsonl=Path(jsonl) if jsonl else None,
            overwrite=overwrite,
        )


def test_without_a_display_the_result_is_saved_and_a_message_says_where(
    video: Path, folder: Path, messages: pytest.LogCaptureFixture
) -> None:
    assert plan(video, window=True) == Output(False, Path("webcam.mp4"), None)
    assert "webcam.mp4" in messages.text
    assert plan(folder, window=True).save == Path("webcam")
    assert plan(folder / "a.jpg", window=True).save == Path("webcam.jpg")
    assert plan(video, window=True, save="mine.avi").save == Path("mine.avi")
    Path("webcam.mp4").touch()
    assert plan(video, window=True).save == Path("webcam-2.mp4")  # nothing is overwritten unasked
    assert plan(video, window=False).save is None


def test_with_a_display_nothing_is_saved_unasked(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcoslite.inference.output.plan.has_display", lambda: True)
    assert plan(video, window=True) == Output(True, None, None)


@pytest.mark.parametrize("save", ["out.mkv", "out", "out.jpg", "out.mp4.txt"])
def test_a_video_is_saved_as_video(video: Path, save: str) -> None:
    with pytest.raises(ConfigError, match=save) as caught:
        plan(video, save)
    assert ".mp4" in caught.value.hint and ".avi" in caught.value.hint


def test_images_are_saved_as_images(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(folder / "a.jpg", "out.mp4")
    assert ".png" in caught.value.hint
    for save in ("out.mp4", "out.JPG"):
        with pytest.raises(ConfigError, match="folder"):
            plan(folder, save)
    assert plan(folder, "drawn.v2").save == Path("drawn.v2")


def test_no_source_is_overwritten(video: Path, folder: Path) -> None:
    for source, save, jsonl in (
        (video, str(video), None),
        (folder, str(folder), None),
        (video, "a.mp4", "./a.mp4"),
    ):
        with pytest.raises(ConfigError, match="different"):
            plan(source, save, jsonl)
    assert plan(folder, str(folder / "drawn")).save == folder / "drawn"


def test_paths_that_cannot_be_written(video: Path, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "folder.mp4").mkdir()
    (tmp_path / "file").touch()
    for save, jsonl in (
        ("folder.mp4", None),
        ("file/out.mp4", None),
        (None, "folder.mp4"),
        (None, "file/x/out.jsonl"),
    ):
        with pytest.raises(FcosliteError, match=r"is a (file|folder)"):
            plan(video, save, jsonl)
    with pytest.raises(FcosliteError, match="file"):
        plan(folder, "file")
    assert plan(video, "new/folders/out.mp4").save == Path("new/folders/out.mp4")
    assert not (tmp_path / "new").exists()  # planning writes nothing


def test_a_full_disk(video: Path, small_disk: SmallDisk) -> None:
    for save, jsonl in (("out.mp4", None), ("new/out.avi", None), (None, "out.jsonl")):
        with pytest.raises(FcosliteError, match="is full"):
            plan(video, save and str(small_disk.path / save), jsonl and str(small_disk.path / jsonl))
    assert list(small_disk.path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_somebody_else(video: Path, tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0o500)
    with pytest.raises(FcosliteError, match="no permission"):
        plan(video, "locked/out.mp4")


def test_nothing_is_overwritten_unasked(video: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("a.mp4", "a.jsonl", "a.jpg", "drawn/a.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "empty").mkdir()
    wanted = ((video, "a.mp4", None), (video, None, "a.jsonl"), (folder / "a.jpg", "a.jpg", None))
    for source, save, jsonl in (*wanted, (folder, "drawn", None)):
        with pytest.raises(FcosliteError, match="is there already") as caught:
            plan(source, save, jsonl)
        assert "--overwrite" in caught.value.hint
        assert plan(source, save, jsonl, overwrite=True).save == (Path(save) if save else None)
    assert plan(folder, "empty").save == Path("empty")
    assert (tmp_path / "a.mp4").read_bytes() == b"mine"


def test_lines_go_to_stdout_a_pipe_and_a_device(video: Path, tmp_path: Path) -> None:
    for jsonl in ("-", "/dev/null", "/dev/stdout") if os.name == "posix" else ("-",):
        assert plan(video, jsonl=jsonl).jsonl == Path(jsonl)
