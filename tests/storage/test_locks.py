"""Locks between real processes."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from threading import Timer

import pytest

import fcoslite.storage.locks as locks_module
from fcoslite.errors import BusyError
from fcoslite.storage.locks import is_locked, locked

HOLD = (
    "import sys; from pathlib import Path; from fcoslite.storage.locks import locked\n"
    "with locked(Path(sys.argv[1]), 'it'):\n"
    "    print('held', flush=True); sys.stdin.readline()\n"
)


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    path = tmp_path / ".records.lock"
    with hold(path) as process:
        refused = pytest.raises(BusyError, match=rf"records is being written by process {process.pid} on \S+, since")
        with refused, locked(path, "records"):
            raise AssertionError("entered")
        process.communicate("\n")
    with locked(path, "records"):
        assert f"process {os.getpid()} " in path.read_text("utf-8")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with hold(path) as process:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert path.is_file()  # what it leaves stops nobody
    with locked(path, "it"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with locked(path, "it"), pytest.raises(BusyError, match="by process"), locked(path, "it"):
        pass
    assert not path.exists()
    with locked(path, "it"):
        pass


def test_a_lock_deleted_by_its_holder_between_open_and_lock_is_not_taken_for_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / ".lock"
    original = locks_module.try_lock
    deleted = []

    def delete_first(descriptor: int) -> None:
        if not deleted:  # as the former holder does when it ends
            path.unlink()
            deleted.append(descriptor)
        original(descriptor)

    monkeypatch.setattr(locks_module, "try_lock", delete_first)
    with locked(path, "it"):
        assert deleted and path.is_file()
        with pytest.raises(BusyError), locked(path, "it"):
            pass


def test_looking_at_a_lock_tells_whether_it_is_held_and_leaves_it_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    assert not is_locked(path) and not path.exists()
    path.write_text("left by a crash")
    assert not is_locked(path) and path.read_text() == "left by a crash"
    with hold(path) as process:
        assert is_locked(path)
        process.communicate("\n")
    assert not is_locked(path)


def test_who_looks_at_a_lock_keeps_nobody_from_taking_it(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    path.touch()
    descriptor = os.open(path, os.O_RDWR)
    locks_module.try_lock(descriptor)  # as is_locked does, for a moment
    Timer(0.05, os.close, [descriptor]).start()
    with locked(path, "it"):
        assert is_locked(path)


def test_a_file_system_without_locks_gives_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks_module, "try_lock", refuse)
    with locked(tmp_path / ".lock", "it"):
        pass
    assert "it cannot be locked" in caplog.text
