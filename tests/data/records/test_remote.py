"""Images, annotations and records at addresses: of a real S3 server on this machine."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fcoslite.config.settings import ComputeSettings, DataSettings
from fcoslite.data import images
from fcoslite.data.extract.extract import extract
from fcoslite.data.formats.open import open_data
from fcoslite.data.formats.table import to_dataset
from fcoslite.data.images import read_labelled
from fcoslite.data.records import shards
from fcoslite.data.records.build import build_records
from fcoslite.data.records.cache import ShardCache
from fcoslite.data.records.merge import merge_records
from fcoslite.data.records.shards import Share
from fcoslite.data.sources.records import RecordSource
from fcoslite.data.sources.source import BatchShare
from fcoslite.errors import ConfigError, DataError, UnreachableError
from fcoslite.storage.places import place
from tests.data.records.test_merge import OPTIONS, files
from tests.object_store import BUCKET, s3_server

pytest.importorskip("moto")
pytest.importorskip("s3fs")


@pytest.fixture(scope="module")
def data(demo_data: Path) -> Iterator[Path]:
    """The embedded photographs in a bucket, but for one in twelve."""
    with s3_server():
        folder = place(f"s3://{BUCKET}/data")
        photographs = sorted((demo_data / "images").iterdir())
        for path in (demo_data / "annotations.json", *photographs):
            if path not in photographs[::12]:
                (folder / path.relative_to(demo_data).as_posix()).write_bytes(path.read_bytes())
        yield folder


@pytest.fixture(scope="module")
def local(data: Path, demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Records of the same photographs on the disk."""
    folder = tmp_path_factory.mktemp("local")
    for path in sorted(demo_data.rglob("*"))[::-1]:
        if path.is_file() and (data / path.relative_to(demo_data).as_posix()).is_file():
            target = folder / "data" / path.relative_to(demo_data)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    build_records(folder / "data", folder / "records", max_skipped="3", **OPTIONS)
    return folder


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fcoslite" / "records"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_bytes_are_those_of_a_disk_with_skipped_images_too(data: Path, local: Path) -> None:
    out = place(f"s3://{BUCKET}/records")
    result = build_records(data, out, max_skipped="3", **OPTIONS)
    assert result.skipped_images == 3 and result.images == 29
    assert contents(out) == files(local / "records")
    again = build_records(data, out, max_skipped="3", **OPTIONS)  # it is there already
    assert again.images == result.images


def test_shares_into_one_bucket(data: Path, local: Path) -> None:
    out = place(f"s3://{BUCKET}/shares")
    build_records(data, out, max_skipped="3", share=Share(1, 2), **OPTIONS)
    with pytest.raises(DataError, match="are not finished"):
        merge_records(out, max_skipped="3")
    build_records(data, out, max_skipped="3", share=Share(0, 2), **OPTIONS)
    merge_records(out, max_skipped="3")
    assert contents(out) == files(local / "records")
    assert merge_records(out).images == 29


def test_a_stopped_one_goes_on(data: Path, local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = place(f"s3://{BUCKET}/stopped")
    sent = []

    def send(source: Path, path: Path) -> None:
        if len(sent) == 2:
            raise KeyboardInterrupt
        sent.append(path)
        original(source, path)

    original = shards.send
    monkeypatch.setattr(shards, "send", send)
    with pytest.raises(KeyboardInterrupt):
        build_records(data, out, max_skipped="3", **{**OPTIONS, "workers": 1})
    assert not (out / "manifest.json").exists()
    first = list(sent)

    def send_and_note(source: Path, path: Path) -> None:
        sent.append(path)
        original(source, path)

    monkeypatch.setattr(shards, "send", send_and_note)
    build_records(data, out, max_skipped="3", **OPTIONS)
    assert contents(out) == files(local / "records")
    assert len(sent) == len(set(sent)) and set(first) < set(sent)
    monkeypatch.setattr(shards, "send", original)
    # and another job's clears what is there, once it is told to
    with pytest.raises(DataError, match="with other options"):
        build_records(data, out, max_skipped="3", **{**OPTIONS, "seed": 5})
    build_records(data, out, max_skipped="3", overwrite=True, **{**OPTIONS, "seed": 5})
    assert json.loads((out / "manifest.json").read_bytes())["seed"] == 5
    assert all(path.suffix != ".json" or path.name == "manifest.json" for path in out.iterdir())


def test_what_we_did_not_write_stays(data: Path, tmp_path: Path) -> None:
    folder = place(f"s3://{BUCKET}/letters")
    (folder / "to-mother.txt").write_text("Dear mother")
    for overwrite in (False, True):
        with pytest.raises(DataError, match="is not empty"):
            build_records(data, folder, overwrite=overwrite, **OPTIONS)
    assert (folder / "to-mother.txt").read_text() == "Dear mother"
    with pytest.raises(ConfigError, match="is an address"):
        extract(data / "annotations.json", data / "images", Path("s3://bucket/person"))


def test_a_set_below_another_stays(data: Path) -> None:
    out = place(f"s3://{BUCKET}/cameras")
    build_records(data, out, max_skipped="3", **OPTIONS)
    build_records(data, out / "night", max_skipped="3", **OPTIONS)
    below = contents(out / "night")
    build_records(data, out, max_skipped="3", overwrite=True, **{**OPTIONS, "seed": 5})
    assert contents(out / "night") == below and "manifest.json" in below


def test_extract_takes_what_is_there(data: Path, local: Path, tmp_path: Path) -> None:
    result = extract(data / "annotations.json", data / "images", tmp_path / "person", max_skipped="50%")
    expected = extract(
        local / "data" / "annotations.json", local / "data" / "images", tmp_path / "expected", max_skipped="50%"
    )
    assert (result.images, result.skipped_images) == (expected.images, expected.skipped_images)
    assert result.skipped_images > 0
    ours, theirs = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("images/*")}
        for folder in (tmp_path / "person", tmp_path / "expected")
    )
    assert ours == theirs


def source(folder: Path, **data: float) -> RecordSource:
    return RecordSource.open(folder, DataSettings(shuffle_buffer=8, **data), ComputeSettings()).checked()


def test_batches_are_those_of_a_disk(data: Path, local: Path, own_cache: Path) -> None:
    build_records(data, place(f"s3://{BUCKET}/records"), max_skipped="3", **OPTIONS)
    ours, theirs = source(place(f"s3://{BUCKET}/records")), source(local / "records")
    assert ours.fingerprint == theirs.fingerprint
    for one, other, _ in zip(ours.training_batches(4, 1, 3), theirs.training_batches(4, 1, 3), range(10), strict=False):
        for key in one:
            np.testing.assert_array_equal(one[key], other[key])
    pairs = zip(ours.evaluation_batches(8), theirs.evaluation_batches(8), strict=True)
    assert all((a["images"] == b["images"]).all() and len(la) == len(lb) for (a, la), (b, lb) in pairs)
    assert len(list(own_cache.iterdir())) == len(ours.manifest.shards)


def test_the_cache_keeps_what_it_has_room_for(data: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = place(f"s3://{BUCKET}/records")
    build_records(data, folder, max_skipped="3", **OPTIONS)  # nothing, if another test has
    manifest = source(folder).manifest
    largest = max(shard.size for shard in manifest.shards)
    cache = ShardCache.open(folder, manifest, 2 * largest / 1e9)
    names = [shard.name for shard in manifest.shards]
    paths = [cache.local(name) for name in names[:3]]
    assert all(path.exists() for path in paths)  # in use, whatever the room
    for age, path in enumerate(paths):
        os.utime(path, times=(time.time() - 1000 + age,) * 2)
    assert cache.local(names[2]) == paths[2]  # asked for again: it is the newest now
    cache.local(names[3])
    assert [path.exists() for path in paths] == [False, False, True]


def test_what_was_changed_is_not_learned_from(data: Path, local: Path) -> None:
    folder = place(f"s3://{BUCKET}/changed")
    for path in (local / "records").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    ours = source(folder)
    shard = folder / ours.manifest.shards[0].name
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(DataError, match="does not have the checksum of the manifest"):
        for _ in ours.evaluation_batches(8):
            pass
    shard.unlink()
    with pytest.raises(DataError, match="is missing"):
        source(folder)


def test_a_damaged_shard_is_built_again(data: Path, local: Path) -> None:
    out = place(f"s3://{BUCKET}/damaged")
    build_records(data, out, max_skipped="3", **OPTIONS)
    shard = next(path for path in out.iterdir() if path.suffix == ".tfrecord")
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    build_records(data, out, max_skipped="3", overwrite=True, **OPTIONS)
    assert contents(out) == files(local / "records")


def test_what_is_on_the_disk_outlives_the_network(
    data: Path, local: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = images.read_bytes
    broken: list[Path] = []

    def read_some(path: Path) -> bytes:
        if len(broken) > 24:  # 16 of them to estimate the size
            raise UnreachableError(f"{path} cannot be reached: no route", "")
        broken.append(path)
        return read(path)

    monkeypatch.setattr(images, "read_bytes", read_some)
    with pytest.raises(UnreachableError, match="no route"):
        build_records(data, tmp_path / "records", max_skipped="3", **{**OPTIONS, "workers": 1})
    finished = {path.name: path.stat().st_mtime_ns for path in (tmp_path / ".records.partial").glob("*.tfrecord")}
    assert finished
    monkeypatch.setattr(images, "read_bytes", read)
    build_records(data, tmp_path / "records", max_skipped="3", **OPTIONS)
    assert files(tmp_path / "records") == files(local / "records")
    assert all((tmp_path / "records" / name).stat().st_mtime_ns == time for name, time in finished.items())


def test_only_what_is_read_is_fetched(data: Path, own_cache: Path) -> None:
    build_records(data, place(f"s3://{BUCKET}/records"), max_skipped="3", **OPTIONS)
    ours = source(place(f"s3://{BUCKET}/records"))
    batch = next(iter(ours.training_batches(4, 1, 5, BatchShare(1, 2))))  # two rows, in the middle of a pass
    assert len(batch["images"]) == 2
    assert len(list(own_cache.iterdir())) < len(ours.manifest.shards)


def test_what_is_for_a_disk(data: Path, tmp_path: Path) -> None:
    folder = place(f"s3://{BUCKET}/records")
    with pytest.raises(ConfigError, match="for records on a disk"):
        RecordSource.open(folder, DataSettings(), ComputeSettings(), skip_bad_records=True)
    with pytest.raises(ConfigError, match="nothing can be linked"):
        extract(data / "annotations.json", data / "images", tmp_path / "person", link="symlink", max_skipped="50%")


def test_what_is_not_there_is_told() -> None:
    with pytest.raises(DataError, match="no records at s3://"):
        source(place(f"s3://{BUCKET}/nothing"))
    with pytest.raises(DataError, match="no data set at"):
        build_records(place(f"s3://{BUCKET}/nothing"), place(f"s3://{BUCKET}/out"), **OPTIONS)


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:not-to-be-logged@bucket/records",
        "s3://AKIA:ab/not-to-be-logged@bucket/x",
        "https://not-to-be-logged@host/x",
        "https://host/x?X-Amz-Signature=not-to-be-logged",
        "https://host/x?a=1&sig=not-to-be-logged",
        "S3://key:not-to-be-logged@bucket/records",
    ],
)
def test_an_address_with_a_password_is_refused(address: str) -> None:
    with pytest.raises(ConfigError, match="must not have a password") as caught:
        place(address)
    assert "not-to-be-logged" not in str(caught.value) + caught.value.hint


def test_what_is_no_address() -> None:
    with pytest.raises(ConfigError, match="cannot be reached"):
        place("nonsense://bucket")
    assert place("records") == Path("records")
    assert place("C:\\records") == Path("C:\\records")
    assert place("MEMORY://bucket/records") == place("memory://bucket/records")


def test_a_folder_of_photographs_is_trained_on_without_records(data: Path, local: Path) -> None:
    ours = to_dataset(open_data(data))
    theirs = to_dataset(open_data(local / "data"))
    assert [image.file_name for image in ours.images] == [image.file_name for image in theirs.images]
    image = next(image for image in ours.images if (local / "data" / "images" / image.file_name).is_file())
    np.testing.assert_array_equal(read_labelled(image, ours.folder), read_labelled(image, theirs.folder))
