"""Training on data sets of any format, with their own splits."""

from pathlib import Path

import pytest

from fcoslite.config.settings import Settings
from fcoslite.errors import DataError
from fcoslite.training import loop
from fcoslite.training.plan import plan_resume, plan_run
from tests.exports import EXPORTS, photographs, put


@pytest.fixture
def settings(slim: Settings) -> Settings:
    return slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 1, "steps_per_epoch": 3})})


def files(source: object) -> list[str]:
    return sorted(Path(image.file_name).name for image in source.images)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", EXPORTS)
def test_train_and_val_are_kept(name: str, settings: Settings, tmp_path: Path) -> None:
    make, form, splits = EXPORTS[name]
    make(tmp_path / "data")
    plan = plan_run("train", settings, data=tmp_path / "data")
    all_files = [file for file, _, _ in photographs()]
    if "val" in splits:
        of = {split: [f for f, s in zip(all_files, splits, strict=True) if s == split] for split in ("train", "val")}
        assert plan.validation is not None
        assert (files(plan.training), files(plan.validation)) == (of["train"], of["val"])
    else:
        assert files(plan.training) == all_files and plan.validation is None  # too few to take some
    assert set(plan.settings.model.classes or ()) == {"person", "dog"}
    assert plan_run("train", settings, data=tmp_path / "data", form=form).training.fingerprint == (  # type: ignore[arg-type]
        plan.training.fingerprint
    )


def test_a_run_goes_on_with_the_format_that_was_said(settings: Settings, tmp_path: Path) -> None:
    for name in ("roboflow-yolo", "createml"):  # two formats in one folder
        EXPORTS[name][0](tmp_path / "data")
    with pytest.raises(DataError, match="2 formats"):
        plan_run("train", settings, data=tmp_path / "data")
    result = loop.train(plan_run("train", settings, data=tmp_path / "data", form="yolo"), tmp_path / "runs")
    assert result.run.facts()["format"] == "yolo"
    assert files(plan_resume(result.run).training) == [file for file, _, _ in photographs()[:2]]


def test_without_a_box_there_is_nothing_to_learn(settings: Settings, tmp_path: Path) -> None:
    for file, _, _ in photographs():
        put(file, tmp_path / "data" / file)
    with pytest.raises(DataError, match="none of 4 images to train on has a box of person") as caught:
        plan_run("train", settings, data=tmp_path / "data")
    assert "nothing to learn" in caught.value.hint
