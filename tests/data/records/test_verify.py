"""Every way a set of records breaks, on real shards: what is named, what is refused, and what is left to train on."""

import shutil
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import RecordsManifest, load_manifest, read_manifest
from fcoslite.data.records.verify import find_bad_records, verify_records
from fcoslite.data.sources.records import RecordSource
from fcoslite.errors import DataError
from fcoslite.geometry.letterbox import PAD_COLOUR

SIZE = 32
SHARD = 1  # the one that is damaged
PER_SHARD = 5


@pytest.fixture(scope="module")
def whole(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify") / "records"
    build_records(demo_data, folder, limit=18, image_size=SIZE, records_per_shard=PER_SHARD)
    return folder


@pytest.fixture(scope="module")
def other(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photographs in another order."""
    folder = tmp_path_factory.mktemp("verify") / "other"
    build_records(demo_data, folder, limit=18, image_size=SIZE, records_per_shard=PER_SHARD, seed=1)
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return shutil.copytree(whole, tmp_path / "copy")


def shard_of(folder: Path) -> Path:
    return folder / load_manifest(folder).shards[SHARD].name


def starts(shard: Path) -> list[int]:
    """Where each record of a file begins: 12 bytes of length, its content, 4 bytes of checksum."""
    offsets, offset = [], 0
    for record in tf.data.TFRecordDataset(str(shard)):
        offsets.append(offset)
        offset += 16 + len(record.numpy())
    return [*offsets, offset]


def flip(path: Path, position: int, bit: int = 3) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


def faults(folder: Path, deep: bool = True) -> list[tuple[str, list[int]]]:
    return [(fault.shard, list(fault.records)) for fault in verify_records(folder, deep).faults]


def flip_content(copy: Path, other: Path) -> list[int]:
    flip(shard_of(copy), starts(shard_of(copy))[2] + 50)
    return [2]


def flip_two_records(copy: Path, other: Path) -> list[int]:
    offsets = starts(shard_of(copy))
    flip(shard_of(copy), offsets[0] + 14)
    flip(shard_of(copy), offsets[4] - 1)  # the checksum itself
    return [0, 3]


def flip_length(copy: Path, other: Path) -> list[int]:
    flip(shard_of(copy), starts(shard_of(copy))[3] + 1)
    return [3, 4]  # where the next one begins is not known


def truncate(copy: Path, other: Path) -> list[int]:
    shard = shard_of(copy)
    shard.write_bytes(shard.read_bytes()[: starts(shard)[2] - 5])
    return [1, 2, 3, 4]


def empty(copy: Path, other: Path) -> list[int]:
    shard_of(copy).write_bytes(b"")
    return [0, 1, 2, 3, 4]


def remove(copy: Path, other: Path) -> list[int]:
    shard_of(copy).unlink()
    return [0, 1, 2, 3, 4]


def swap(copy: Path, other: Path) -> list[int]:
    shutil.copy(shard_of(other), shard_of(copy))
    return [0, 1, 2, 3, 4]


DAMAGES = [flip_content, flip_two_records, flip_length, truncate, empty, remove, swap]
Damage = Callable[[Path, Path], list[int]]


def source(folder: Path, skip: bool = False) -> RecordSource:
    return RecordSource.open(folder, DataSettings(shuffle_buffer=6), ComputeSettings(workers=2), skip)


def images(source: RecordSource, count: int, first_step: int = 0) -> list[np.ndarray]:
    batches = islice(iter(source.training_batches(2, 1, first_step)), count)
    return [image for batch in batches for image in np.asarray(batch["images"])]


def is_blank(image: np.ndarray) -> bool:
    return bool((image == PAD_COLOUR).all())


def test_a_whole_set_passes(whole: Path) -> None:
    found = verify_records(whole, deep=True)
    assert (found.shards, found.records, found.bad_records, found.faults) == (4, 18, 0, ())
    checked = source(whole)
    assert checked.checked() is checked


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_named_refused_and_skipped(copy: Path, whole: Path, other: Path, damage: Damage) -> None:
    name = shard_of(copy).name
    bad = damage(copy, other)
    found = verify_records(copy, deep=True)
    assert {fault.shard for fault in found.faults} == {name}
    assert [record for fault in found.faults for record in fault.records] == bad
    assert found.bad_records == len(bad)
    assert all(name in str(fault) for fault in found.faults)

    with pytest.raises(DataError, match=name) as caught:  # at the start, not in the middle of a run
        source(copy).checked()
    assert "--skip-bad-records" in caught.value.hint

    skipping = source(copy, skip=True).checked(skip_bad_records=True)
    assert skipping.bad == {PER_SHARD * SHARD + record for record in bad}
    before, after = images(source(whole), 20), images(skipping, 20)
    for one, two in zip(before, after, strict=True):
        assert is_blank(two) or (one == two).all()  # the others keep their places
    assert [is_blank(image) for image in after].count(True) >= len(bad)
    for first_step in (1, 8, 11):
        resumed = images(skipping, 3, first_step)
        np.testing.assert_array_equal(resumed, after[2 * first_step : 2 * first_step + 6])

    def ids(source: RecordSource) -> list[int]:
        return [label.image_id for _, labels in source.evaluation_batches(4) for label in labels]

    every = ids(source(whole))
    assert ids(skipping) == [image_id for position, image_id in enumerate(every) if position not in skipping.bad]


@pytest.mark.parametrize("damage", [truncate, empty, remove, swap])
def test_sizes_alone_name_the_shard(copy: Path, other: Path, damage: Damage) -> None:
    name = shard_of(copy).name
    damage(copy, other)
    assert faults(copy, deep=False) == [(name, [0, 1, 2, 3, 4])]


def test_damage_elsewhere_does_not_matter(copy: Path, other: Path) -> None:
    flip_content(copy, other)
    part = source(copy).part(range(PER_SHARD * SHARD + 3, 18))
    assert part.checked() is part
    with pytest.raises(DataError, match="1 of 8 records"):
        source(copy).part(range(8)).checked()


def test_nothing_left_is_refused_even_if_bad_records_may_be_skipped(copy: Path, other: Path) -> None:
    remove(copy, other)
    with pytest.raises(DataError, match="5 of 5 records") as caught:
        source(copy, skip=True).part(range(5, 10)).checked(skip_bad_records=True)
    assert "--skip-bad-records" not in caught.value.hint


def test_faults_read_well(copy: Path, whole: Path, other: Path) -> None:
    name = shard_of(copy).name
    flip_two_records(copy, other)
    assert [str(fault).partition(": ")[0] for fault in verify_records(copy, deep=True).faults] == [
        f"{name}, record 0",
        f"{name}, record 3",
    ]
    shutil.copy(shard_of(whole), copy)
    truncate(copy, other)
    assert f"{name}, records 1 to 4: " in [str(fault) for fault in verify_records(copy, deep=True).faults][-1]
    swap(copy, other)
    assert str(verify_records(copy, deep=True).faults[0]).startswith(f"{name} is not the shard of the manifest")


def test_a_manifest_of_another_size_or_class(whole: Path, copy: Path) -> None:
    manifest = copy / "manifest.json"
    manifest.write_text(manifest.read_text().replace(f'"image_size": {SIZE}', '"image_size": 64'))
    assert [len(records) for _, records in faults(copy)] == [5, 5, 5, 3]


@settings(max_examples=25)
@given(data=st.data())
def test_any_changed_byte_of_a_shard_is_found_in_its_record(
    whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    manifest = read_manifest(whole)
    offsets = starts(shard_of(whole))
    position = data.draw(st.integers(0, offsets[-1] - 1))
    bit = data.draw(st.integers(0, 7))
    folder = tmp_path_factory.mktemp("flipped")
    shutil.copy(shard_of(whole), folder)
    flip(shard_named(folder, manifest), position, bit)
    record = next(index for index in range(PER_SHARD) if position < offsets[index + 1])
    lost = range(record, PER_SHARD) if position < offsets[record] + 12 else [record]
    ours = range(PER_SHARD * SHARD, PER_SHARD * (SHARD + 1))
    bad = find_bad_records(folder, manifest, ours, workers=1)
    assert sorted(bad) == [ours.start + index for index in lost]


def shard_named(folder: Path, manifest: RecordsManifest) -> Path:
    return folder / manifest.shards[SHARD].name
