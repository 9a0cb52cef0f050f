"""Output folders under kills, full and read-only disks, and other processes."""

import itertools
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from fcoslite.errors import BusyError, ConfigError, DataError
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_free_space
from fcoslite.storage.staged_folder import (
    MANIFEST,
    REVIEWS,
    check_output,
    is_finished,
    job_digest,
    no_replacement,
    shared_folder,
    staged_bytes,
    staged_folder,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write(out: Path, job: str = "a", overwrite: bool = False, text: str = "new") -> None:
    """A job of two files and a manifest, which does nothing twice."""
    with staged_folder(out, job, overwrite) as folder:
        for name in ("one", "two"):
            if not (folder / name).exists():
                (folder / name).write_text(text)
        (folder / MANIFEST).write_text(json.dumps({"kind": "k", "job": job}))


def content(out: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in out.iterdir()}


def test_the_folder_appears_whole_with_its_parents(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    write(out)
    assert names(tmp_path) == ["a"] and names(out.parent) == ["b"]
    assert content(out) == {"one": "new", "two": "new", MANIFEST: '{"kind": "k", "job": "a"}'}


def test_bad_input_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no image"), staged_folder(tmp_path / "a" / "out", "a", False) as folder:
        (folder / "one").write_text("x")
        raise DataError("no image")
    assert names(tmp_path) == []


def test_an_interrupt_before_anything_is_done_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(tmp_path / "a" / "out", "a", False):
        raise KeyboardInterrupt
    assert names(tmp_path) == []


def stop(out: Path, job: str = "a", overwrite: bool = False) -> None:
    with pytest.raises(KeyboardInterrupt), staged_folder(out, job, overwrite) as folder:
        (folder / "one").write_text("old")
        raise KeyboardInterrupt


def test_the_same_job_goes_on_and_another_starts_afresh(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    caplog.set_level("INFO")
    stop(out)
    assert names(tmp_path) == [".out.partial"] and "goes on from here" in caplog.text
    write(out)
    assert content(out)["one"] == "old" and "going on" in caplog.text
    shutil.rmtree(out)
    stop(out)
    write(out, job="b")
    assert content(out)["one"] == "new" and names(tmp_path) == ["out"]


def test_an_interrupt_leaves_the_former_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    stop(out, "b", overwrite=True)
    assert content(out)["one"] == "new"
    write(out, "b", overwrite=True)
    assert content(out)["one"] == "old" and names(tmp_path) == ["out"]


def test_the_answers_of_a_reviewer_survive_a_replacement(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    (out / REVIEWS).write_text("answers\n")
    write(out, "b", overwrite=True, text="newer")
    assert content(out) == {"one": "newer", "two": "newer", MANIFEST: '{"kind": "k", "job": "b"}', REVIEWS: "answers\n"}


def test_a_folder_that_is_looked_at_is_not_replaced(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write(out)
    with no_replacement(out), pytest.raises(BusyError, match="out is being written by process"):
        write(out, "b", overwrite=True)
    with staged_folder(out, "b", True) as folder:
        (folder / MANIFEST).write_text("{}")
        with pytest.raises(BusyError, match="out is being written"), no_replacement(out):
            pass


def test_what_appears_while_the_input_is_read_is_not_replaced(tmp_path: Path) -> None:
    write(tmp_path / "out")
    with pytest.raises(DataError, match="exists already"):
        write(tmp_path / "out", job="b")
    assert names(tmp_path) == ["out"]


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    with locked(tmp_path / ".out.lock", "out"), pytest.raises(BusyError, match="being written by process"):
        write(tmp_path / "out")
    with staged_folder(tmp_path / "out", "a", False) as folder:
        with pytest.raises(BusyError):
            write(tmp_path / "out")
        (folder / MANIFEST).write_text("{}")
    assert names(tmp_path) == ["out"]


def test_a_failed_write_says_so_and_keeps_what_is_done(tmp_path: Path) -> None:
    refused = pytest.raises(DataError, match=r"out is not finished: .*No space left")
    with refused as caught, staged_folder(tmp_path / "out", "a", False) as folder:
        (folder / "one").write_text("x")
        raise OSError(28, "No space left on device")
    assert "run the same command again" in caught.value.hint
    assert names(tmp_path / ".out.partial") == [".job.json", "one"]


def test_a_finished_job_is_known_and_another_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert not is_finished(out, "a")
    out.mkdir()
    assert not is_finished(out, "a")
    write(out)
    assert is_finished(out, "a")
    with pytest.raises(DataError, match="exists already") as caught:
        is_finished(out, "b")
    assert "--overwrite" in caught.value.hint
    assert job_digest({"a": 1, "b": 2}) == job_digest({"b": 2, "a": 1}) != job_digest({"a": 2, "b": 1})


def test_outputs_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(DataError, match="is a file"):
            check_output(out, "k", False, ())
    with pytest.raises(DataError, match="mount point"):
        check_output(Path("/"), "k", True, ())
    out = tmp_path / "out"
    write(out)
    check_output(out, "k", True, (tmp_path,))
    with pytest.raises(ConfigError, match="its own input"):
        check_output(out, "k", True, (out / "one",))
    with pytest.raises(DataError, match="not empty"):
        check_output(out, "other", True, ())


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX permissions")
def test_a_folder_without_permission_is_told_before_the_work(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    tmp_path.chmod(0o755)
    user = os.geteuid()
    if user == 0:  # root may write everywhere: look through the eyes of somebody else
        os.seteuid(65_534)
    try:
        with pytest.raises(DataError, match="cannot be written to"):
            check_output(closed / "new" / "out", "k", False, ())
    finally:
        if user == 0:
            os.seteuid(user)


def test_what_a_stopped_run_has_left_takes_no_new_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 1000)
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"about 0\.0 MB will be written"):
        check_free_space(out, 1001, "", staged_bytes(out))
    stop(out)
    (tmp_path / ".out.partial" / "one").write_bytes(bytes(500))
    caplog.set_level("INFO")
    check_free_space(out, 1500, "", staged_bytes(out))
    assert "MB are free" in caplog.text


def test_of_a_share_its_own_files_take_no_new_space(tmp_path: Path) -> None:
    out = tmp_path / "out"
    stop(out)
    for name, size in (("one", 500), ("two", 300)):
        (tmp_path / ".out.partial" / name).write_bytes(bytes(size))
    assert staged_bytes(out, {"two", "three"}) == 300 and staged_bytes(out) > 800


def test_what_others_share_is_not_cleared_by_another_job(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "out"
    with shared_folder(out, "a") as folder:
        for _ in range(2):  # when it has only begun, too
            with pytest.raises(BusyError, match="another command has begun"):
                write(out, "b")
            assert folder.is_dir() and not caplog.text
            (folder / "one").write_text("hours of work")
    assert content(folder)["one"] == "hours of work"
    write(out, "a")  # which puts them together
    assert content(out)["one"] == "hours of work"


def test_shares_that_begin_at_once_are_of_one_job(tmp_path: Path) -> None:
    # what another one's `write_json` has not renamed yet
    (tmp_path / ".out.partial").mkdir()
    (tmp_path / ".out.partial" / ".fcoslite-0123.partial").write_text("{")
    with shared_folder(tmp_path / "out", "a") as folder:
        assert folder == tmp_path / ".out.partial"
    (folder / ".job.json").unlink()
    (folder / "strange").touch()
    with pytest.raises(BusyError, match="another command has begun"), shared_folder(tmp_path / "out", "a"):
        pass


# every change to the file system is a place to be killed at: the N-th one is made the last
KILL_AT_CHANGE = textwrap.dedent(
    """
    import os, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from test_staged_folder import write

    left = int(sys.argv[3])
    changes = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate"}

    def kill(event, arguments):
        global left
        if event in changes or event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT:
            left -= 1
            if left < 0:
                os.kill(os.getpid(), 9)

    sys.addaudithook(kill)
    write(Path(sys.argv[2]), "b", overwrite=True)
    """
)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_killed_at_every_change_to_the_file_system(tmp_path: Path) -> None:
    seen = set()
    for changes in itertools.count():
        folder = tmp_path / str(changes)
        folder.mkdir()
        out = folder / "out"
        write(out, text="former")
        arguments = [str(Path(__file__).parent), str(out), str(changes)]
        killed = subprocess.run([sys.executable, "-c", KILL_AT_CHANGE, *arguments], check=False).returncode
        seen |= set(names(folder))
        if out.exists():
            assert content(out)["one"] == content(out)["two"]  # the former or the new one, never a mixture
        write(out, "b", overwrite=True)
        assert content(out) == {"one": "new", "two": "new", MANIFEST: '{"kind": "k", "job": "b"}'}
        assert names(folder) == ["out"]
        if killed == 0:
            break
        assert killed == -9
    assert changes > 10 and seen == {"out", ".out.lock", ".out.partial", ".out.former"}
