"""Other images beside a data set: learned from, never validated on, each read from its own folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.config.settings import Settings
from fcoslite.data.dataset import REHEARSED, Dataset
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_image
from fcoslite.data.rehearsal import with_rehearsal
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.split import split_dataset
from fcoslite.errors import ConfigError, DataError
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
        shutil.copy(whole / "images" / image["file_name"], folder / "images")
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


def test_as_many_as_there_are_of_ones_own(own: Path, other: Path) -> None:
    mine, others = read(own), read(other)
    both = with_rehearsal(mine, others)
    assert len(others.images) > OWN and len(both.images) == 2 * OWN
    assert [image.image_id for image in both.images[:OWN]] == [image.image_id for image in mine.images]
    added = both.images[OWN:]
    assert {image.split for image in added} == {REHEARSED}
    names = [image.file_name for image in added]
    assert len(set(names)) == OWN and set(names) < {image.file_name for image in others.images}
    assert len({image.image_id for image in both.images}) == 2 * OWN
    assert [image.file_name for image in with_rehearsal(mine, others).images[OWN:]] == names
    assert len(with_rehearsal(others, mine).images) == len(others.images) + OWN  # of fewer, all


def test_they_train_and_the_split_of_the_rest_stays(own: Path, other: Path, slim: Settings) -> None:
    alone, parts = split_dataset(read(own), slim.data, 0)
    images, with_others = split_dataset(with_rehearsal(read(own), read(other)), slim.data, 0)
    assert parts.validation and with_others.validation == parts.validation
    assert [image.file_name for image in images[: len(alone)]] == [image.file_name for image in alone]
    assert [image.split for image in images[len(alone) :]] == [REHEARSED] * OWN
    assert with_others.training == range(len(parts.validation), len(images))


def test_each_is_read_from_its_own_folder(own: Path, other: Path) -> None:
    both = with_rehearsal(read(own), read(other))
    batch, labels = next(FolderSource(both, both.images, 64, 1).evaluation_batches(2 * OWN))
    for pixels, image in zip(batch["images"], labels, strict=True):
        folder = other if image.split == REHEARSED else own
        whole = read_image(folder / "images" / image.file_name)
        letterbox = Letterbox.square(image.height, image.width, 64)
        np.testing.assert_array_equal(pixels, letterbox.apply_image(whole))


def test_one_that_cannot_be_read_is_named_with_its_folder(own: Path, other: Path, slim: Settings) -> None:
    for file in (other / "images").iterdir():
        file.write_bytes(b"")
    with pytest.raises(DataError, match=r"other/images: .* empty") as caught:
        plan_run("train", slim, data=own, rehearse=other)
    assert "--skip-bad-records" in caught.value.hint
    plan = plan_run("train", slim, data=own, rehearse=other, skip_bad_records=True)
    assert len(plan.training.bad) == OWN


def test_links_out_of_either_folder_are_refused(own: Path, other: Path, slim: Settings) -> None:
    name = with_rehearsal(read(own), read(other)).images[-1].file_name
    (other / "images" / name).replace(own / name)
    (other / "images" / name).symlink_to(own / name)
    with pytest.raises(DataError, match=r"other/images: 1 of"):
        plan_run("train", slim, data=own, rehearse=other)


def plan(slim: Settings, own: Path, other: Path) -> TrainingPlan:
    short = slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 1})})
    return plan_run("train", short, data=own, rehearse=other)


def test_a_run_goes_on_with_the_same(own: Path, other: Path, slim: Settings, tmp_path: Path) -> None:
    planned = plan(slim, own, other)
    assert len(planned.training) + len(planned.validation or ()) <= 2 * OWN
    run = loop.train(planned, Path(slim.workspace.runs)).run
    assert run.facts()["rehearse"] == str(other)
    data = read_run(run, "").data
    assert data["rehearse"] == str(other) and data["images"] == 2 * OWN
    assert data["images to train on"] == len(planned.training)
    for folder in (own, other):
        folder.rename(tmp_path / f"moved-{folder.name}")
    with pytest.raises(DataError):
        plan_resume(run)
    again = plan_resume(run, data=tmp_path / "moved-own", rehearse=tmp_path / "moved-other")
    assert again.training.fingerprint == planned.training.fingerprint
    assert again.training.training_ids(4, 0, 3) == planned.training.training_ids(4, 0, 3)
    with pytest.raises(DataError, match="is not what"):
        plan_resume(run, data=tmp_path / "moved-own", rehearse=tmp_path / "moved-own")


def test_wrong_use_is_told(own: Path, other: Path, workspace: Path, slim: Settings, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--rehearse goes with --data"):
        plan_request(TrainingRequest("finetune", records=workspace / "records", start_from="lite0", rehearse=other))
    with pytest.raises(ConfigError, match="--rehearse is the data itself"):
        plan_run("train", slim, data=own, rehearse=own / ".." / "own")
    (other / "annotations.json").write_text((other / "annotations.json").read_text().replace('"person"', '"cat"'))
    with pytest.raises(ConfigError, match="person"):
        plan_run("train", slim, data=own, rehearse=other)
    run = loop.train(plan_run("train", plan_settings(slim), data=own), Path(slim.workspace.runs)).run
    (tmp_path / "slim.yaml").write_text(slim.to_yaml())
    asked = TrainingRequest("train", str(tmp_path / "slim.yaml"), resume=str(run.path), rehearse=other)
    with pytest.raises(ConfigError, match="was not started with --rehearse"):
        plan_request(asked)


def plan_settings(slim: Settings) -> Settings:
    return slim.model_copy(update={"train": slim.train.model_copy(update={"epochs": 1, "steps_per_epoch": 1})})
