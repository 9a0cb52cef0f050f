import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.records.manifest import decode_manifest, load_manifest, read_manifest
from fcoslite.errors import DataError, FcosliteError

SHARDS = [
    {"name": "person-00000-of-00002.tfrecord", "count": 3, "sha256": "a" * 64, "size": 10},
    {"name": "person-00001-of-00002.tfrecord", "count": 2, "sha256": "b" * 64, "size": 20},
]
DOCUMENT: dict[str, Any] = {
    "kind": "fcoslite-records",
    "class_names": ["person"],
    "image_size": 64,
    "encoding": "png",
    "seed": 0,
    "count": 5,
    "boxes": 9,
    "max_boxes": 4,
    "shards": SHARDS,
    "version": "0.1.0",
    "format": 1,
}


def write(folder: Path, **changes: Any) -> Path:
    (folder / "manifest.json").write_text(json.dumps(DOCUMENT | changes))
    for shard in SHARDS:
        (folder / str(shard["name"])).write_bytes(bytes(int(str(shard["size"]))))
    return folder


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no records at") as caught:
        read_manifest(tmp_path)
    assert "build-records" in caught.value.hint
    write(tmp_path)
    assert read_manifest(tmp_path).count == 5
    shard = tmp_path / str(SHARDS[1]["name"])
    shard.write_bytes(bytes(19))
    with pytest.raises(DataError, match=r"person-00001-of-00002.tfrecord has 19 bytes, not 20") as caught:
        read_manifest(tmp_path)
    assert "--skip-bad-records" in caught.value.hint and "--overwrite" in caught.value.hint
    shard.unlink()
    with pytest.raises(DataError, match=r"person-00001-of-00002.tfrecord is missing"):
        read_manifest(tmp_path)
    assert load_manifest(tmp_path).count == 5  # which does not look at them


def test_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="format 3"):
        read_manifest(write(tmp_path, format=3))


@pytest.mark.parametrize("content", ["", "{}", json.dumps(DOCUMENT)[:50], '{"kind": "fcoslite-extract"}', "\xff"])
def test_no_manifest(content: str) -> None:
    with pytest.raises(DataError, match="it is not a manifest of records"):
        decode_manifest(content.encode("latin-1"), "it")


@pytest.mark.parametrize(
    "changes",
    [
        {"count": 6},
        {"class_names": []},
        {"image_size": 0},
        {"max_boxes": -1},
        {"shards": [SHARDS[0], SHARDS[1] | {"name": SHARDS[0]["name"]}]},
        {"shards": [SHARDS[0], SHARDS[1] | {"name": "../../secret.tfrecord"}]},
        {"shards": [SHARDS[0], SHARDS[1] | {"name": "/etc/passwd"}]},
        {"shards": [SHARDS[0], SHARDS[1] | {"count": 0}], "count": 3},
        {"shards": [], "count": 0},
    ],
)
def test_contradictions(changes: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="contradicts itself"):
        decode_manifest(json.dumps(DOCUMENT | changes).encode(), "it")


def test_records_are_found_in_their_shards() -> None:
    manifest = decode_manifest(json.dumps(DOCUMENT).encode(), "it")
    first, second = manifest.shards
    assert list(manifest.shards_of(range(5))) == [(first, 0, range(3)), (second, 3, range(3, 5))]
    assert list(manifest.shards_of(range(2, 4))) == [(first, 0, range(2, 3)), (second, 3, range(3, 4))]
    assert list(manifest.shards_of(range(3, 5))) == [(second, 3, range(3, 5))]
    assert list(manifest.shards_of(range(0))) == []


@given(st.data())
def test_mutated_manifests_are_refused_or_consistent(data: st.DataObject) -> None:
    content = bytearray(json.dumps(DOCUMENT).encode())
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    try:
        manifest = decode_manifest(bytes(content), "it")
    except FcosliteError as error:
        assert error.message.startswith("it ") and error.hint
    else:
        assert manifest.count == sum(shard.count for shard in manifest.shards) > 0
        assert all(Path(shard.name).name == shard.name for shard in manifest.shards)
