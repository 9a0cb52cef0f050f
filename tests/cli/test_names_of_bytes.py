"""Commands on files whose names are not UTF-8, on real photographs, with the packaged weights."""

import io
import json
import os
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.cli.app import run
from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.sources.records import RecordSource

pytestmark = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there such names cannot be")

NAME = os.fsdecode(b"caf\xe9")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a name of bytes, and in it a folder of photographs, a.jpg and one with a name of bytes."""
    folder = tmp_path / NAME
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def photographs(demo_data: Path, here: Path) -> Path:
    (here / "in").mkdir()
    shutil.copy(demo_data / "images" / "000000000165.jpg", here / "in" / "a.jpg")
    shutil.copy(demo_data / "images" / "000000000165.jpg", here / "in" / f"{NAME}.jpg")
    return Path("in")


@pytest.fixture
def film(photographs: Path, tmp_path: Path, here: Path) -> str:
    pixels = np.frombuffer((photographs / "a.jpg").read_bytes(), np.uint8)
    photograph = cv2.resize(cv2.imdecode(pixels, cv2.IMREAD_COLOR), (320, 240))
    writer = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (320, 240))
    for _ in range(3):
        writer.write(photograph)
    writer.release()
    (tmp_path / "film.avi").rename(here / f"{NAME}.avi")
    return f"{NAME}.avi"


def names(lines: str) -> list[str]:
    return [json.loads(line)["name"] for line in lines.splitlines()]


def test_webcam(film: str, photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["webcam", "--no-window", "-w", "lite0", "--source"]
    assert run([*arguments, film, "--save", f"{NAME}.mp4", "--jsonl", f"{NAME}.jsonl"]) == 0
    assert names(Path(f"{NAME}.jsonl").read_text("utf-8")) == ["caf%E9.avi"] * 3
    assert Path(f"{NAME}.mp4").stat().st_size > 1000
    capsys.readouterr()
    assert run([*arguments, str(photographs), "--save", f"{NAME}-drawn", "--jsonl", "-"]) == 0
    assert names(capsys.readouterr().out) == ["a.jpg", "caf%E9.jpg"]
    assert sorted(os.listdir(f"{NAME}-drawn")) == ["a.jpg", f"{NAME}.jpg"]  # noqa: PTH208
    assert run([*arguments, f"{NAME}.mpg"]) == 1
    assert "no file or folder 'caf%E9.mpg'" in capsys.readouterr().err


def test_detect(
    film: str, photographs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    places = ["--jsonl", "a.jsonl", "--csv", "a.csv", "--coco", "a.json", "--save", f"{NAME}-s", "--crops", "c"]
    assert run(["detect", str(photographs), film, "-w", "lite0", *places, "--yolo", "y", "--track", "--json"]) == 0
    assert "caf%E9.avi" in json.loads(capsys.readouterr().out)["tracked"]
    assert len(set(names(Path("a.jsonl").read_text("utf-8")))) == 3
    assert "caf%E9.avi,2," in Path("a.csv").read_text("utf-8")
    assert "caf%E9-000002.jpg" in Path("a.json").read_text("utf-8")
    assert Path(f"{NAME}-s", f"{NAME}.mp4").is_file()
    assert run(["detect", str(photographs), "-w", "lite0"]) == 0
    assert "caf%E9.jpg" in capsys.readouterr().out
    listed = io.TextIOWrapper(io.BytesIO(b"in/caf\xe9.jpg\r\nin/a.jpg\n"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdin", listed)
    assert run(["detect", "-", "-w", "lite0", "--jsonl", "-"]) == 0
    assert names(capsys.readouterr().out) == ["caf%E9.jpg", "a.jpg"]


def test_label(film: str, photographs: Path) -> None:
    out = Path(f"{NAME}-out")
    arguments = ["label", str(photographs), film, "--every", "2", "--by", "lite0", "--out", str(out), "-q"]
    assert run(arguments) == 0 == run(arguments)
    dataset = read_coco(out / "annotations.json", out / "images")
    labelled = [image.file_name for image in dataset.images]
    assert labelled == ["a.jpg", "caf%E9.jpg", "caf%E9-000000.jpg", "caf%E9-000002.jpg"]
    assert all((out / "images" / name).is_file() for name in labelled)


def test_data(demo_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(demo_data, f"{NAME}-in")
    annotations = ["-a", f"{NAME}-in/annotations.json", "-i", f"{NAME}-in/images"]
    assert run(["extract", *annotations, "-o", f"{NAME}-out", "--limit", "3"]) == 0
    assert run(["build-records", "-d", f"{NAME}-out", "-o", f"{NAME}-rec", "--size", "384"]) == 0
    assert "caf%E9-rec" in capsys.readouterr().out
    assert run(["records", "verify", f"{NAME}-rec", "--deep"]) == 0
    source = RecordSource.open(Path(f"{NAME}-rec"), DataSettings(), ComputeSettings())
    assert next(iter(source.training_batches(2, 0, 0)))["images"].shape == (2, 384, 384, 3)
    folder = ["--annotations", f"{NAME}-out/annotations.json", "--images", f"{NAME}-out/images"]
    assert run(["eval", "-w", "lite0", *folder, "--out", f"{NAME}-eval2", "--json"]) == 0
    assert json.loads(Path(f"{NAME}-eval2/metrics.json").read_text("utf-8"))["out"] == "caf%E9-eval2"


def test_weights(photographs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import fcoslite

    shutil.copy(Path(fcoslite.__file__).parent / "weights" / "lite0.onnx", f"{NAME}.onnx")
    assert run(["detect", str(photographs / "a.jpg"), "-w", f"{NAME}.onnx", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weights"] == "caf%E9.onnx"
