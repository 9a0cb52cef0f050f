import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fcoslite.config.settings import Settings
from fcoslite.errors import ConfigError, RunError
from fcoslite.runs.find_weights import config_of, find_weights, packaged_weights
from fcoslite.runs.run import LogFile, list_runs
from tests.disks import SmallDisk
from tests.made_runs import make_run as _run


def test_runs_are_numbered_and_never_overwritten(tmp_path):
    names = [_run(tmp_path).name, _run(tmp_path).name, _run(tmp_path, verb="finetune").name]
    assert names == ["train-mission-001", "train-mission-002", "finetune-mission-001"]
    assert [run.name for run in list_runs(tmp_path)] == names
    assert _run(tmp_path).settings() == Settings()


def test_runs_that_begin_together_get_names_of_their_own(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        names = set(pool.map(lambda _: _run(tmp_path, weights=False).name, range(24)))
    assert names == {f"train-mission-{number:03d}" for number in range(1, 25)}
    assert {path.name for path in tmp_path.iterdir()} == names


def test_a_run_that_cannot_be_made_leaves_no_half_of_it(tmp_path):
    with pytest.raises(TypeError):
        _run(tmp_path, **{"chunk": {1: 2, "x": 3, (4,): 5}})  # JSON takes no such key
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".0123").mkdir()  # by a kill in between
    (tmp_path / ".0123" / "run.json").write_text("{}")
    assert list_runs(tmp_path) == []


def test_metrics_survive_a_torn_line_and_are_cut_on_resume(tmp_path):
    run = _run(tmp_path)
    for step in (10, 20, 30):
        run.append_metrics({"epoch": step // 10, "step": step, "loss": 1 / step})
    with run.metrics_file.open("a") as file:
        file.write('{"epoch": 4, "st')
    assert [line["step"] for line in run.read_metrics()] == [10, 20, 30]
    run.truncate_metrics(2)
    run.append_metrics({"epoch": 3, "step": 30})
    assert [json.loads(line)["step"] for line in run.metrics_file.read_text().splitlines()] == [10, 20, 30]
    assert not (run.path / "metrics.jsonl.damaged").exists()


def test_metrics_are_cut_by_epoch_for_the_batch_may_have_been_halved(tmp_path):
    run = _run(tmp_path)
    for epoch, step in ((1, 5), (2, 10), (3, 30), (4, 40)):
        run.append_metrics({"epoch": epoch, "step": step})
    run.truncate_metrics(3)
    assert [line["epoch"] for line in run.read_metrics()] == [1, 2, 3]


def test_damaged_metrics_are_put_aside_with_a_warning(tmp_path, caplog):
    run = _run(tmp_path)
    lines = [b'{"epoch": 1, "step": 5}', b'{"epoch": 2, "s\xff', b"\x00\x00", b"[1]", b"", b'{"epoch": 4, "step": 20}']
    run.metrics_file.write_bytes(b"\n".join([*lines, b'{"epoch": 5, "st']))
    assert [line["epoch"] for line in run.read_metrics()] == [1, 4]
    assert not caplog.records
    run.truncate_metrics(4)
    assert "metrics.jsonl has damaged lines, 3" in caplog.text
    assert [line["epoch"] for line in run.read_metrics()] == [1, 4]
    aside = run.path / "metrics.jsonl.damaged"
    assert aside.read_bytes().splitlines() == lines[1:4]
    with run.metrics_file.open("ab") as file:
        file.write(b"more\n")
    run.truncate_metrics(4)
    run.truncate_metrics(4)
    assert aside.read_bytes().splitlines() == [*lines[1:4], b"more"]


def _cuts() -> list[str]:
    """config.yaml, cut at each of its lines."""
    lines = Settings().to_yaml().splitlines(keepends=True)
    return ["".join(lines[:count]) for count in range(len(lines))]


def test_settings_that_were_cut_are_not_taken_for_defaults(tmp_path):
    run = _run(tmp_path)
    for text in _cuts():
        (run.path / "config.yaml").write_text(text)
        with pytest.raises(ConfigError):
            run.settings()
    (run.path / "config.yaml").write_text(_cuts()[-1])
    with pytest.raises(ConfigError, match="cut short"):
        config_of(run.best_weights)
    assert find_weights(None, tmp_path) == packaged_weights()["lite0"]


def test_settings_of_an_older_version_lack_some_and_are_read(tmp_path):
    run = _run(tmp_path)
    lines = Settings().to_yaml().splitlines(keepends=True)
    older = "".join(line for line in lines if not line.startswith(("checkpoint_minutes", "  mosaic", "  ema")))
    assert len(older.splitlines()) == len(lines) - 5
    (run.path / "config.yaml").write_text(older)
    assert run.settings() == Settings()


def test_a_damaged_run_says_so(tmp_path):
    run = _run(tmp_path)
    (run.path / "run.json").write_text("{")
    with pytest.raises(RunError, match="is not a run"):
        run.facts()


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
