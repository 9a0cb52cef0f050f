"""What is printed where, to readers that are there and to those that are not."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

WORK = """
import logging
from fcoslite.cli.console import Terminal, show_error
from fcoslite.errors import FcosliteError
terminal = Terminal()
for _ in range(20):
    logging.getLogger("fcoslite").info("a message of some length, so that no buffer holds them all")
with terminal.progress("Working", 2, "images") as advance:
    advance()
    logging.getLogger("fcoslite").info("a message above the bar")
show_error(FcosliteError("a message", "a hint"))
terminal.result({"work": "done"})
"""


def work(stderr: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", WORK], stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60)


def test_messages_and_results_do_not_mix() -> None:
    done = work(subprocess.PIPE)
    assert done.stdout.split() == ["work", "done"]
    assert done.stderr.count("a message of some length") == 20
    assert "error: a message\nhint: a hint\n" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_work_goes_on_where_messages_cannot_be_written() -> None:
    with Path("/dev/full").open("wb") as full:
        done = work(full.fileno())
    assert (done.returncode, done.stdout.split()) == (0, ["work", "done"])


def test_work_goes_on_when_nobody_reads_its_messages_any_more() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.PIPE) as reader:
        reader.wait()
        assert reader.stdin is not None
        done = work(reader.stdin.fileno())
    assert (done.returncode, done.stdout.split()) == (0, ["work", "done"])


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_messages_stand_above_the_bar_of_a_terminal_that_may_go_away() -> None:
    import pty

    keep, terminal = pty.openpty()
    done = work(terminal)
    os.close(terminal)
    shown = os.read(keep, 100_000).decode()
    assert (done.returncode, done.stdout.split()) == (0, ["work", "done"])
    assert "Working" in shown and "error: " in shown
    gone, terminal = pty.openpty()
    os.close(gone)
    done = work(terminal)
    os.close(terminal)
    assert (done.returncode, done.stdout.split()) == (0, ["work", "done"])


LONG_WORK = """
import sys, time
import fcoslite.progress
from fcoslite.cli.console import Terminal
fcoslite.progress._SAY_EVERY = 0.4  # seconds
terminal = Terminal(quiet="quiet" in sys.argv)
with terminal.progress("short", 1, "images") as advance:
    advance()
with terminal.progress("long", 12, "images") as advance:
    for number in range(12):
        time.sleep(0.1)
        advance(note=f"loss {number}")
terminal.result({"work": "done"})
"""


def long_work(*arguments: str, stderr: int = subprocess.PIPE, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LONG_WORK, *arguments]
    variables = os.environ | environment
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=stderr, text=True, timeout=60, env=variables)


@pytest.mark.parametrize("variable", ["", "FORCE_COLOR", "TTY_COMPATIBLE"])  # what CIs set
def test_long_work_says_lines_where_there_is_no_terminal(variable: str) -> None:
    done = long_work(**({variable: "1"} if variable else {}))
    lines = re.sub(r"\x1b\[[\d;]*m", "", done.stderr).splitlines()
    assert lines and all(line.startswith("long: ") for line in lines)
    pattern = r"long: \d+ of 12 images, \d+%, \d+\.\d images/(s|min), 0:\d\d:\d\d left; loss \d+"
    assert re.fullmatch(pattern, lines[-1]), lines
    assert "done" in done.stdout


def test_quiet_work_says_none() -> None:
    assert long_work("quiet").stderr == ""


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_a_terminal_has_a_bar_or_if_it_cannot_move_lines(term: str) -> None:
    import pty

    keep, terminal = pty.openpty()
    long_work(stderr=terminal, TERM=term)
    os.close(terminal)
    shown = os.read(keep, 100_000).decode()
    os.close(keep)
    assert ("\x1b[" in shown) == (term == "xterm")
    assert (" of 12 images" in shown) == (term == "dumb")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a shell")
def test_work_goes_on_without_a_standard_error() -> None:
    done = subprocess.run(["sh", "-c", '"$0" -c "$1" 2>&-', sys.executable, WORK], stdout=subprocess.PIPE, text=True)
    assert (done.returncode, done.stdout.split()) == (0, ["work", "done"])
