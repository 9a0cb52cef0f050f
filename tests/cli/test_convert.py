import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run
from tests.exports import EXPORTS


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    EXPORTS["roboflow-yolo"][0](tmp_path / "people")
    return tmp_path


def test_table_and_document(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["convert", "people", "--to", "voc", "--out", "voc", "--link", "copy"]) == 0
    out = capsys.readouterr().out
    assert "4: 2 train, 1 val, 1 test" in out and "written to" in out
    assert (workspace / "voc" / "ImageSets" / "Main" / "val.txt").is_file()
    assert run(["convert", "voc", "--to", "coco", "--out", "coco", "--split", "valid", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["images"], document["boxes"], document["form"], document["link"]) == (1, 1, "coco", "none")
    assert (workspace / "coco" / "annotations.json").is_file()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["absent", "--to", "coco"], 1, "no data set at absent"),
        (["people", "--to", "kitti"], 2, "--to"),
        (["people", "--to", "coco", "--split", "tset"], 1, "did you mean 'test'?"),
        (["people", "--to", "coco", "--format", "voc"], 1, "has no XML file"),
        (["people", "--to", "coco", "--images", "people"], 2, "--images is not for a data set of format yolo"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(
    workspace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], code: int, message: str
) -> None:
    assert run(["convert", *arguments, "--out", "out"]) == code
    captured = capsys.readouterr()
    assert captured.out == "" and "error: " in captured.err and "hint: " in captured.err and message in captured.err
    assert [path.name for path in workspace.iterdir()] == ["people"]


def test_extract_takes_any_format_and_keeps_splits(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", "--data", "people", "--classes", "person,dog", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["boxes"] == 4
    document = json.loads((workspace / "data" / "person" / "annotations.json").read_text("utf-8"))
    assert [image["split"] for image in document["images"]] == ["train", "train", "val"]  # one has no box
    assert all((workspace / "data/person/images" / image["file_name"]).is_file() for image in document["images"])
    assert run(["extract", "--data", "people", "--split", "train", "--out", "train", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 2
    assert (
        run(["extract", "--data", "data/person", "--split", "val", "--classes", "dog", "--out", "val", "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["images"] == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no data set is named"),
        (["--annotations", "a.json"], "--annotations and --images go together"),
        (["--data", "people", "--annotations", "a.json"], "exclude each other"),
    ],
)
def test_a_data_set_is_named_once(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["extract", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_eval_takes_a_split(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["eval", "--weights", "lite0", "--engine", "onnx", "--json"]
    # a class that the detector knows and the data set does not is an error; dogs are not scored
    assert run([*arguments, "--data", "people", "--split", "train"]) == 0
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["images"], document["boxes"]) == (2, 3)
    assert run([*arguments, "--data", "people", "--dry-run"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["images"] == 4
    assert "all images are scored, of train, val, test; --split val takes a part" in captured.err
    assert run([*arguments, "--split", "val"]) == 2
    assert run([*arguments, "--data", "people", "--records", "records"]) == 2
