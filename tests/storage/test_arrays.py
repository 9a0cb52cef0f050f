"""Files of arrays, whoever has made them: read whole or refused, within bounds, and nothing in them is run."""

import io
import json
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.errors import WeightsError
from fcoslite.storage.arrays import read_arrays, read_header, write_arrays

ARRAYS = {
    "backbone_stem_conv/kernel": np.arange(24, dtype="float32").reshape(2, 3, 4),
    "half": np.linspace(0, 1, 7).astype("float16"),
    "by_columns": np.asfortranarray(np.arange(6, dtype="float64").reshape(2, 3)),
    "scalar": np.float32(5.0),
    "empty": np.zeros((0, 3), "float32"),
    "seed": np.array([1, 2], "uint32"),
    "flag": np.array([True, False]),
}


def _bytes(folder: Path) -> bytes:
    write_arrays(folder / "whole.npz", ARRAYS, {"kind": "test", "epoch": 5})
    return (folder / "whole.npz").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return _bytes(tmp_path_factory.mktemp("arrays"))


def _assert_whole(arrays: dict[str, np.ndarray], header: dict) -> None:
    assert header == {"format": 1, "kind": "test", "epoch": 5}
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert (arrays[name].dtype, arrays[name].shape) == (array.dtype, array.shape)


def test_what_was_written_comes_back(tmp_path, whole):
    path = tmp_path / "whole.npz"
    path.write_bytes(whole)
    _assert_whole(*read_arrays(path))
    assert read_header(path)["epoch"] == 5
    with np.load(path) as opened:  # any Numpy reads it
        assert set(opened.files) == {*ARRAYS, "fcoslite"}


changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=4)


@given(changes=changes, cut=st.just(1.0) | st.floats(0, 1), tail=st.binary(max_size=30))
def test_a_damaged_file_is_refused_or_read_unharmed(tmp_path_factory, whole, changes, cut, tail):
    data = bytearray(whole)
    for place, flip in changes:
        data[int(place * len(data))] ^= flip
    path = tmp_path_factory.getbasetemp() / "mutated.npz"
    path.write_bytes(bytes(data[: int(cut * len(data))]) + tail)
    try:
        arrays, header = read_arrays(path)
    except WeightsError as error:
        assert str(path) in error.message and error.hint
    else:
        _assert_whole(arrays, header)


def test_found_by_chance_an_array_that_damage_hides(whole, tmp_path):
    directory = whole.index(b"PK\x01\x02")
    last = whole.rindex(b"PK\x01\x02")
    before = whole.rindex(b"PK\x01\x02", directory, last)
    data = bytearray(whole)
    data[before + 32 : before + 34] = struct.pack("<H", last + 46 + len("flag.npy") - before - 46 - len("seed.npy"))
    path = tmp_path / "hidden.npz"
    path.write_bytes(bytes(data))  # the entry of `flag` has become the comment of the one before
    with zipfile.ZipFile(path) as archive:
        assert "flag.npy" not in archive.namelist() and "seed.npy" in archive.namelist()
    with pytest.raises(WeightsError, match="belongs to none"):
        read_arrays(path)


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any.npz"
    path.write_bytes(data)
    with pytest.raises(WeightsError):
        read_arrays(path)


# --- made to do harm

Members = list[tuple[str, bytes]]


def _array(array: np.ndarray, **changes: str) -> bytes:
    """An array's member, with words of its description replaced."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    data = buffer.getvalue()
    for old, new in changes.items():
        description = data[10 : data.index(b"\n")]
        changed = description.replace(old.replace("_", " ").encode(), new.encode()).rstrip()
        assert changed != description.rstrip()
        data = data[:8] + (len(changed) + 1).to_bytes(2, "little") + changed + data[data.index(b"\n") :]
    return data


def _header(text: str = '{"format": 1}') -> tuple[str, bytes]:
    return "fcoslite.npy", _array(np.array(text))


class _Canary:
    """Unpickled, it leaves a file."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return _touch, ("canary",)


def _touch(name: str) -> None:
    Path(name).touch()


def _pickled() -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "|O", "fortran_order": False, "shape": (1,)})
    return buffer.getvalue() + pickle.dumps(_Canary())


FLOATS = np.zeros(4, "float32")
HOSTILE: dict[str, Members] = {
    "pickled array": [_header(), ("a.npy", _pickled())],
    "pickled header": [("fcoslite.npy", _pickled())],
    "pickle alone": [_header(), ("a.npy", pickle.dumps(_Canary()))],
    "code as a shape": [
        _header(),
        ("a.npy", _array(FLOATS, **{"(4,)": "(__import__('pathlib').Path('canary').touch(),)"})),
    ],
    "huge shape": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": "(1000000000000,)"}))],
    "overflowing shape": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": f"({2**40}, {2**40}, 0)"}))],
    "negative shape": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": "(-2, -2)"}))],
    "shape of floats": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": "(4.0,)"}))],
    "nested shape": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": "(" * 3000}))],
    "long sum as shape": [_header(), ("a.npy", _array(FLOATS, **{"(4,)": "-" * 8000 + "4"}))],
    "complex": [_header(), ("a.npy", _array(np.zeros(2, "complex64")))],
    "text": [_header(), ("a.npy", _array(np.array(["a", "b"])))],
    "structure": [_header(), ("a.npy", _array(np.zeros(2, [("x", "f4")])))],
    "time": [_header(), ("a.npy", _array(np.zeros(2, "datetime64[s]")))],
    "longer than its shape": [_header(), ("a.npy", _array(FLOATS) + b"1234")],
    "shorter than its shape": [_header(), ("a.npy", _array(FLOATS)[:-1])],
    "no array": [_header(), ("a.npy", b"")],
    "a file beside": [_header(), ("readme.txt", b"hello")],
    "path": [_header(), ("../../canary\x1b[2J.npy", _array(FLOATS))],
    "long name": [_header(), ("a" * 10_000 + ".npy", _array(FLOATS))],
    "no name": [_header(), (".npy", _array(FLOATS))],
    "twice": [_header(), ("a.npy", _array(FLOATS)), ("a.npy", _array(FLOATS))],
    "two headers": [_header(), _header()],
    "header is a list": [_header("[1]")],
    "header is a number": [_header("1")],
    "header is no JSON": [_header("{")],
    "header is nested": [_header("[" * 100_000)],
    "header is long": [_header(json.dumps({"format": 1, "x": "y" * 2_000_000}))],
    "header without format": [_header("{}")],
    "another format": [_header('{"format": "' + "\x1b" * 1000 + '"}')],
    "header of numbers": [("fcoslite.npy", _array(FLOATS))],
    "several headers": [("fcoslite.npy", _array(np.array(["a", "b"])))],
    "nothing": [],
}


def _pack(path: Path, members: Members, **options: int) -> None:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, data in members:
            archive.writestr(name, data)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("members", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_in_little_memory(tmp_path, monkeypatch, members):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "hostile.npz"
    _pack(path, members)
    tracemalloc.start()
    try:
        with pytest.raises(WeightsError) as caught:
            read_arrays(path)
        assert tracemalloc.get_traced_memory()[1] < 4 * path.stat().st_size + 5_000_000
    finally:
        tracemalloc.stop()
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 1000
    assert [file.name for file in tmp_path.iterdir()] == ["hostile.npz"]  # nothing was run, nothing unpacked


def test_a_bomb_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.npz"
    _pack(path, [_header(), ("a.npy", _array(np.zeros(10_000_000, "float32")))], compression=zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    with pytest.raises(WeightsError, match="compressed"):
        read_arrays(path)


def test_members_may_not_share_their_bytes(tmp_path):
    """A file of a few bytes could otherwise grow with every name that it gives them."""
    path = tmp_path / "overlap.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(*_header())
        archive.writestr("a.npy", _array(np.zeros(1000, "float32")))
        member = archive.getinfo("a.npy")
        for _ in range(50):
            archive.filelist.append(member)
            archive.filelist[-1] = clone = zipfile.ZipInfo(f"b{len(archive.filelist)}.npy")
            for key in ("header_offset", "CRC", "file_size", "compress_size"):
                setattr(clone, key, getattr(member, key))
    with pytest.raises(WeightsError, match="larger than the file"):
        read_arrays(path)


def test_a_file_too_large_is_not_even_opened(tmp_path):
    path = tmp_path / "sparse.npz"
    with path.open("wb") as file:
        file.truncate(5 * 2**30)  # takes no space
    with pytest.raises(WeightsError, match="too many"):
        read_arrays(path)


def test_not_a_file(tmp_path):
    for path in (tmp_path, tmp_path / "none.npz"):
        with pytest.raises(WeightsError, match="no weights at"):
            read_arrays(path)
