"""Full disks, damaged records and two processes at once, on the data commands, many times over."""

import json
import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from fcoslite.cli.app import run
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import load_manifest
from tests.disks import SmallDisk
from tests.faults.processes import report, start
from tests.faults.test_data_kills import build_command, extract_command, files

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("verb", ["extract", "build-records"])
def test_full_disks(
    demo_data: Path,
    tmp_path: Path,
    small_disk: SmallDisk,
    verb: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    command = {"extract": extract_command, "build-records": build_command}[verb](demo_data)
    assert run([*command[:-1], str(tmp_path / "whole")]) == 0
    expected = files(tmp_path / "whole")
    written = sum(map(len, expected.values()))
    out = small_disk.path / "out"
    arguments = [*command[:-1], str(out)]
    # as if there had been room at the start
    monkeypatch.setattr("fcoslite.storage.space.free_bytes", lambda out: 10**9)
    rooms = [round(written * share) for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9)]
    for room in rooms:
        small_disk.resize(room)
        assert run(arguments) == 1
        error = capsys.readouterr().err
        assert "No space left on device" in error and "run the same command again" in error
        assert not out.exists()
    small_disk.resize(2 * written + 2**20)
    assert run(arguments) == 0
    assert files(out) == expected
    ended = "exit 1; after room was made the same command went on, byte-identical"
    report(f"disk full during `{verb}`", len(rooms), "nothing", ended)


def test_damaged_records(demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = tmp_path / "whole"
    build_records(demo_data, whole, image_size=64, records_per_shard=6)
    shards = load_manifest(whole).shards
    chance = random.Random(0)
    injected: Counter[str] = Counter()
    for number in range(40):
        folder = shutil.copytree(whole, tmp_path / str(number))
        shard = chance.choice(shards)
        path = folder / shard.name
        kind = chance.choice(["flipped bit", "truncated shard", "missing shard", "shard of another place"])
        if kind == "flipped bit":
            content = bytearray(path.read_bytes())
            content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
            path.write_bytes(content)
        elif kind == "truncated shard":
            path.write_bytes(path.read_bytes()[: chance.randrange(shard.size)])
        elif kind == "missing shard":
            path.unlink()
        else:
            shutil.copy(whole / chance.choice([other.name for other in shards if other != shard]), path)
        assert run(["records", "verify", str(folder), "--deep", "--json"]) == 1
        document = json.loads(capsys.readouterr().out)
        assert {fault["shard"] for fault in document["faults"]} == {shard.name}, kind
        assert 1 <= document["bad_records"] <= shard.count
        injected[kind] += 1
        shutil.rmtree(folder)
    for kind, times in injected.items():
        report(f"records: {kind}", times, "the records hit, each named", "`records verify --deep`: exit 1")


def test_two_at_once(demo_data: Path, tmp_path: Path) -> None:
    ended: Counter[str] = Counter()
    for number in range(10):
        folder = tmp_path / str(number)
        folder.mkdir()
        pair = [start(extract_command(demo_data), folder) for _ in range(2)]
        for process in pair:
            output, _ = process.communicate()
            if process.returncode == 0:
                ended["done"] += 1
            else:
                assert process.returncode == 1
                assert "is being written by process" in output or "exists already" in output, output
                ended["refused"] += 1
        assert {path.name for path in folder.iterdir()} == {"out"}
    assert ended["done"] >= 10
    refused = f"of 20 processes {ended['refused']} were refused, exit 1; the others made it, or found it made"
    report("two `extract` into one folder", 10, "nothing", refused)
