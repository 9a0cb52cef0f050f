"""What was known stays: `lite0` is fine-tuned on the embedded photographs, as if a camera had taken one a minute."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.sources.folder import FolderSource
from fcoslite.errors import ConfigError
from fcoslite.evaluation.evaluator import Evaluator
from fcoslite.models.weights import load_detector
from fcoslite.runs.find_weights import find_weights
from fcoslite.runs.run import Run
from fcoslite.runs.summary import FINISHED, STOPPED, end_state
from fcoslite.storage.arrays import read_arrays, read_header
from fcoslite.training import keep, loop
from fcoslite.training.plan import TrainingPlan, plan_resume, plan_run
from fcoslite.training.result import TrainingResult
from fcoslite.training.resume import settings_to_resume

SIZE = 128


@pytest.fixture(scope="module")
def data(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("camera") / "data"
    shutil.copytree(workspace / "data", folder)
    document = json.loads((folder / "annotations.json").read_text())
    for minute, image in enumerate(document["images"]):
        image |= {"camera": "door", "date_captured": f"2026-11-28T22:{minute:02d}:00.000Z"}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("keep")
    places = [f"workspace.runs={folder / 'runs'}", f"workspace.mlflow_uri=sqlite:///{folder / 'mlflow.db'}"]
    few = ["finetune.epochs=1", "finetune.steps_per_epoch=2", "finetune.lr_max=2.0e-3", "compute.batch_size=8"]
    few += ["finetune.ema=0", "compute.accumulation=1"]  # the graph of a step is half as large
    return load_settings("cpu", [f"model.image_size={SIZE}", "augment.conditions=0", *few, *places])


@pytest.fixture(scope="module")
def plan(data: Path, settings: Settings) -> TrainingPlan:
    return plan_run("finetune", settings, data=data, start_from=find_weights("lite0", Path("runs")))


@pytest.fixture(scope="module")
def finished(plan: TrainingPlan) -> TrainingResult:
    return loop.train(plan, Path(plan.settings.workspace.runs))


def test_frames_of_a_camera_are_kept_by_a_share_that_is_chosen(plan: TrainingPlan) -> None:
    assert plan.settings.finetune.keep == "auto" == plan.describe()["keep"]
    assert isinstance(plan.validation, FolderSource) and isinstance(plan.training, FolderSource)
    minutes = [[image.capture.time % 3600 // 60 for image in part.images if image.capture]
               for part in (plan.validation, plan.training)]  # fmt: skip
    assert len(minutes[0]) == len(plan.validation) > 3 and set(minutes[0]).isdisjoint(minutes[1])


def test_the_best_weights_are_the_average(finished: TrainingResult) -> None:
    run, kept = finished.run, finished.kept
    assert kept is not None and kept["chosen"] and kept == json.loads(run.keep_file.read_text())
    assert [one["share"] for one in kept["tried"]] == [tenths / 10 for tenths in range(11)]
    packaged, _ = read_arrays(find_weights("lite0", run.path.parent))
    before, tuned, best = (read_arrays(f)[0] for f in (run.before_weights, run.tuned_weights, run.best_weights))
    assert before.keys() == tuned.keys() == best.keys()
    assert sum(not np.array_equal(before[name], tuned[name]) for name in before) > 100  # moving statistics among them
    assert any(name.endswith("/variance") and not np.array_equal(before[name], tuned[name]) for name in before)
    for name, array in best.items():
        np.testing.assert_array_equal(before[name], packaged[name].astype(np.float32))
        expected = np.float64(kept["share"]) * before[name] + (1 - kept["share"]) * tuned[name].astype(np.float64)
        np.testing.assert_allclose(array, expected, rtol=1e-6, atol=1e-7, err_msg=name)
    assert read_header(run.best_weights)["keep"] == kept["share"]
    assert end_state(run) == FINISHED


def test_its_figures_are_those_of_the_kept_weights_in_squares(finished: TrainingResult, demo_data: Path) -> None:
    run, kept = finished.run, finished.kept
    assert kept is not None
    of_photographs = kept["sets"]["photographs"]
    assert of_photographs["images"] == 32
    assert of_photographs["before"]["ap"] > 0.05  # 128 pixels are few
    settings, (detector, _) = run.settings(), load_detector(run.best_weights)
    dataset = read_coco(demo_data / "annotations.json", demo_data / "images", detector.class_names)
    source = FolderSource(dataset, dataset.images, SIZE, workers=2)
    metrics = Evaluator(detector, settings.loss, settings.evaluate).run(source, 8).metrics
    assert metrics["ap"] == pytest.approx(of_photographs["kept"]["ap"], abs=1e-6)


def test_a_finished_run_stays_as_it_is(finished: TrainingResult) -> None:
    run = finished.run
    content = {path.name: path.read_bytes() for path in (run.best_weights, run.tuned_weights, run.keep_file)}
    assert loop.resume(plan_resume(run), run) == finished
    assert {path.name: path.read_bytes() for path in (run.best_weights, run.tuned_weights, run.keep_file)} == content


def _as_left_by_a_kill(run: Run, stage: str) -> None:
    run.keep_file.unlink()
    if stage == "training has just ended":
        run.tuned_weights.replace(run.best_weights)


@pytest.mark.parametrize("stage", ["training has just ended", "the average is written, keep.json is not"])
def test_killed_while_averaging_it_ends_the_same(finished: TrainingResult, stage: str) -> None:
    run = finished.run
    content = {path.name: path.read_bytes() for path in (run.best_weights, run.tuned_weights, run.keep_file)}
    _as_left_by_a_kill(run, stage)
    assert end_state(run) == STOPPED
    assert loop.resume(plan_resume(run), run) == finished
    assert {path.name: path.read_bytes() for path in (run.best_weights, run.tuned_weights, run.keep_file)} == content
    detector, _ = load_detector(run.best_weights)
    assert detector.class_names == ("person",)


# --- the share


def ap(held_out: float, photographs: float) -> dict[str, float]:
    return {"held_out": held_out, "photographs": photographs}


@pytest.mark.parametrize(
    ("figures", "share"),
    [
        ({0.0: ap(0.70, 0.30), 0.5: ap(0.66, 0.398), 1.0: ap(0.60, 0.40)}, 0.5),  # 0 loses too much elsewhere
        ({0.0: ap(0.70, 0.3901), 0.5: ap(0.66, 0.41), 1.0: ap(0.60, 0.40)}, 0.0),  # a hundredth may be lost
        ({0.0: ap(0.70, 0.3899), 0.5: ap(0.66, 0.41), 1.0: ap(0.60, 0.40)}, 0.5),
        ({0.0: ap(0.66, 0.40), 0.5: ap(0.66, 0.40), 1.0: ap(0.60, 0.40)}, 0.5),  # of two alike, more is kept
        ({0.0: ap(0.50, 0.50), 0.5: ap(0.55, 0.45), 1.0: ap(0.60, 0.40)}, 1.0),  # nothing was gained
        (
            {0.0: ap(-1.0, 0.38), 0.5: ap(-1.0, 0.40), 1.0: ap(-1.0, 0.40)},
            0.5,
        ),  # no box to measure by: what loses little
        ({0.0: {"held_out": 0.7}, 1.0: {"held_out": 0.6}}, 0.0),
    ],
)
def test_the_share_that_gains_most_and_loses_little(figures: dict[float, dict[str, float]], share: float) -> None:
    assert keep.choose_share(figures) == share


@pytest.fixture
def asking(settings: Settings) -> Callable[..., Settings]:
    def with_keep(value: Any, *classes: str) -> Settings:
        model = settings.model.model_copy(update={"classes": classes or ("person",)})
        finetune = settings.finetune.model_copy(update={"keep": value})
        return settings.model_copy(update={"model": model, "finetune": finetune})

    return with_keep


def test_what_is_not_asked_for_is_done_for_a_camera_alone(
    plan: TrainingPlan, asking: Callable[..., Settings], caplog: pytest.LogCaptureFixture
) -> None:
    settle = keep.settle_keep
    assert settle(asking(None), True, plan.validation).finetune.keep == "auto"
    assert settle(asking(None), False, plan.validation).finetune.keep is None
    assert settle(asking(0.0), True, None).finetune.keep == 0.0  # as it is, judged where it can be
    assert not caplog.text
    assert settle(asking(None, "person", "coat on its peg"), True, plan.validation).finetune.keep is None
    assert settle(asking(None), True, None).finetune.keep is None
    assert "not labelled with person, coat on its peg" in caplog.text
    assert "no image of the data is held out" in caplog.text


def test_without_anything_to_choose_by_it_is_refused(plan: TrainingPlan, asking: Callable[..., Settings]) -> None:
    assert isinstance(plan.validation, FolderSource)
    quiet = [image for image in plan.validation.images if image.iscrowd.all()]
    empty = FolderSource(plan.validation.dataset, tuple(quiet), SIZE, 1)
    for validation, classes, lack in (
        (None, ("person",), "held out"),
        (plan.validation, ("helmet",), "not labelled with helmet"),
        (empty, ("person",), f"none of the {len(quiet)} held-out images has a box"),
    ):
        with pytest.raises(ConfigError, match=lack) as caught:
            keep.settle_keep(asking("auto", *classes), False, validation)
        assert "--keep 0.5" in caught.value.hint


@pytest.mark.parametrize("value", [1.5, -0.1, "some"])
def test_other_values_are_refused(value: object) -> None:
    with pytest.raises(ConfigError, match=r"finetune\.keep is .* must be auto, or a number, at least 0 and at most 1"):
        load_settings("cpu", values={"finetune.keep": value})


def test_resuming_needs_no_flag_and_takes_no_other_share(finished: TrainingResult) -> None:
    run = finished.run
    assert settings_to_resume(run, None, [], {}) == run.settings()
    assert settings_to_resume(run, None, [], {"finetune.keep": "auto"}) == run.settings()
    with pytest.raises(ConfigError, match=r"finetune\.keep is auto, not 0\.3"):
        settings_to_resume(run, None, [], {"finetune.keep": 0.3})


def test_what_was_lost_is_said_plainly(caplog: pytest.LogCaptureFixture) -> None:
    def told(share: float, chosen: bool, held_out: tuple[float, ...], photographs: tuple[float, ...]) -> str:
        caplog.clear()
        sets = {
            name: {"images": 9, "before": {"ap": figures[0]}, "tuned": {"ap": figures[1]}, "kept": {"ap": figures[2]}}
            for name, figures in (("held_out", held_out), ("photographs", photographs))
        }
        with caplog.at_level("WARNING"):
            keep._tell({"share": share, "chosen": chosen, "most_lost": 0.01, "sets": sets})
        return caplog.text

    assert not told(0.4, True, (0.6, 0.7, 0.68), (0.4, 0.3, 0.395))
    assert "worse: AP on the photographs fell by 0.100" in told(0.0, False, (0.6, 0.7, 0.7), (0.4, 0.3, 0.3))
    assert "they stay as before" in told(1.0, True, (0.6, 0.5, 0.6), (0.4, 0.3, 0.4))
    assert "on held-out images fell by 0.100" in told(0.0, False, (0.6, 0.5, 0.5), (0.4, 0.4, 0.4))
