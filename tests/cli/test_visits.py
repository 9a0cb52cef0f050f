"""`fcoslite eval --visits` on embedded photographs, arranged as frames of two cameras."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fcoslite.cli.app import run
from fcoslite.config.load import load_settings
from fcoslite.data.capture import date_text, recorded_at
from fcoslite.inference.about import about
from fcoslite.runs.find_weights import find_weights
from fcoslite.runs.run import Run
from tests.made_runs import make_run
from tests.reports.pages import Page

# lite0 is sure of nobody, of one of two, and of one
EMPTY, PERSON, OTHER = "000000006818.jpg", "000000000529.jpg", "000000000436.jpg"
STEP = 0.2  # seconds

Json = dict[str, Any]


@pytest.fixture
def frames(demo_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a data set: by camera, photographs one after the other, of which the people on some are labelled."""
    monkeypatch.chdir(tmp_path)
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    person = next(category for category in document["categories"] if category["name"] == "person")
    images = {image["file_name"]: image for image in document["images"]}

    def write(labelled: tuple[str, ...] = (PERSON,), step: float = STEP, **cameras: list[str]) -> Path:
        records: list[Json] = []
        annotations: list[Json] = []
        for camera, photographs in cameras.items():
            Path("data/images", camera).mkdir(parents=True)
            for number, name in enumerate(photographs):
                image, when = images[name], date_text(recorded_at(number * step))
                file_name = f"{camera}/{number:03d}.jpg"
                shutil.copy(demo_data / "images" / name, Path("data/images", file_name))
                records.append(image | {"id": len(records) + 1, "file_name": file_name})
                records[-1] |= {"camera": camera, "date_captured": when}
                for one in document["annotations"] if name in labelled else ():
                    if (one["image_id"], one["category_id"]) == (image["id"], person["id"]):
                        annotations.append(one | {"id": len(annotations) + 1, "image_id": len(records)})
        written = {"images": records, "annotations": annotations, "categories": [person]}
        Path("data/annotations.json").write_text(json.dumps(written))
        return Path("data")

    return write


def copy_of(weights: Path, path: Path) -> None:
    """Without the config; with the ONNX file, which would take a while to make."""
    for suffix in (".npz", ".onnx"):
        shutil.copy(weights.with_suffix(suffix), path.with_suffix(suffix))


def evaluated(capsys: pytest.CaptureFixture[str], *flags: str) -> Json:
    assert run(["eval", "--visits", "--data", "data", "--out", "out", "--json", *flags]) == 0
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict) and document == json.loads(Path("out/visits.json").read_text("utf-8"))
    return document


def at(document: Json, score: float) -> Json:
    [row] = [row for row in document["thresholds"] if row["score"] == score]
    assert isinstance(row, dict)
    return row


def test_who_comes_by_and_who_is_called_for(frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    # at the door somebody comes after 0.6 s and stays for 1.4 s; in the yard nobody is labelled
    frames(door=[EMPTY] * 3 + [PERSON] * 8, yard=[OTHER] * 7)
    document = evaluated(capsys, "--weights", "lite0", "--alarms-per-day", "0")
    assert (document["watched_seconds"], document["frames"], document["seconds_apart"]) == (3.2, 18, 0.2)
    assert [(one["camera"], one["stretches"], one["seconds"]) for one in document["cameras"]] == [
        ("door", 1, 2.0), ("yard", 1, 1.2),
    ]  # fmt: skip
    # two persons are labelled on that photograph; the second scores 0.38, and a track begins at 0.45
    assert document["visits"] == 2 and document["left_out"] == 0
    low = at(document, 0.35)
    assert (low["found"], low["missed"], low["seconds_to_first_box"]) == (1, 1, 0.0)
    assert (low["calls"], low["false_alarms"]) == (2, 1)
    assert low["false_alarms_per_day"] == pytest.approx(86_400 / 3.2)
    found = [row["found"] for row in document["thresholds"]]
    assert found == sorted(found, reverse=True) and found[-1] == 0
    # without any alarm a day: above the score of what is seen in the yard there is no visit left either
    assert document["chosen"]["score"] == document["at_score"] == 0.75
    assert (document["chosen"]["found"], document["chosen"]["false_alarms"], document["written"]) == (0, 0, None)
    assert [one["camera"] for one in document["missed"]] == ["door", "door"] and document["false_alarms"] == []
    assert any("too short to tell" in note for note in document["notes"])


def test_misses_and_alarms_have_pictures(frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    frames(door=[EMPTY] * 3 + [PERSON] * 8, yard=[OTHER] * 7)
    document = evaluated(capsys, "--weights", "lite0")
    assert document["chosen"] is None and document["at_score"] == document["score_now"] == 0.35
    [alarm], [miss] = document["false_alarms"], document["missed"]
    assert (alarm["camera"], alarm["began"], alarm["seconds"]) == ("yard", "1970-01-01T00:00:00.000Z", 1.2)
    assert (miss["camera"], miss["began"], miss["seconds"]) == ("door", "1970-01-01T00:00:00.600Z", 1.4)
    assert alarm["best_score"] > 0.7 and 0.35 < miss["best_score"] < 0.45
    page = Page(Path("out/visits.html"))
    page.check_self_contained()
    assert "1 of 2 visits found, 1 false alarm" in page.words
    missed, alarmed = page.pictures
    assert max(missed.shape) == max(alarmed.shape) == 320
    assert (missed[..., 2] > 200).any() and any(
        "yard, 00:00:00.0 of the recording, for 1.2 s" in one for one in page.captions
    )
    assert page.row("0.35 *")[:5] == ["1", "1", "0.0", "2", "1"]


def test_the_table_names_the_span(frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    frames(door=[EMPTY] * 3 + [PERSON] * 8)
    assert run(["eval", "--visits", "--data", "data", "--weights", "lite0", "--alarms-per-day", "50"]) == 0
    shown = capsys.readouterr()
    assert "2 visits in 2 s of door (11 frames, 0.2 s apart)" in shown.out and "false alarms in 2 s" in shown.out
    assert "now" in shown.out and "chosen" in shown.out
    assert "--score 0.3 keeps false alarms to 50 a day" in shown.err and "2 s are too short to tell" in shown.err
    assert "that takes 86.4 minutes without any" in shown.err and Path("eval-lite0/visits.html").is_file()


def test_what_is_to_be_asked_counts_neither_way(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    frames((PERSON, OTHER), door=[EMPTY] * 3 + [PERSON] * 8, yard=[OTHER] * 7)
    path = Path("data/annotations.json")
    told = json.loads(path.read_text())
    assert evaluated(capsys, "--weights", "lite0")["visits"] == 3
    for one in told["annotations"]:
        one["ask"] = one["image_id"] > 11  # the yard's
    path.write_text(json.dumps(told))
    document = evaluated(capsys, "--weights", "lite0")
    assert document["visits"] == 2 and at(document, 0.35)["calls"] == 2 and document["false_alarms"] == []


def test_the_threshold_is_written_beside_the_weights_and_into_a_run(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    frames(door=[PERSON] * 8)
    packaged = find_weights("lite0", Path("runs"))
    made = make_run(Path("runs"))
    made.write_settings(load_settings(packaged.with_suffix(".yaml")))
    for path in (made.best_weights, Path("mine.npz"), Path("other.npz")):
        copy_of(packaged, path)
    Path("other.yaml").write_text("name: other\nwebcam: {score: 0.9, iou: 0.4}\n")
    written: dict[str, float] = {}
    for weights, place in (
        (str(made.path), made.path / "config.yaml"),
        ("mine.npz", Path("mine.yaml")),
        ("other.npz", Path("other.yaml")),
    ):
        path = find_weights(weights, Path("runs"))
        before = about(path).settings
        document = evaluated(capsys, "--weights", weights, "--alarms-per-day", "5", "--write-score")
        assert Path(document["written"]) == place
        after = about(path).settings
        assert after.webcam.score == document["chosen"]["score"] <= before.webcam.score  # there is no alarm at any
        written[weights] = after.webcam.score
        webcam = before.webcam.model_copy(update={"score": after.webcam.score})
        assert after == before.model_copy(update={"webcam": webcam})
    assert Run(made.path).settings().webcam.score == written[str(made.path)]
    assert run(["detect", "data/images/door/000.jpg", "--weights", "mine.npz", "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["score"] == written["mine.npz"]
    assert Path("mine.yaml").read_text() == f"webcam:\n  score: {written['mine.npz']:g}\n"


def test_a_threshold_that_no_config_takes_is_refused_before_the_work(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    frames(door=[PERSON] * 8)
    packaged = find_weights("lite0", Path("runs"))
    shutil.copy(packaged.with_suffix(".onnx"), "mine.onnx")
    before = packaged.with_suffix(".yaml").read_bytes()
    for weights, told in (
        ("lite0", "give --score to detect and webcam; or copy lite0.* from"),
        ("mine.onnx", "export"),
    ):
        flags = ["eval", "--visits", "--data", "data", "--weights", weights, "--alarms-per-day", "5", "--write-score"]
        assert run(flags) == 2
        assert told in capsys.readouterr().err
    assert packaged.with_suffix(".yaml").read_bytes() == before and not Path("eval").exists()
    assert evaluated(capsys, "--weights", "mine.onnx")["visits"] == 2


def test_where_no_threshold_is_good_enough_none_is_written(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fcoslite.camera.evaluate_visits.SCORES", (0.1, 0.35))
    frames(door=[PERSON] * 8, yard=[OTHER] * 7)
    copy_of(find_weights("lite0", Path("runs")), Path("mine.npz"))
    flags = ["eval", "--visits", "--data", "data", "--weights", "mine.npz", "--alarms-per-day", "5", "--write-score"]
    assert run([*flags, "--set", "webcam.score=0.3"]) == 1
    shown = capsys.readouterr()
    assert "no threshold keeps false alarms to 5 a day: none is written" in shown.err and "hint: " in shown.err
    assert not Path("mine.yaml").exists() and Path("eval/visits.html").is_file()


@pytest.mark.parametrize(
    ("flags", "code", "told"),
    [
        (["--visits"], 2, "--visits needs frames of a camera"),
        (["--visits", "--records", "data", "--data", "data"], 2, "exclude each other"),
        (["--visits", "--conditions", "--data", "data"], 2, "exclude each other"),
        (["--alarms-per-day", "5", "--data", "data"], 2, "are for --visits"),
        (["--visits", "--write-score", "--data", "data"], 2, "--alarms-per-day N"),
        (["--visits", "--data", "data", "--set", "evaluate.score=0.1"], 2, "eval --visits does not use it"),
        (["--visits", "--data", "data", "--alarms-per-day", "-1"], 2, "alarms-per-day"),
    ],
)
def test_flags_that_do_not_fit(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str], flags: list[str], code: int, told: str
) -> None:
    frames(door=[PERSON] * 8)
    assert run(["eval", "--weights", "lite0", *flags]) == code
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arranged", "told"),
    [
        ({"door": [PERSON]}, "one frame"),
        ({"door": [PERSON] * 8, "step": 2.0}, "frames 2 s apart"),
        ({"door": [EMPTY] * 8}, "no labelled person stays for 1 s in the 1.4 s watched"),
    ],
)
def test_frames_that_tell_no_visit(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str], arranged: Json, told: str
) -> None:
    frames(**arranged)
    assert run(["eval", "--visits", "--weights", "lite0", "--data", "data", "--out", "out"]) == 1
    shown = capsys.readouterr().err
    assert told in shown and "hint: " in shown and not Path("out").exists()


def test_data_without_times(demo_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "--visits", "--weights", "lite0", "--data", str(demo_data), "--out", str(tmp_path / "o")]) == 1
    shown = capsys.readouterr().err
    assert "says of no image when (date_captured) and by what camera it was taken" in shown and "label" in shown


def test_without_the_package_that_tracks(
    frames: Callable[..., Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames(door=[PERSON] * 8)
    monkeypatch.setitem(sys.modules, "trackers", None)
    assert run(["eval", "--visits", "--weights", "lite0", "--data", "data"]) == 1
    assert 'pip install "fcoslite[track]"' in capsys.readouterr().err
