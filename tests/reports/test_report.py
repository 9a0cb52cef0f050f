"""The HTML file: its numbers are those of the run and of the evaluation, and it needs nothing beside it."""

import json
import re
import shutil
from pathlib import Path

import pytest

from fcoslite.evaluation.coco_metrics import COCO_FIGURES
from fcoslite.evaluation.detection_errors import error_figures, judge_evaluation
from fcoslite.evaluation.evaluate import evaluate, open_evaluator, plan_evaluation
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.inference.about import about
from fcoslite.inference.predictor import Predictor
from fcoslite.reports.report import plan_report, write_report
from fcoslite.runs.run import Run
from tests.reports.conftest import make_run
from tests.reports.pages import Page


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def document(run: Run, few: tuple[Path, Path]) -> dict:
    return write_report(plan_report([run], run.path.parent / "one.html", *few))


@pytest.fixture(scope="module")
def page(document: dict) -> Page:
    return Page(Path(document["file"]))


def test_the_file_needs_nothing_beside_it(page):
    page.check_self_contained()


def test_the_figures_of_every_epoch_are_those_of_the_run(run, page):
    start = page.rows.index(["epoch", "step", "loss", "val_loss", "val_ap", "images_per_second"])
    shown = page.rows[start + 1 : start + 4]
    for row, line in zip(shown, run.read_metrics(), strict=True):
        assert [float(text) for text in row] == pytest.approx(list(line.values()), rel=1e-4)
    marks = [title for title in page.titles if title.startswith("val_ap, ")]
    assert marks == ["val_ap, epoch 1: 0.11", "val_ap, epoch 2: 0.22", "val_ap, epoch 3: 0.33"]


def test_the_evaluation_is_that_of_eval(run, few, page, document, tmp_path):
    plan = plan_evaluation(about(run.best_weights).settings, run.best_weights, None, *few, out=tmp_path / "eval")
    metrics = evaluate(plan)["metrics"]
    assert document["runs"][0]["metrics"] == metrics
    assert metrics["ap"] > 0.1
    for name in COCO_FIGURES:
        assert float(page.row(name)[0]) == pytest.approx(metrics[name], rel=1e-4)
    bars = re.findall(r'style="width:([\d.]+)%"></i></span><span class="number">(no boxes|[\d.]+)<', page.text)
    expected = [metrics[f"ap{part}"] for part in ("", "50", "75", "_small", "_medium", "_large")]
    assert [text for _, text in bars] == ["no boxes" if value < 0 else f"{value:.4f}" for value in expected]
    assert [float(width) for width, _ in bars] == pytest.approx([max(value, 0) * 100 for value in expected], abs=0.006)


def test_the_errors_are_those_of_the_evaluation(run, few, page, tmp_path):
    settings = about(run.best_weights).settings
    plan = plan_evaluation(settings, run.best_weights, None, *few, out=tmp_path / "eval")
    judged = judge_evaluation(open_evaluator(plan).run(plan.source, 4), 1, settings.webcam.score)
    figures = error_figures(judged)
    for name in ("precision", "recall", "f1"):
        assert page.row(name) == [f"{figures[name]:.4f}"]
    assert page.row("missed") == [f"{figures['missed']['persons']} of {figures['persons']}"]
    assert page.row("boxes: matched") == [str(figures["detections"]["matched"])]
    [mark] = [title for title in page.titles if "at score" in title]
    numbers = re.fullmatch(r".*: at score ([\d.]+), recall ([\d.]+): ([\d.]+)", mark).groups()
    assert [float(number) for number in numbers] == pytest.approx(
        [settings.webcam.score, figures["recall"], figures["precision"]], rel=1e-4
    )
    missed = [caption for caption in page.captions if caption.startswith("missed")]
    wrong = [caption for caption in page.captions if "score" in caption and not caption.startswith("missed")]
    false = sum(figures["detections"][kind] for kind in ("localisation", "duplicate", "background"))
    assert (len(missed), len(wrong)) == (min(8, figures["missed"]["persons"]), min(8, false))
    assert missed and wrong
    scores = [float(re.search(r"score (\d\.\d\d)", caption)[1]) for caption in wrong]
    assert scores == sorted(scores, reverse=True) and min(scores) >= settings.webcam.score
    areas = [int(a) * int(b) for a, b in (re.search(r"(\d+) x (\d+)", caption).groups() for caption in missed)]
    assert areas == sorted(areas, reverse=True)
    assert len(page.pictures) == len(missed) + len(wrong)
    red = [((picture[..., 2] > 180) & (picture[..., 1] < 90)).sum() for picture in page.pictures]
    assert min(red) > 50  # the error's box


def test_the_settings_of_one_run_are_those_that_differ_from_its_config(run, page):
    assert page.row("model.image_size")[-1] == str(run.settings().model.image_size)
    assert not [row for row in page.rows if row and row[0].startswith("train.")]  # finetune does not obey them
    assert "compute.workers" not in {row[0] for row in page.rows if row}


def test_runs_stand_side_by_side(run, few, tmp_path):
    other = make_run(tmp_path, "other", epochs=2, **{"finetune.lr_max": 0.007})
    document = write_report(plan_report([run, other, run], tmp_path / "both.html", *few))
    page = Page(tmp_path / "both.html")
    names = [run.name, other.name]
    assert [one["name"] for one in document["runs"]] == names  # the one that is named twice is there once
    assert page.rows[0][1:] == names
    assert page.row("finetune.lr_max") == [f"{run.settings().finetune.lr_max:g}", "0.007"]
    shown = {row[0] for row in page.rows if row}
    differing = {key for key, value in run.settings().flat().items() if other.settings().flat()[key] != value}
    assert differing == {"name", "finetune.lr_max"} <= shown
    assert page.row("epochs") == [f"3 of {run.settings().finetune.epochs}", f"2 of {run.settings().finetune.epochs}"]
    assert page.row("validation loss, best epoch") == ["2.333", "2.5"]
    best = re.findall(r'<td class="best">([^<]+)</td>', page.text)
    assert "2.333" in best and "2.5" not in best and "0.33" in best
    assert f"{run.name}: val_loss, epoch 3: 2.3333" in page.titles
    assert f"{other.name}: val_loss, epoch 2: 2.5" in page.titles


def test_runs_of_one_name_are_told_apart_by_their_folders(run, few, tmp_path):
    copy = Run(Path(shutil.copytree(run.path, tmp_path / run.name)))
    plan = plan_report([run, copy], tmp_path / "both.html", *few)
    assert plan.describe()["runs"] == [str(run.path), str(copy.path)]


def test_a_run_is_evaluated_on_its_own_validation_images(planned, tmp_path):
    run, plan = planned
    document = write_report(plan_report([run], tmp_path / "report.html"))
    page = Page(tmp_path / "report.html")
    assert document["evaluated_on"] == "the runs' own validation images"
    counts = {"images": 26, "images to train on": len(plan.training), "images to validate on": len(plan.validation)}
    assert counts["images to train on"] + counts["images to validate on"] == 26 and counts["images to validate on"] == 5
    for name, count in counts.items():
        assert page.row(name) == [str(count)]
    assert page.row("images seen in training") == [str(7 * plan.settings.compute.batch_size)]
    evaluator = PredictorEvaluator(Predictor.load(run.best_weights, plan.settings.evaluate))
    metrics = evaluator.run(plan.validation, 4).metrics
    assert document["runs"][0]["metrics"] == pytest.approx(metrics, abs=1e-6) and metrics["ap"] > 0.1


def test_other_data_than_that_of_training_is_not_taken_for_it(planned, tmp_path):
    run, _ = planned
    moved = Run(Path(shutil.copytree(run.path, tmp_path / "moved")))
    moved.write_json("run.json", {**run.facts(), "fingerprint": "another"})
    plan = plan_report([moved], tmp_path / "report.html")
    assert (len(plan.scoring.plans[0].source), "embedded" in plan.scoring.title) == (32, True)
    both = plan_report([run, moved], tmp_path / "report.html")  # and not each run on images of its own
    assert [len(one.source) for one in both.scoring.plans] == [32, 32]


def test_a_run_that_has_nothing_yet_is_reported_all_the_same(tmp_path):
    run = make_run(tmp_path, weights=False, epochs=0)
    document = write_report(plan_report([run], tmp_path / "report.html"))
    text = Page(tmp_path / "report.html").text
    assert document["evaluated_on"] is None and "metrics" not in document["runs"][0]
    for part in ("has no weights yet", "No epoch is finished yet", "No run is evaluated"):
        assert part in text


def test_damaged_files_are_told_and_the_rest_is_shown(few, tmp_path):
    run = make_run(tmp_path, weights=False)
    lines = run.metrics_file.read_text("utf-8").splitlines(keepends=True)
    run.metrics_file.write_text(lines[0] + "gar\0bage\n" + lines[2] + '{"epoch": 4, "st', "utf-8")
    (run.path / "environment.json").write_text("[1", "utf-8")
    (run.path / "config.yaml").unlink()
    run.best_weights.write_bytes(b"no weights")
    document = write_report(plan_report([run], tmp_path / "report.html"))
    notes = "\n".join(document["notes"])
    for part in ("1 damaged line of metrics.jsonl", "environment.json cannot be read", "config.yaml", "not evaluated"):
        assert part in notes
    page = Page(tmp_path / "report.html")
    assert [title for title in page.titles if title.startswith("loss, ")] == ["loss, epoch 1: 3", "loss, epoch 3: 1"]


def test_weights_that_are_cut_short_are_told(run, few, tmp_path):
    copy = Run(Path(shutil.copytree(run.path, tmp_path / "cut")))
    copy.best_weights.with_suffix(".onnx").unlink()
    content = bytearray(copy.best_weights.read_bytes())
    content[len(content) // 2] ^= 255
    copy.best_weights.write_bytes(content)
    document = write_report(plan_report([copy, run], tmp_path / "report.html", *few))
    assert any("cut: is not evaluated" in note for note in document["notes"])
    assert "metrics" not in document["runs"][0] and document["runs"][1]["metrics"]["ap"] > 0.1


def test_names_from_files_are_text(few, tmp_path):
    run = make_run(tmp_path, epochs=1)
    evil = Run(run.path.rename(tmp_path / "<script>alert(1)<img src=x onerror=y>"))
    evil.write_json("run.json", {**evil.facts(), "data": '"><script>2', "start_from": "<b>start</b>"})
    evil.write_json("environment.json", {"<i>key": "</style><script>3", "versions": {"<u>": "'\"><svg onload=4>"}})
    evil.append_metrics({"epoch": 2, "step": 10, "<script>5": "<em>", "loss": 1.0})
    document = json.loads(few[0].read_text("utf-8"))
    images = tmp_path / "images"
    images.mkdir()
    for number, image in enumerate(document["images"]):
        name = f"<video onplay=6>{number}.jpg"
        shutil.copy(few[1] / image["file_name"], images / name)
        image["file_name"] = name
    (tmp_path / "few.json").write_text(json.dumps(document), "utf-8")
    write_report(plan_report([evil], tmp_path / "report.html", tmp_path / "few.json", images))
    page = Page(tmp_path / "report.html")
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "u", "em", "video"}
    assert "<b>start" not in page.text and "<i>key" not in page.text
    assert all(not name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert len([tag for tag, _ in page.elements if tag == "style"]) == 1
    text = "".join(page.words)
    for part in (evil.name, '"><script>2', "<b>start</b>", "</style><script>3", "<script>5", "<video onplay=6>"):
        assert part in text
    assert page.row("<u>") == ["'\"><svg onload=4>"]
