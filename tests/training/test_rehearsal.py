"""Other images beside a data set: learned from, never validated on, each read from its own folder."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.config.settings import Settings
from fcoslite.data.dataset import Dataset, RehearsedImage
from fcoslite.data.embedded import embedded_names
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.formats.open import data_of_run
from fcoslite.data.images import read_image
from fcoslite.data.rehearsal import with_rehearsal
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.split import split_dataset
from fcoslite.errors import ConfigError, DataError
from fcoslite.evaluation.evaluate import plan_evaluation
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.reports.run_facts import read_run
from fcoslite.training import loop
from fcoslite.training.plan import TrainingPlan, plan_resume, plan_run
from fcoslite.training.request import TrainingRequest, plan_request

OWN = 12


def part(
    whole: Path, folder: Path, which: slice, change: Callable[[dict[str, Any]], object] = lambda image: None
) -> Path:
    """Some images of a data set, in a folder of their own."""
    document = json.loads((whole / "annotations.json").read_text())
    images = document["images"][which]
    ids = {image["id"] for image in images}
    for image in images:
        change(image)
    boxes = [box for box in document["annotations"] if box["image_id"] in ids]
    (folder / "images").mkdir(parents=True)
    for image in images:
        name = f"taken-{image['file_name']}"  # else it would be one of the package's
        shutil.copy(whole / "images" / image["file_name"], folder / "images" / name)
        image["file_name"] = name
    (folder / "annotations.json").write_text(json.dumps(document | {"images": images, "annotations": boxes}))
    return folder


@pytest.fixture
def own(workspace: Path, tmp_path: Path) -> Path:
    def taken(image: dict[str, Any]) -> None:
        image |= {"camera": "door", "date_captured": f"2026-11-28T22:{image['id'] % 60:02d}:00.000Z"}

    return part(workspace / "data", tmp_path / "own", slice(OWN), taken)


@pytest.fixture
def other(workspace: Path, tmp_path: Path) -> Path:
    return part(workspace / "data", tmp_path / "other", slice(OWN, None))


def read(folder: Path) -> Dataset:
    return read_coco(folder / "annotations.json", folder / "images", ["person"])


def test_at_most_as_many_as_there_are_of_ones_own(own: Path, other: Path) -> None:
    mine, others = read(own), read(other)
    both = with_rehearsal(mine, others)
    assert both.images is mine.images and both.rehearsed is not None
    names = [image.file_name for image in both.rehearsed.images]
    assert len(others.images) > OWN and len(names) == len(set(names)) == OWN
    assert set(names) < {image.file_name for image in others.images}
    again = with_rehearsal(mine, others).rehearsed
    assert again is not None and [image.file_name for image in again.images] == names
    fewer = with_rehearsal(others, mine).rehearsed
    assert fewer is not None and len(fewer.images) == OWN


def test_what_is_judged_by_is_not_rehearsed(own: Path, other: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, others = read(own), read(other)
    apart = {image.file_name for image in others.images[:5]}
    with caplog.at_level("INFO"):
        both = with_rehearsal(mine, others, apart)
    assert both.rehearsed is not None
    assert not apart & {image.file_name for image in both.rehearsed.images}
    assert "5 images are not rehearsed" in caplog.text
    assert len(embedded_names()) == 32
    with pytest.raises(DataError, match="all images are those of the data, or of the package"):
        with_rehearsal(mine, others, {image.file_name for image in others.images})


@pytest.mark.parametrize("split", [None, "rehearsed"])
def test_they_train_and_the_split_of_the_rest_stays(own: Path, other: Path, slim: Settings, split: str | None) -> None:
    mine = read(own)
    mine = replace(mine, images=tuple(replace(image, split=split) for image in mine.images))
    alone, parts = split_dataset(mine, slim.data, 0)
    images, with_others = split_dataset(with_rehearsal(mine, read(other)), slim.data, 0)
    assert parts.validation and with_others.validation == parts.validation
    assert [image.file_name for image in images[: len(alone)]] == [image.file_name for image in alone]
    added = images[len(alone) :]
    assert len(added) == len(parts.training) < OWN and all(isinstance(image, RehearsedImage) for image in added)
    assert with_others.training == range(len(parts.validation), len(images))


def test_each_is_read_from_its_own_folder(own: Path, other: Path, slim: Settings) -> None:
    both = with_rehearsal(read(own), read(other))
    images, _ = split_dataset(both, slim.data, 0)
    batch, labels = next(FolderSource(both, images, 64, 1).evaluation_batches(len(images)))
    for pixels, image in zip(batch["images"], labels, strict=True):
        folder = other if isinstance(image, RehearsedImage) else own
        whole = read_image(folder / "images" / image.file_name)
        letterbox = Letterbox.square(image.height, image.width, 64)
        np.testing.assert_array_equal(pixels, letterbox.apply_image(whole))


def test_those_that_cannot_be_read_are_named_with_their_folder(own: Path, other: Path, slim: Settings) -> None:
    for file in (other / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"other/images: .*taken-.* empty") as caught:
        plan_run("train", slim, data=own, rehearse=other)
    assert "--skip-bad-records" in caught.value.hint
    plan = plan_run("train", slim, data=own, rehearse=other, skip_bad_records=True)
    assert len(plan.training.bad) == len(plan.training) // 2
    first = plan.training.training_ids(4, 0, 0) and plan.training.stretch(range(1))
    assert isinstance(first, FolderSource)
    (own / "images" / first.images[0].file_name).write_bytes(b"")
    with pytest.raises(DataError, match=r"own/images: 1 of \d+ images .*, and \d+ of what is rehearsed"):
        plan_run("train", slim, data=own, rehearse=other)


def test_links_out_of_either_folder_are_refused(own: Path, other: Path, slim: Settings) -> None:
    for file in (other / "images").iterdir():
        file.replace(own / file.name)
        file.symlink_to(own / file.name)
    with pytest.raises(DataError, match="other/images: "):
        plan_run("train", slim, data=own, rehearse=other)


def plan(slim: Settings, own: Path, other: Path) -> TrainingPlan:
    short = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 1})})
    return plan_run("train", short, data=own, rehearse=other)


def test_a_run_goes_on_with_the_same(own: Path, other: Path, slim: Settings, tmp_path: Path) -> None:
    planned = plan(slim, own, other)
    run = loop.train(planned, Path(slim.workspace.runs)).run
    assert run.facts()["rehearse"] == str(other)
    data = read_run(run, "").data
    assert data["rehearse"] == str(other) and data["images"] == OWN
    assert data["images to train on"] == len(planned.training)
    scored = plan_evaluation(slim, run.best_weights).source
    assert planned.validation is not None and scored.fingerprint == planned.training.fingerprint
    for folder in (own, other):
        folder.rename(tmp_path / f"moved-{folder.name}")
    with pytest.raises(DataError):
        plan_resume(run)
    again = plan_resume(run, data=tmp_path / "moved-own", rehearse=tmp_path / "moved-other")
    assert again.training.training_ids(4, 0, 3) == planned.training.training_ids(4, 0, 3)
    (tmp_path / "moved-own").rename(own)
    evaluated = plan_evaluation(slim, run.best_weights).source  # without what was rehearsed
    assert evaluated.fingerprint == planned.training.fingerprint and len(evaluated) == len(planned.validation)
    fewer = part(tmp_path / "moved-other", tmp_path / "fewer", slice(3))
    with pytest.raises(DataError, match=r"fewer is not what .* was started on") as caught:
        plan_resume(run, rehearse=fewer)
    assert f"that was {other}" in caught.value.hint


def with_other(folder: Path, **values: object) -> None:
    """Other sections of its annotations."""
    file = folder / "annotations.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def test_wrong_use_is_told(own: Path, other: Path, workspace: Path, slim: Settings) -> None:
    with pytest.raises(ConfigError, match="--rehearse goes with --data"):
        plan_request(TrainingRequest("finetune", records=workspace / "records", start_from="lite0", rehearse=other))
    with pytest.raises(ConfigError, match="is the data itself"):
        plan_run("train", slim, data=own / "annotations.json", rehearse=own)
    with pytest.raises(ConfigError, match="not for chunks"):
        plan_run("train", slim, data=own, rehearse=other, chunk=1)
    for folder in (own, other):  # persons without a box would be background
        whole = (folder / "annotations.json").read_text()
        with_other(folder, annotations=[])
        with pytest.raises(DataError, match=f"{folder.name}/images.* box of person"):
            plan_run("train", slim, data=own, rehearse=other)
        (folder / "annotations.json").write_text(whole)
    with_other(other, categories=[{"id": 1, "name": "cat"}])
    with pytest.raises(ConfigError, match="person"):
        plan_run("train", slim, data=own, rehearse=other)


def test_another_run_is_not_made_to_rehearse(own: Path, other: Path, slim: Settings, tmp_path: Path) -> None:
    schedule = slim.train.model_copy(update={"epochs": 1, "steps_per_epoch": 3})
    planned = plan_run("train", slim.model_copy(update={"train": schedule}), data=own)
    run = loop.train(planned, Path(slim.workspace.runs)).run
    (tmp_path / "slim.yaml").write_text(slim.to_yaml())
    asked = TrainingRequest("train", str(tmp_path / "slim.yaml"), resume=str(run.path), rehearse=other)
    with pytest.raises(ConfigError, match="was not started with --rehearse"):
        plan_request(asked)


def test_classes_are_those_of_the_data_in_its_order(own: Path, other: Path) -> None:
    with_other(own, categories=[{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}])
    with_other(other, categories=[{"id": 1, "name": "person"}, {"id": 0, "name": "dog"}])
    facts = {"data": str(own), "rehearse": str(other)}
    dataset = data_of_run(facts, ["dog", "person"])
    assert dataset.rehearsed is not None and dataset.rehearsed.class_names == ("dog", "person")
    assert {number for image in dataset.rehearsed.images for number in image.class_ids.tolist()} == {2}
