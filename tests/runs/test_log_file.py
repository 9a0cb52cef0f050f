"""A log file on a disk that fills up."""

import logging
from pathlib import Path

import pytest

from fcoslite.runs.run import LogFile
from tests.disks import SmallDisk


def logger_to(path: Path) -> tuple[logging.Logger, LogFile]:
    logger, handler = logging.Logger("test"), LogFile(path)
    logger.addHandler(handler)
    return logger, handler


def test_messages_are_appended_with_time_and_level(tmp_path: Path) -> None:
    for text in ("first", "zweite, größer"):
        logger, handler = logger_to(tmp_path / "run.log")
        logger.warning(text)
        handler.close()
    lines = (tmp_path / "run.log").read_text("utf-8").splitlines()
    assert [line.split(" ", 2)[2] for line in lines] == ["WARNING first", "WARNING zweite, größer"]


def test_a_full_disk_costs_messages_and_nothing_else(small_disk: SmallDisk, capfd: pytest.CaptureFixture[str]) -> None:
    path = small_disk.path / "run.log"
    logger, handler = logger_to(path)
    logger.info("before")
    ballast = small_disk.path / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for _ in range(100):
        logger.info("x" * 200)
    assert capfd.readouterr().err == ""
    ballast.unlink()
    logger.info("after")
    handler.close()
    lines = path.read_text("utf-8").splitlines()
    assert lines[0].endswith("before") and lines[-1].endswith("after")


def test_the_end_of_a_log_on_a_full_disk_is_no_error() -> None:
    logger, handler = logger_to(Path("/dev/full"))
    logger.info("lost")
    handler.close()
