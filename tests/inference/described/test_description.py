from pathlib import Path

import pytest

from fcoslite.errors import ConfigError
from fcoslite.inference.described.description import (
    Description,
    find_description,
    packaged_descriptions,
    read_description,
)
from tests.onnx_files import BRIGHT_SPOT


def test_the_packaged_ones_can_be_read() -> None:
    assert set(packaged_descriptions()) == {"rtmdet", "rtmdet-mmdeploy", "yolox"}
    for path in packaged_descriptions().values():
        description = read_description(path)
        assert list(description.classes) == ["person"]
        assert (description.dense is None) != (description.boxes is None)


def read(tmp_path: Path, text: str) -> Description:
    path = tmp_path / "d.yaml"
    path.write_text(text, "utf-8")
    return read_description(path)


def test_defaults(tmp_path: Path) -> None:
    description = read(tmp_path, BRIGHT_SPOT.replace(", pad: 0", ""))
    assert description.input.pad == 114 and description.input.std == (1, 1, 1) and description.nms_iou == 0.6
    assert description.dense is not None and description.dense.objectness_channel is None


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("channels: rgb", "channels: grb", "channels is 'grb', and must be one of rgb, bgr"),
        ("channels: rgb", "chanels: rgb", "unknown setting 'input.chanels'"),
        ("channels: rgb, ", "", "input.channels is missing, and must be one of rgb, bgr"),
        ("strides: [8, 16]", "strides: [8, 0]", "at least 1"),
        ("strides: [8, 16]", "strides: []", "a list of 1 to 8"),
        ("pad: 0", "pad: 256", "at most 255"),
        ("pad: 0", "std: [1, 1, 0]", "above 0"),
        ("pad: 0", "dtype: uint8, mean: [1, 2, 3]", "uint8 is given as it is"),
        ("classes: {person: 0}", "classes: {}", "classes"),
        ("classes: {person: 0}", "classes: {person: -1}", "at least 0"),
        ("dense:", "boxes: {rows: a}\ndense:", "either a section"),
        ("box: sides-pixels", "box: corners", "one of sides-pixels"),
        ("box: sides-pixels", "box: !!python/name:os.system", "not valid YAML"),
        ("first_point: 0.5", "first_point: .nan", "first_point"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in BRIGHT_SPOT
    with pytest.raises(ConfigError) as raised:
        read(tmp_path, BRIGHT_SPOT.replace(old, new))
    assert message in raised.value.message and "d.yaml" in raised.value.message
    assert raised.value.hint and "configuration.md" not in raised.value.hint


@pytest.mark.parametrize("text", ["", "- a", "3", "a: [", "\0"])
def test_what_is_no_description(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        read(tmp_path, text)


def test_neither_dense_nor_boxes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="either a section"):
        read(tmp_path, BRIGHT_SPOT.split("dense:")[0])


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    with pytest.raises(ConfigError, match="no description") as raised:
        find_description(model, None)
    assert "m.yaml" in raised.value.hint and "rtmdet" in raised.value.hint
    (tmp_path / "m.yaml").write_text(BRIGHT_SPOT)
    assert find_description(model, None) == tmp_path / "m.yaml"
    assert find_description(model, "yolox") == packaged_descriptions()["yolox"]
    assert find_description(model, str(tmp_path / "m.yaml")) == tmp_path / "m.yaml"
    with pytest.raises(ConfigError, match="yolo8") as raised:
        find_description(model, "yolo8")
    assert "yolox" in raised.value.hint
