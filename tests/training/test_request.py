"""What is asked of train and finetune: settled into a plan, told apart from what a run has, carried out."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fcoslite.config.settings import Settings
from fcoslite.data.sources.records import RecordSource
from fcoslite.errors import ConfigError, RunError
from fcoslite.machine.tiers import Tier
from fcoslite.runs.find_weights import packaged_weights
from fcoslite.runs.run import Run, create_run
from fcoslite.training import loop, request
from fcoslite.training.plan import plan_run
from fcoslite.training.request import TrainingRequest, carry_out, plan_request


@pytest.fixture
def config(slim: Settings, tmp_path: Path) -> str:
    (tmp_path / "slim.yaml").write_text(slim.to_yaml())
    return str(tmp_path / "slim.yaml")


def begun(verb: str, slim: Settings, workspace: Path, **more: Any) -> Run:
    """A run as it is when it has just begun."""
    plan = plan_run(verb, slim, workspace / "records", **more)
    start_from = str(plan.start_from.resolve()) if plan.start_from else ""
    runs = Path(slim.workspace.runs)
    return create_run(runs, verb, plan.name, plan.settings, {**plan.facts, "start_from": start_from})


def test_a_new_run(config: str, workspace: Path, slim: Settings) -> None:
    asked = TrainingRequest("train", config, ["train.lr_max=0.5"], {"train.epochs": 7}, workspace / "records")
    plan, run = plan_request(asked)
    assert run is None
    assert (plan.verb, plan.schedule.lr_max, plan.schedule.epochs, plan.start_from) == ("train", 0.5, 7, None)
    assert plan.settings.model.head_depth == slim.model.head_depth


def test_fine_tuning_starts_from_the_weights_that_are_meant(config: str, workspace: Path) -> None:
    for words in ("lite0", None):  # there is no run
        plan, _ = plan_request(TrainingRequest("finetune", config, records=workspace / "records", start_from=words))
        assert plan.start_from == packaged_weights()["lite0"]


def test_auto_takes_the_config_of_the_machine(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr(request, "machine_tier", lambda: Tier("vram-2gb", "because"))
    places = {"workspace.runs": str(tmp_path / "runs")}
    with caplog.at_level("INFO"):
        plan, _ = plan_request(TrainingRequest("train", values=places, records=workspace / "records"))
    assert plan.settings.name == "vram-2gb"
    assert plan.settings.workspace.runs == str(tmp_path / "runs")
    assert "config vram-2gb: because" in caplog.text


def test_mosaics_that_would_never_be_made_are_refused(config: str, workspace: Path) -> None:
    def plan(verb: str, *sets: str) -> None:
        plan_request(TrainingRequest(verb, "small-data", ["model.image_size=64", *sets], {}, workspace / "records"))

    with pytest.raises(ConfigError, match=r"augment\.mosaic: the last 4 epochs have none, and there are 3") as caught:
        plan("finetune", "augment.mosaic=0.5")
    assert "mosaic_off_epochs=1" in caught.value.hint
    plan("finetune", "augment.mosaic=0.5", "augment.mosaic_off_epochs=1")
    plan("finetune", "augment.mosaic=0")
    plan("train", "augment.mosaic=0.5")


def test_records_and_a_folder_exclude_each_other(config: str, workspace: Path) -> None:
    with pytest.raises(ConfigError, match="exclude"):
        plan_request(TrainingRequest("train", config, records=workspace / "records", data=workspace / "data"))


def test_a_run_is_gone_on_with(config: str, workspace: Path, slim: Settings) -> None:
    run = begun("train", slim, workspace, chunk=1)
    for asked in (
        TrainingRequest("train", values={"workspace.runs": slim.workspace.runs}, resume=run.name),
        TrainingRequest("train", config, chunk=1, resume=str(run.path)),
    ):
        plan, found = plan_request(asked)
        assert found is not None and found.path == run.path
        assert (plan.settings.model, plan.facts["chunk"]) == (run.settings().model, 1)
    moved = TrainingRequest("train", config, resume=run.name, values={"checkpoint_minutes": 3.0})
    assert plan_request(moved)[0].settings.checkpoint_minutes == 3.0


def test_what_a_run_is_not_is_refused(config: str, workspace: Path, slim: Settings) -> None:
    run = begun("train", slim, workspace, chunk=1)
    with pytest.raises(RunError, match="was started by `fcoslite train`"):
        plan_request(TrainingRequest("finetune", config, resume=run.name))
    with pytest.raises(ConfigError, match="trains chunk 1, not 2"):
        plan_request(TrainingRequest("train", config, chunk=2, resume=run.name))
    with pytest.raises(ConfigError, match=r"train\.epochs"):
        plan_request(TrainingRequest("train", config, values={"train.epochs": 77}, resume=run.name))
    with pytest.raises(RunError, match="no run named"):
        plan_request(TrainingRequest("train", config, resume="train-nothing-001"))


def test_a_run_of_other_weights_is_refused(config: str, workspace: Path, slim: Settings) -> None:
    weights = packaged_weights()
    run = begun("finetune", slim, workspace, start_from=weights["lite0"])
    assert plan_request(TrainingRequest("finetune", config, start_from="lite0", resume=run.name))[1] is not None
    other = next(name for name in weights if name != "lite0")
    with pytest.raises(ConfigError, match=r"started from .*lite0\.npz"):
        plan_request(TrainingRequest("finetune", config, start_from=other, resume=run.name))


def test_memory_is_limited_before_anything_is_computed(
    config: str, workspace: Path, slim: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Damaged records are looked for with TensorFlow, and a device that has computed takes no limit any more."""
    told: list[int | str | None] = []
    original = RecordSource.checked

    def looking(self: RecordSource, *arguments: Any) -> RecordSource:
        told.append("looked")
        return original(self, *arguments)

    monkeypatch.setattr(request, "limit_memory", told.append)
    monkeypatch.setattr(RecordSource, "checked", looking)
    values = {"compute.memory_limit_mb": 512}
    asked = TrainingRequest("train", config, values=values, records=workspace / "records", skip_bad_records=True)
    plan_request(asked)
    assert told[:2] == [512, "looked"]
    run = begun("train", slim, workspace)
    told.clear()
    plan_request(TrainingRequest("train", config, values=values, resume=run.name))
    assert told[:2] == [512, "looked"]


def test_a_plan_is_begun_or_gone_on_with(monkeypatch: pytest.MonkeyPatch, slim: Settings) -> None:
    told: list[tuple[Any, ...]] = []
    plan: Any = SimpleNamespace(settings=slim)
    monkeypatch.setattr(loop, "train", lambda plan, runs, progress, created: told.append(("train", runs)))
    monkeypatch.setattr(loop, "resume", lambda plan, run, progress: told.append(("resume", run.name)))
    carry_out(plan, None)
    carry_out(plan, Run(Path("runs/train-x-001")))
    assert told == [("train", Path(slim.workspace.runs)), ("resume", "train-x-001")]


@pytest.mark.parametrize(
    "arguments", ['"train", "smok"', '"train", "smoke", ["train.lr_mx=1"]', '"train", resume="train-x-001"']
)
def test_a_wrong_word_is_told_before_keras_is_loaded(arguments: str, tmp_path: Path) -> None:
    code = f"""
import sys
from fcoslite.errors import FcosliteError
from fcoslite.training.request import TrainingRequest, plan_request
try:
    plan_request(TrainingRequest({arguments}))
except FcosliteError as error:
    print(error.hint, "keras" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.endswith("False\n")
