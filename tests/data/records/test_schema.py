"""Records that do not fit are told from those that do, and those that pass can be trained on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.records.build import build_records
from fcoslite.data.records.manifest import RecordsManifest, read_manifest
from fcoslite.data.records.schema import FEATURES, Feature, blank_record, check_record, parse_record, serialize
from fcoslite.errors import DataError

SIZE = 32


@pytest.fixture(scope="module")
def folder(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("check") / "records"
    build_records(demo_data, folder, limit=6, image_size=SIZE)
    return folder


@pytest.fixture(scope="module")
def manifest(folder: Path) -> RecordsManifest:
    return read_manifest(folder)


@pytest.fixture(scope="module")
def record(folder: Path, manifest: RecordsManifest) -> bytes:
    """One with boxes."""
    records = [r.numpy() for r in tf.data.TFRecordDataset(str(folder / manifest.shards[0].name))]
    return max(records, key=lambda serialized: len(parse_record(serialized)["boxes"]))


def edited(record: bytes, edit: Callable[[Any], None]) -> bytes:
    example = tf.train.Example.FromString(record)
    edit(example.features.feature)
    return example.SerializeToString()


def png(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".png", pixels)[1].tobytes()


def test_what_build_records_writes_passes(folder: Path, manifest: RecordsManifest) -> None:
    for serialized in tf.data.TFRecordDataset(str(folder / manifest.shards[0].name)):
        check_record(serialized.numpy(), manifest)
    check_record(blank_record(SIZE), manifest)


# what records have been since the first; a change would mix new ones with old ones unnoticed
WRITTEN = bytes.fromhex(
    "0a88020a350a05616e6e6f74122c122a0a280000803fcdcccc3f9a999941000040420000104200004040000000000000"
    "8041f728dc403433f3410a140a0461726561120c120a0a08004048433333e3400a160a0966696c655f6e616d6512090a"
    "070a05372e6a70670a0f0a0668656967687412051a030a01140a110a08696d6167655f696412051a030a01070a130a05"
    "696d616765120a0a080a06706978656c730a110a07697363726f776412061a040a0200010a0d0a036c656e12061a040a"
    "0205050a110a087061645f6c65667412051a030a01000a100a077061645f746f7012051a030a01100a110a057363616c"
    "65120812060a04cdcccc3f0a0e0a05776964746812051a030a0128"
)


def _written(*scores: float) -> bytes:
    boxes = np.float32([[1, 2, 30, 12.5], [0, 0, 4.3, 9]])
    areas = np.float32([200.25, 7.1])
    labels = boxes, np.int32([1, 3]), np.array([False, True]), areas, np.float32(scores)
    return serialize(LabelledImage(7, "7.jpg", 20, 40, *labels), b"pixels", 64)


def test_records_are_written_byte_by_byte_as_ever() -> None:
    assert _written(1, 1) == WRITTEN


def test_scores_are_written_where_a_detector_drew_a_box() -> None:
    parsed = {name: value.numpy() for name, value in parse_record(_written(1, 0.4)).items()}
    np.testing.assert_array_equal(parsed.pop("scores"), np.float32([1, 0.4]))
    for name, value in parse_record(WRITTEN).items():
        np.testing.assert_array_equal(value, parsed.get(name, [1, 1]), err_msg=name)


def test_what_is_parsed_is_what_was_written() -> None:
    parsed = {name: value.numpy() for name, value in parse_record(WRITTEN).items()}
    assert list(parsed) == [
        "image_bytes", "boxes", "crowd", "areas", "scores", "image_id", "height", "width", "file_name"
    ]  # fmt: skip
    assert parsed["image_bytes"] == b"pixels"
    np.testing.assert_allclose(parsed["boxes"], [[1, 1.6, 19.2, 48, 36], [3, 0, 16, 6.88, 30.4]], rtol=1e-6)
    assert parsed["crowd"].tolist() == [False, True]
    np.testing.assert_array_equal(parsed["areas"], np.float32([200.25, 7.1]))
    np.testing.assert_array_equal(parsed["scores"], [1, 1])
    assert (parsed["image_id"], parsed["height"], parsed["width"]) == (7, 20, 40)
    assert parsed["file_name"] == b"7.jpg"


NEEDED = [feature for feature in FEATURES if feature.checked and not feature.optional]


@pytest.mark.parametrize("feature", NEEDED, ids=lambda one: one.name)
def test_no_checked_feature_may_be_missing_or_of_another_kind(
    record: bytes, manifest: RecordsManifest, feature: Feature
) -> None:
    with pytest.raises(DataError, match=f"no '{feature.name}'"):
        check_record(edited(record, lambda features: features.pop(feature.name)), manifest)
    other = "float_list" if feature.kind == "bytes_list" else "bytes_list"

    def change(features: Any) -> None:
        features[feature.name].Clear()
        getattr(features[feature.name], other).value.append(b"1" if other == "bytes_list" else 1.0)

    with pytest.raises(DataError, match=f"'{feature.name}' is a {other}"):
        check_record(edited(record, change), manifest)


def floats(name: str, position: int, value: float) -> Callable[[Any], None]:
    def edit(features: Any) -> None:
        features[name].float_list.value[position] = value

    return edit


def scores(value: float, more: int = 0) -> Callable[[Any], None]:
    def edit(features: Any) -> None:
        features["score"].float_list.value.extend([value] * (len(features["len"].int64_list.value) + more))

    return edit


def image(encoded: bytes) -> Callable[[Any], None]:
    def edit(features: Any) -> None:
        features["image"].bytes_list.value[0] = encoded

    return edit


BOMB = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (60_000).to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0" + bytes(20)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda f: f.pop("area"), "has no 'area': of an older schema"),
        (lambda f: f["image_id"].int64_list.value.append(1), "'image_id' has 2 values"),
        (lambda f: f["len"].float_list.value.append(5.0), "'len' is a float_list, not a int64_list"),
        (lambda f: f["annot"].float_list.value.append(5.0), "do not add up"),
        (lambda f: f["iscrowd"].int64_list.value.append(0), "do not add up"),
        (lambda f: f["len"].int64_list.value.__setitem__(0, 4), "do not add up"),
        (scores(0.5, more=1), "do not add up"),
        (lambda f: f["score"].int64_list.value.append(1), "'score' is a int64_list, not a float_list"),
        (scores(0.0), "score of its boxes is not above 0"),
        (scores(1.5), "at most 1"),
        (scores(float("nan")), "at most 1"),
        (floats("annot", 0, 81.0), "class id"),
        (floats("annot", 0, 0.0), "class id"),
        (floats("annot", 0, 1.5), "class id"),
        (floats("annot", 1, float("nan")), "not finite"),
        (floats("area", 0, float("inf")), "not finite"),
        (floats("annot", 3, SIZE + 1.0), "inside the image"),
        (floats("annot", 1, -1.0), "inside the image"),
        (floats("annot", 1, SIZE - 0.5), "inside the image"),
        (lambda f: f["height"].int64_list.value.__setitem__(0, 0), "not positive"),
        (lambda f: f["file_name"].bytes_list.value.__setitem__(0, b"\xff.jpg"), "not UTF-8"),
        (image(b""), "is no png"),
        (image(b"\x89PNG\r\n\x1a\n"), "cannot be decoded"),
        (image(png(np.zeros((SIZE, SIZE, 3), np.uint8))[:-20]), "cannot be decoded"),
        (image(png(np.zeros((SIZE, SIZE + 1, 3), np.uint8))), "is no png of 32x32"),
        (image(cv2.imencode(".jpg", np.zeros((SIZE, SIZE, 3), np.uint8))[1].tobytes()), "is no png"),
        (image(BOMB), "is no png of 32x32"),  # by its header: it is never decoded
    ],
)
def test_what_does_not_fit_is_named(
    record: bytes, manifest: RecordsManifest, edit: Callable[[Any], None], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        check_record(edited(record, edit), manifest)


def test_more_boxes_than_a_batch_has_room_for(record: bytes, manifest: RecordsManifest) -> None:
    with pytest.raises(DataError, match="boxes, the manifest knows of 0"):
        check_record(record, RecordsManifest(**(vars(manifest) | {"max_boxes": 0})))


def test_jpeg(demo_data: Path, tmp_path: Path) -> None:
    build_records(demo_data, tmp_path / "out", limit=2, image_size=SIZE, encoding="jpeg")
    manifest = read_manifest(tmp_path / "out")
    for serialized in tf.data.TFRecordDataset(str(tmp_path / "out" / manifest.shards[0].name)):
        check_record(serialized.numpy(), manifest)
        cut = serialized.numpy().replace(b"\xff\xd9", b"\0\0")
        with pytest.raises(DataError, match="cannot be decoded"):
            check_record(edited(cut, lambda f: image(f["image"].bytes_list.value[0][:300])(f)), manifest)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"\x04area\x12\x02\x12\x00", b"\x04area\x12\x02R\x00"),  # an unknown field, for protobuf
        (b"\x08pad_left\x12\x05\x1a\x03", b"\x08pad_left\xf2\xfa\xe5\xfc"),  # and an error message that is no UTF-8
    ],
)
def test_found_by_fuzzing_what_only_protobuf_lets_pass(manifest: RecordsManifest, before: bytes, after: bytes) -> None:
    record = blank_record(SIZE)
    assert before in record
    with pytest.raises(DataError, match="TensorFlow cannot parse it"):
        check_record(record.replace(before, after), manifest)


@settings(max_examples=200)
@given(data=st.data())
def test_a_mutated_record_is_refused_or_can_be_trained_on(
    record: bytes, manifest: RecordsManifest, data: st.DataObject
) -> None:
    mutated = bytearray(record)
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(mutated) - 1))
        kind = data.draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        if kind == "change":
            mutated[position] = data.draw(st.integers(0, 255))
        elif kind == "insert":
            mutated[position:position] = data.draw(st.binary(min_size=1, max_size=8))
        else:
            del mutated[position : position + 1 if kind == "delete" else None]
        if not mutated:
            return
    try:
        check_record(bytes(mutated), manifest)
    except DataError as error:
        assert error.message
    else:
        parsed = parse_record(bytes(mutated))
        pixels = tf.io.decode_image(parsed["image_bytes"], channels=3, expand_animations=False)
        assert pixels.shape == (SIZE, SIZE, 3)
        boxes = parsed["boxes"].numpy()
        assert len(boxes) == len(parsed["crowd"]) == len(parsed["areas"]) <= manifest.max_boxes
        assert np.isfinite(boxes).all()
        parsed["file_name"].numpy().decode()
