"""Both sources on the embedded photographs."""

import json
import re
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.records import verify
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import read_manifest
from fcoslite.data.sources.folder import FolderSource
from fcoslite.data.sources.records import RecordSource, records_must_be_readable
from fcoslite.data.sources.source import BatchShare, steps_per_pass
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.machine import distribute

SIZE = 64


@pytest.fixture(scope="module")
def workspace(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    extract(demo_data / "annotations.json", demo_data / "images", folder / "data", negatives=0.2)
    build_records(folder / "data", folder / "records", image_size=SIZE, records_per_shard=7)
    return folder


def _records(workspace: Path, records: range | None = None, buffer: int = 512) -> RecordSource:
    whole = RecordSource.open(workspace / "records", DataSettings(shuffle_buffer=buffer), ComputeSettings(workers=2))
    return whole if records is None else whole.part(records)


def _folder(workspace: Path) -> FolderSource:
    data = workspace / "data"
    dataset = read_coco(data / "annotations.json", data / "images", ["person"])
    return FolderSource(dataset, dataset.images, SIZE, 2)


@pytest.fixture(params=["records", "folder"])
def source(request, workspace):
    return _records(workspace) if request.param == "records" else _folder(workspace)


def _numpy(batch: dict) -> dict[str, np.ndarray]:
    return {key: np.asarray(value) for key, value in batch.items()}


def _take(source, count: int, first_step: int = 0, batch_size: int = 4, seed: int = 1) -> list[dict[str, np.ndarray]]:
    return [_numpy(batch) for batch in islice(iter(source.training_batches(batch_size, seed, first_step)), count)]


def test_batches_have_fixed_shapes(source):
    for batch in _take(source, 3):
        assert batch["images"].shape == (4, SIZE, SIZE, 3)
        assert batch["images"].dtype == np.uint8
        boxes = batch["boxes"]
        mask = boxes[..., 0] != 0
        assert mask.any()
        assert boxes.shape[0] == 4
        assert boxes.shape[2] == 5
        assert mask.shape == batch["crowd"].shape == batch["scores"].shape == boxes.shape[:2]
        assert (batch["scores"] == mask).all()  # people drew all of them
        assert (boxes[~mask] == 0).all()
        assert set(np.unique(boxes[mask][:, 0])) <= {1.0}  # person is class 1, never 0
        assert (boxes[mask][:, 3:] > boxes[mask][:, 1:3]).all()
        assert boxes[mask][:, 1:].min() >= 0
        assert boxes[mask][:, 1:].max() <= SIZE


def test_a_pass_shows_every_image_once_and_the_next_in_another_order(source):
    steps = steps_per_pass(len(source), 1)
    batches = _take(source, 2 * steps, batch_size=1)
    keys = [batch["images"].tobytes() for batch in batches]
    first, second = keys[:steps], keys[steps:]
    assert len(set(first)) == len(source)
    assert set(first) == set(second)
    assert first != second


@pytest.mark.parametrize("start", [1, 5, 7, 8, 20])
def test_resuming_at_a_step_gives_the_same_batches(source, start):
    whole = _take(source, start + 3)
    again = _take(source, 3, first_step=start)
    for one, other in zip(whole[start:], again, strict=True):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])


@pytest.mark.parametrize("of", [2, 4])
def test_shares_of_batches_are_their_rows(source, of):
    """Other processes' rows are not even read."""
    whole = _take(source, 12, first_step=3)
    shares = [
        [_numpy(batch) for batch in islice(iter(source.training_batches(4, 1, 3, BatchShare(index, of))), 12)]
        for index in range(of)
    ]
    for batch, *parts in zip(whole, *shares, strict=True):
        assert all(len(part["images"]) == 4 // of for part in parts)
        for key, rows in batch.items():
            np.testing.assert_array_equal(rows, np.concatenate([part[key] for part in parts]))


def test_records_that_are_cut_off_after_the_check_are_told(workspace, tmp_path):
    shutil.copytree(workspace / "records", tmp_path / "records")
    source = _records(tmp_path).checked()
    [*_, shard] = sorted((tmp_path / "records").glob("*.tfrecord"))
    batches = iter(source.training_batches(4, 1, 0))
    shard.write_bytes(shard.read_bytes()[:-5_000])
    with pytest.raises(DataError, match="cannot be read any more"), records_must_be_readable():
        list(islice(batches, 30))


def test_another_seed_gives_another_order(source):
    assert (_take(source, 1, seed=1)[0]["images"] != _take(source, 1, seed=2)[0]["images"]).any()


def test_a_set_smaller_than_a_batch_is_repeated(workspace):
    source = _records(workspace, range(3))
    batch = _take(source, 2, batch_size=8)[1]
    assert len({image.tobytes() for image in batch["images"]}) == 3


def test_windows_smaller_than_the_set_still_show_everything(workspace):
    source = _records(workspace, buffer=5)
    keys = [batch["images"].tobytes() for batch in _take(source, len(source), batch_size=1)]
    assert len(set(keys)) == len(source)


def test_ranges_of_records_do_not_overlap(workspace):
    total = len(_records(workspace))
    parts = [_records(workspace, range(0, 9)), _records(workspace, range(9, 16)), _records(workspace, range(16, total))]
    ids = [[label.image_id for _, labels in part.evaluation_batches(4) for label in labels] for part in parts]
    assert [len(part) for part in ids] == [9, 7, total - 16]
    assert len({image_id for part in ids for image_id in part}) == total


def test_scores_reach_the_batches_of_both_sources(demo_data, tmp_path):
    document = json.loads((demo_data / "annotations.json").read_text())
    for number, annotation in enumerate(document["annotations"]):
        annotation["score"] = 1 if number % 3 == 0 else 0.1 + number % 7 / 10
    (tmp_path / "scored.json").write_text(json.dumps(document))
    extract(tmp_path / "scored.json", demo_data / "images", tmp_path / "data", limit=12)
    build_records(tmp_path / "data", tmp_path / "records", image_size=SIZE)
    assert read_manifest(tmp_path / "records").format == 2  # what leaves them unread must not read it
    both = []
    for source in (_records(tmp_path), _folder(tmp_path)):
        scores = {}
        for batch, labels in source.evaluation_batches(4):
            for row, label in zip(batch["scores"], labels, strict=True):
                np.testing.assert_array_equal(row[: len(label.scores)], label.scores)
                scores[label.image_id] = label.scores.tolist()
        both.append(scores)
    assert both[0] == both[1]
    assert {1, np.float32(0.4)} < {score for scores in both[0].values() for score in scores}
    scored, unscored = _folder(tmp_path), tmp_path / "data" / "annotations.json"
    unscored.write_text(re.sub(r'"score":\s*[0-9.]+', '"score":1', unscored.read_text()))
    assert scored.fingerprint != _folder(tmp_path).fingerprint


def test_evaluation_shows_everything_once_with_its_ground_truth(source, workspace):
    truth = {image.image_id: image for image in _folder(workspace).images}
    seen = []
    for batch, labels in source.evaluation_batches(5):
        assert len(labels) == len(batch["images"])
        for label in labels:
            expected = truth[label.image_id]
            assert (label.height, label.width) == (expected.height, expected.width)
            np.testing.assert_allclose(label.boxes_xyxy, expected.boxes_xyxy, atol=2e-3)
            np.testing.assert_array_equal(label.iscrowd, expected.iscrowd)
            np.testing.assert_allclose(label.areas, expected.areas, rtol=1e-6)
            seen.append(label.image_id)
    assert sorted(seen) == sorted(truth)


def test_both_sources_give_the_same_pictures_and_boxes(workspace):
    def by_id(source):
        return {
            label.image_id: {key: value[row] for key, value in batch.items()}
            for batch, labels in source.evaluation_batches(4)
            for row, label in enumerate(labels)
        }

    records, folder = by_id(_records(workspace)), by_id(_folder(workspace))
    assert records.keys() == folder.keys()
    for image_id, example in records.items():
        np.testing.assert_array_equal(example["images"], folder[image_id]["images"])
        np.testing.assert_allclose(example["boxes"], folder[image_id]["boxes"], atol=1e-3)
        np.testing.assert_array_equal(example["crowd"], folder[image_id]["crowd"])
        np.testing.assert_array_equal(example["scores"], folder[image_id]["scores"])


def test_images_are_changed_within_the_padding(source):
    shapes = {}

    def invert(image_rgb, label):
        shapes[label.image_id] = image_rgb.shape
        return 255 - image_rgb

    batches = zip(source.evaluation_batches(4, invert), source.evaluation_batches(4), strict=True)
    for (inverted, labels), (plain, _) in batches:
        for label, after, before in zip(labels, inverted["images"], plain["images"], strict=True):
            letterbox = Letterbox.square(label.height, label.width, SIZE)
            original = (label.height, label.width, 3)
            taken = original if isinstance(source, FolderSource) else before[letterbox.inside].shape
            assert shapes[label.image_id] == taken
            expected = before.copy()
            expected[letterbox.inside] = 255 - expected[letterbox.inside]
            np.testing.assert_allclose(after.astype(int), expected, atol=1)


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_processes_share_out_the_shards_to_check(
    workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Each shard is read by one of them, and all know of the same bad records as one process would."""
    folder = shutil.copytree(workspace / "records", tmp_path / "records")
    shards = read_manifest(folder).shards
    for shard in shards[1], shards[-1]:
        content = bytearray((folder / shard.name).read_bytes())
        content[40] ^= 1
        (folder / shard.name).write_bytes(content)
    source = RecordSource.open(folder, DataSettings(), ComputeSettings()).part(range(3, len(_records(workspace))))
    alone = source.checked(skip_bad_records=True).bad
    assert len(alone) == 2

    looked_at: list[str] = []
    digest = verify.file_digest
    monkeypatch.setattr(verify, "file_digest", lambda path: looked_at.append(path.name) or digest(path))
    found: list[dict] = []
    for index in range(count):
        monkeypatch.setattr(distribute, "_group", distribute.Group(index, count))
        monkeypatch.setattr(distribute, "gather", lambda ours: found.append(ours) or [ours])
        source.checked(skip_bad_records=True)
    assert sorted(looked_at) == sorted(shard.name for shard in shards)
    assert {position for part in found for position in part} == alone
