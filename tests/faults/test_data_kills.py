"""`extract` and `build-records`, killed at random moments, end with the same bytes as if left alone."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from fcoslite.data.extract.extract import extract
from fcoslite.data.records.build import build_records
from tests.faults.processes import kill_and_repeat, kill_at, report, run_undisturbed

KILLS = 20

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")


def enlarged(demo_data: Path, folder: Path, copies: int) -> Path:
    """A larger data set: the 32 photographs again and again, under other names."""
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    shutil.copytree(demo_data / "images", folder / "images")
    images, annotations = [], []
    for copy in range(copies):
        for image in document["images"]:
            name = f"{copy:03d}-{image['file_name']}"
            (folder / "images" / name).symlink_to(image["file_name"])
            images.append(image | {"id": image["id"] + copy * 10**9, "file_name": name})
        annotations += [
            item | {"id": item["id"] + copy * 10**9, "image_id": item["image_id"] + copy * 10**9}
            for item in document["annotations"]
        ]
    (folder / "annotations.json").write_text(json.dumps(document | {"images": images, "annotations": annotations}))
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def extract_command(data: Path) -> list[str]:
    return [
        *("extract", "--annotations", str(data / "annotations.json"), "--images", str(data / "images")),
        *("--classes", "person,chair", "--negatives", "1", "--yolo-labels", "--out", "out"),
    ]


def build_command(data: Path) -> list[str]:
    return ["build-records", "--data", str(data), "--size", "64", "--out", "out"]


COMMANDS = {"extract": extract_command, "build-records": build_command}


@pytest.mark.faults
@pytest.mark.parametrize("verb", COMMANDS)
def test_many_kills(demo_data: Path, tmp_path: Path, verb: str) -> None:
    data = enlarged(demo_data, tmp_path / "data", copies=16)
    folder = tmp_path / "work"
    folder.mkdir()
    arguments = COMMANDS[verb](data)
    undisturbed = run_undisturbed(arguments, folder, lock=".out.lock")
    expected = files(folder / "out")
    shutil.rmtree(folder / "out")
    results = []

    def finished() -> None:
        assert files(folder / "out") == expected
        assert {path.name for path in folder.iterdir()} == {"out"}
        shutil.rmtree(folder / "out")
        results.append(verb)

    kill_and_repeat(lambda: arguments, folder, KILLS, undisturbed, finished, lock=".out.lock")
    report(
        f"SIGKILL during `{verb}`",
        KILLS,
        "nothing",
        f"the same command went on; {len(results)} outputs, each byte-identical to an undisturbed one",
    )


def test_a_killed_extract_goes_on(demo_data: Path, tmp_path: Path) -> None:
    data = enlarged(demo_data, tmp_path / "data", copies=10)
    assert kill_at(extract_command(data), tmp_path, 0.0, lock=".out.lock")
    assert not (tmp_path / "out").exists()
    options = {"classes": ["person", "chair"], "negatives": 1.0, "yolo_labels": True}
    for out in ("out", "undisturbed"):
        extract(data / "annotations.json", data / "images", tmp_path / out, **options)
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "undisturbed"}


def test_a_killed_build_goes_on(demo_data: Path, tmp_path: Path) -> None:
    data = enlarged(demo_data, tmp_path / "data", copies=10)
    assert kill_at(build_command(data), tmp_path, 0.0, lock=".out.lock")
    assert not (tmp_path / "out").exists()
    for out in ("out", "undisturbed"):
        build_records(data, tmp_path / out, image_size=64)
    assert files(tmp_path / "out") == files(tmp_path / "undisturbed")
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out", "undisturbed"}
