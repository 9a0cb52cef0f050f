import json
from pathlib import Path

import onnx
import pytest
import yaml

from fcoslite.cli.app import run


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_that_detects(slim_weights: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["export", "--weights", str(slim_weights), "--size", "64", "--precision", "float16", "--nms"]
    assert run([*arguments, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["out"] == "slim-64-float16.onnx" and document["box_difference"] < 1
    assert len(onnx.load(document["out"]).graph.input) == 3
    assert run(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_only_an_export_is_replaced(slim_weights: Path, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "models").mkdir()
    (here / "models" / "best.npz").write_text("months of work")
    arguments = ["export", "--weights", str(slim_weights), "--format", "saved-model", "--out", "models"]
    for more in (["--overwrite"], ["--overwrite", "--dry-run"], []):
        assert run([*arguments, *more]) == 1
        assert "models is not empty" in capsys.readouterr().err
    assert (here / "models" / "best.npz").read_text() == "months of work"


def test_a_layout_comes_with_labels_and_what_to_paste(
    slim_weights: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "x-labels.txt").write_text("mine")
    arguments = ["export", "--weights", str(slim_weights), "--size", "64", "--layout", "yolo", "--out", "x.onnx"]
    assert run(arguments) == 1
    assert "x-labels.txt is there already" in " ".join(capsys.readouterr().err.split())
    assert run([*arguments, "--overwrite"]) == 0
    assert (here / "x-labels.txt").read_text() == "person\n"
    printed = capsys.readouterr().out
    text = printed[printed.index("For Frigate:") : printed.index("For Scrypted:")]
    document = yaml.safe_load(text.removeprefix("For Frigate:"))
    assert document["model"]["labelmap_path"].endswith("/x-labels.txt") and document["model"]["width"] == 64
    assert json.loads(printed.partition("For Scrypted:")[2])["files"] == ["x.onnx"]
    assert run(["export", "--weights", "lite0", "--layout", "ssd", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["out"], plan["format"]) == ("lite0-384-float32-ssd.tflite", "litert")


def test_the_weights_of_another_are_not_written_over(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "x.bin").write_bytes(b"another's")
    words = ["export", "--weights", "lite0", "--format", "openvino", "--out", "x.xml", "--dry-run"]
    assert run(words) == 1 and "x.bin is there already" in capsys.readouterr().err
    assert run([*words, "--overwrite"]) == 0


def test_dry_run_writes_nothing(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "--weights", "lite0", "--batch", "dynamic", "--dry-run", "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert (plan["out"], plan["batch"], plan["precision"]) == ("lite0-384-float32.onnx", None, "float32")
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["--precision", "int4"], 2, "int8"),
        (["--batch", "many"], 2, "dynamic"),
        (["--format", "tflite"], 2, "litert"),
        (["--format", "openvino", "--out", "x.onnx"], 2, ".xml"),
        (["--weights", "lite00"], 1, "lite00"),
        (["--weights", "LITE0"], 2, "exported already"),
        (["--size", "8"], 2, "--size"),
        (["--layout", "coco"], 2, "yolo"),
        (["--layout", "yolo", "--format", "litert"], 2, "onnx or openvino"),
        (["--layout", "yolo", "--batch", "dynamic"], 2, "--batch dynamic"),
        (["--layout", "ssd", "--out", "x.onnx"], 2, ".tflite"),
    ],
)
def test_errors_are_told(
    arguments: list[str], code: int, told: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from fcoslite.runs.find_weights import packaged_weights

    onnx = str(packaged_weights()["lite0"].with_suffix(".onnx"))
    assert run(["export", *(onnx if word == "LITE0" else word for word in arguments)]) == code
    printed = capsys.readouterr()
    assert "error:" in printed.err and "hint:" in printed.err
    assert told in " ".join(printed.err.split())
    assert list(here.iterdir()) == []
