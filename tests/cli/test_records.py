"""`fcoslite records verify`, and the other commands on records that it finds damaged."""

import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import load_manifest


@pytest.fixture
def records(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Whole records in a workspace of their own."""
    monkeypatch.chdir(tmp_path)
    build_records(demo_data, tmp_path / "records", limit=12, image_size=64, records_per_shard=4)
    return tmp_path / "records"


def damage(records: Path) -> str:
    """Flip a bit in the last record of the second shard."""
    shard = records / load_manifest(records).shards[1].name
    content = bytearray(shard.read_bytes())
    content[-50] ^= 1
    shard.write_bytes(content)
    return shard.name


def test_whole_records(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--deep"], ["records", "--deep", "--quiet"]):
        assert run(["records", "verify", *arguments]) == 0
        assert "12, 0 of them bad" in capsys.readouterr().out


def test_the_shard_and_the_record_are_named(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = damage(records)
    assert run(["records", "verify"]) == 0  # names and sizes are right
    assert "--deep" in capsys.readouterr().out
    assert run(["records", "verify", "--deep"]) == 1
    captured = capsys.readouterr()
    assert f"{name}, record 3: " in captured.out
    assert "error: 1 of 12 records" in captured.err and "hint: " in captured.err
    assert run(["records", "verify", str(records), "--deep", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["shards"], document["records"], document["bad_records"]) == (3, 12, 1)
    assert [(fault["shard"], fault["first"], fault["last"]) for fault in document["faults"]] == [(name, 3, 3)]
    (records / name).unlink()
    assert run(["records", "verify"]) == 1
    assert f"{name} is missing" in capsys.readouterr().out


def test_no_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["records", "verify", str(tmp_path)]) == 1
    captured = capsys.readouterr()
    assert captured.out == "" and "no records at" in captured.err and "build-records" in captured.err


def test_every_flag_is_explained(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["records", "verify", "--help"]) == 0
    text = capsys.readouterr().out
    for flag in ("--deep", "--json", "--quiet", "--verbose", "--debug"):
        assert flag in text
    assert run(["records", "--help"]) == 0
    assert "verify" in capsys.readouterr().out


def test_train_and_eval_refuse_or_skip(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train = ["train", "--config", "smoke", "--set", "model.image_size=64", "--dry-run"]
    score = ["eval", "--weights", "lite0", "--set", "data.validation_records=0", "--dry-run"]
    for command in (train, score):  # the count is there if it was asked for, be it 0
        assert run([*command, "--json"]) == 0
        assert "skipped_records" not in json.loads(capsys.readouterr().out)
        assert run([*command, "--json", "--skip-bad-records"]) == 0
        assert json.loads(capsys.readouterr().out)["skipped_records"] == 0
    name = damage(records)
    assert run(train) == 1
    error = capsys.readouterr().err
    assert f"{name}, record 3" in error and "--skip-bad-records" in error
    assert run([*train, "--skip-bad-records", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["skipped_records"] == 1 and document["needed_disk_mb"] > 0
    assert run(score) == 1
    assert name in capsys.readouterr().err
    assert run([*score, "--skip-bad-records", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped_records"] == 1


def test_shares_are_built_and_merged(demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "out")
    build = ["build-records", "--data", str(demo_data), "--size", "64", "--out", out]
    assert run([*build, "--shard", "0/1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["shard"] == "0/1"
    assert run([*build, "--shard", "0/1"]) == 0
    assert f"fcoslite records merge {out}" in " ".join(capsys.readouterr().out.split())
    for shard, code, message in (("1/1", 2, "0/8, 1/8"), ("0/2", 2, "2 shares of 1 files")):
        assert run([*build, "--shard", shard]) == code
        assert message in " ".join(capsys.readouterr().err.split())
    assert run(["records", "merge", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 32
    assert run(["records", "merge", str(tmp_path / "none")]) == 1
    assert "build-records --shard" in capsys.readouterr().err
