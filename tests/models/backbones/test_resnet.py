"""Keras' own weights files, hostile ones too."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcoslite.errors import WeightsError
from fcoslite.models.backbones.resnet import check_keras_file, resnet50


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "weights.h5"


def test_plain_weights_pass(path):
    with h5py.File(path, "w") as file:
        file.create_group("conv1").create_dataset("kernel", data=np.zeros((3, 3), "float32"))
        file.attrs["layer_names"] = [b"conv1"]
    check_keras_file(path)


def _external_link(file: h5py.File) -> None:
    file["conv1"] = h5py.ExternalLink("/etc/other.h5", "/")


def _soft_link(file: h5py.File) -> None:
    file.create_group("a")["b"] = h5py.SoftLink("/")


def _external_values(file: h5py.File) -> None:
    file.create_dataset("kernel", (4,), "uint8", external=[("/etc/hostname", 0, 4)])


def _virtual_values(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "float32")
    layout[:] = h5py.VirtualSource("/etc/other.h5", "x", (4,))
    file.create_virtual_dataset("kernel", layout)


def _huge(file: h5py.File) -> None:
    file.create_dataset("kernel", (10**6, 10**6), "float32", chunks=(1000, 1000), compression="gzip")


def _many_names(file: h5py.File) -> None:
    data = file.create_dataset("kernel", (10**7,), "float32", chunks=(10**6,))
    for number in range(10):
        file[f"again{number}"] = data


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_external_link, "leads elsewhere"),
        (_soft_link, "leads elsewhere"),
        (_external_values, "keeps its values elsewhere"),
        (_virtual_values, "keeps its values elsewhere"),
        (_huge, "more than"),
        (_many_names, "more than"),
    ],
)
def test_what_leads_elsewhere_or_grows_is_refused(path, harm, message):
    with h5py.File(path, "w") as file:
        harm(file)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(WeightsError, match=message):
        check_keras_file(path)


def test_groups_may_hold_each_other(path):
    with h5py.File(path, "w") as file:
        group = file.create_group("a")
        group["a"] = group
    check_keras_file(path)


@settings(derandomize=True)  # a library in C reads it: no test should end the others on a day of its choice
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), max_size=4), st.floats(0.2, 1))
def test_a_damaged_file_passes_or_is_refused(tmp_path_factory, changes, cut):
    path = tmp_path_factory.getbasetemp() / "damaged.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("kernel", data=np.zeros((3, 3), "float32"))
    data = bytearray(path.read_bytes())
    for place, flip in changes:
        data[int(place * len(data))] ^= flip
    path.write_bytes(data[: int(cut * len(data))])
    try:
        check_keras_file(path)
    except WeightsError as error:
        assert error.hint


def test_what_is_no_keras_file_is_refused_by_the_backbone(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = keras.Input((128, 128, 3))
    path.write_bytes(b"not HDF5" * 100)
    Path("imagenet").write_text("a name that Keras would download")
    Path("model.keras").write_bytes(b"PK")
    with h5py.File("foreign.h5", "w") as file:
        file.create_dataset("kernel", data=np.zeros((3, 3), "float32"))
    with h5py.File("other.h5", "w") as file:
        file.attrs["layer_names"] = 5
    for name in (str(path), "imagenet", "model.keras", "nothing.h5", str(tmp_path), "foreign.h5", "other.h5"):
        with pytest.raises(WeightsError, match=Path(name).name) as caught:
            resnet50(images, name)
        assert caught.value.hint
