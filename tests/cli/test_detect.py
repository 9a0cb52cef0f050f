"""The command on real photographs, with the packaged weights."""

import io
import json
import sys
from pathlib import Path

import cv2
import pytest

from fcoslite.cli.app import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def photographs(demo_data: Path) -> list[str]:
    return [str(demo_data / "images" / name) for name in ("000000000165.jpg", "000000000086.jpg")]


def test_a_table_is_printed_where_no_place_is_named(
    photographs: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["detect", *photographs]) == 0
    printed = capsys.readouterr()
    assert "000000000165.jpg" in printed.out and "person" in printed.out
    assert "2 images" in printed.err
    assert list(here.iterdir()) == []


def test_files_and_the_summary_as_json(photographs: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["detect", *photographs, "--save", "drawn", "--coco", "found.json", "--score", "0.3", "--json"]
    assert run(arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["images"] == 2 and document["by_class"]["person"] == document["detections"] >= 2
    assert document["unreadable"] == [] and "ONNX" in document["device"]
    assert len(list((here / "drawn").iterdir())) == 2
    assert len(json.loads((here / "found.json").read_text())["annotations"]) == document["detections"]
    assert run(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert run([*arguments, "--overwrite"]) == 0


def test_a_source_is_never_written_over(photographs: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = Path(photographs[0]).read_bytes()
    Path("a.jpg").write_bytes(content)
    for place in (["--save", "."], ["--csv", "a.jpg"], ["--save", "../" + here.name]):
        assert run(["detect", "a.jpg", "--overwrite", *place]) == 1
        assert "written over" in capsys.readouterr().err
    assert Path("a.jpg").read_bytes() == content


def test_paths_from_stdin_and_lines_to_stdout(
    photographs: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("\n".join(photographs)))
    assert run(["detect", "-", "--jsonl", "-"]) == 0
    printed = capsys.readouterr()
    assert [json.loads(line)["name"] for line in printed.out.splitlines()] == [Path(name).name for name in photographs]
    assert "2 images" in printed.err


def test_a_video_is_tracked(demo_data: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photograph = cv2.imread(str(demo_data / "images" / "000000000165.jpg"))
    writer = cv2.VideoWriter("pan.avi", cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (400, 500))
    for step in range(8):
        writer.write(photograph[30:530, 20 * step : 20 * step + 400])
    writer.release()
    places = [
        "--csv",
        "found.csv",
        "--yolo",
        "labels",
        "--save",
        "drawn",
        "--coco",
        "found.json",
        "--jsonl",
        "found.jsonl",
    ]
    assert run(["detect", "pan.avi", "--count-line", "10,10,390,490", "--json", *places]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["frames"] == 8 and document["tracked"]["pan.avi"] >= 1
    assert set(document["crossings"]["pan.avi"]) == {"line", "to_left", "to_right"}
    assert Path("found.csv").read_text().splitlines()[-1].rsplit(",", 1)[1].isdecimal()
    assert len(Path("labels/pan-000007.txt").read_text().splitlines()[0].split()) == 7
    assert any("track_id" in each for each in json.loads(Path("found.json").read_text())["annotations"])
    assert "to_left" in Path("found.jsonl").read_text()
    assert Path("drawn/pan.mp4").stat().st_size > 10_000


def test_dry_run_writes_nothing(photographs: list[str], here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["detect", *photographs, "--save", "drawn", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["images"], plan["videos"], plan["save"], plan["classes"]) == (2, 0, "drawn", ["person"])
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere.jpg"], 1, "nowhere.jpg"),
        (["PHOTO", "--classes", "persn"], 2, "did you mean 'person'"),
        (["PHOTO", "--engine", "onix"], 2, "onix"),
        (["PHOTO", "--weights", "lite00"], 1, "lite00"),
        (["PHOTO", "--save", "x", "--crops", "x"], 2, "same place"),
        (["PHOTO", "--csv", "-", "--json"], 2, "stdout"),
        (["PHOTO", "--coco", "-"], 2, "--coco"),
        (["PHOTO", "--save", "taken.txt"], 1, "taken.txt is a file"),
        (["taken.txt"], 1, "nothing could be read"),
        (["PHOTO", "--every", "0"], 2, "--every"),
        (["PHOTO", "--count-line", "1,2,3"], 2, "X0,Y0,X1,Y1"),
        (["PHOTO", "--count-line", "1,2,1,2"], 2, "must differ"),
        ([], 2, "SOURCE"),
    ],
)
def test_errors_are_told(
    arguments: list[str], code: int, told: str, photographs: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "taken.txt").write_text("x")
    assert run(["detect", *(photographs[0] if word == "PHOTO" else word for word in arguments)]) == code
    printed = capsys.readouterr()
    assert "error:" in printed.err and "hint:" in printed.err
    assert told in " ".join(printed.err.split())
    assert [path.name for path in here.iterdir()] == ["taken.txt"]
