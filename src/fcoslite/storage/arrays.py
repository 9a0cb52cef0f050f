"""The file under weights and training states: a zip of plain arrays by name (`.npz`), and a header in JSON.

Every member has a checksum, and any Numpy opens it. What comes from strangers is bounded: nothing in the file can
execute, nothing is unpacked to the disk, and reading takes no more memory than the file is long.
"""

import io
import json
import math
import struct
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from fcoslite.errors import WeightsError
from fcoslite.storage.files import replace_file

_HEADER = "fcoslite"
_FORMAT = 1
_LARGEST = 4 * 2**30  # bytes; six times the training state of our largest model
_LONGEST_HEADER = 2**20  # characters
_LONGEST_NAME = 200
_NUMBERS = "fiub"  # kinds of dtype: floats, integers, Booleans


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], header: Mapping[str, Any]) -> None:
    """Write arrays and a header so that `path` is at all times either the old file or the whole new one."""
    text = json.dumps({"format": _FORMAT, **header})
    buffer = io.BytesIO()
    # the stub of np.savez takes a mapping of arrays for a mapping of flags
    np.savez(buffer, **{_HEADER: np.array(text)}, **arrays)  # type: ignore[arg-type]
    replace_file(path, buffer.getvalue())


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what `write_arrays` wrote.

    Returns:
        The arrays by name, and the header.

    Raises:
        WeightsError: The file is missing, damaged or not ours.
    """
    with _opened(path) as (archive, members):
        header = _parse_header(_read(archive, members.pop(_HEADER), "U"))
        arrays = {name: _read(archive, member, _NUMBERS) for name, member in members.items()}
    return arrays, header


def read_header(path: Path) -> dict[str, Any]:
    """Read the header alone.

    Raises:
        WeightsError: The file is missing, damaged or not ours.
    """
    with _opened(path) as (archive, members):
        return _parse_header(_read(archive, members[_HEADER], "U"))


@contextmanager
def _opened(path: Path) -> Iterator[tuple[zipfile.ZipFile, dict[str, zipfile.ZipInfo]]]:
    """An archive and its members by name; whatever is found wrong with it becomes a WeightsError."""
    if not path.is_file():
        raise WeightsError(f"no weights at {path}", "give a .npz file or a run directory")
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"{size:,} bytes are too many")
        with zipfile.ZipFile(path) as archive:
            if f"{_HEADER}.npy" not in archive.namelist():
                raise WeightsError(
                    f"{path} is not a weights file of fcoslite",
                    "of other files, only TensorFlow's checkpoints of old can be brought in, by "
                    "fcoslite.models.import_checkpoint",
                )
            yield archive, _members(archive, size)
    except WeightsError:
        raise
    except Exception as error:  # the parsers of zip, of arrays and of JSON raise whatever their input leads them to
        raise WeightsError(f"{path} cannot be read: {error}", "the file is damaged or of another format") from None


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    members: dict[str, zipfile.ZipInfo] = {}
    for member in archive.infolist():
        name = member.filename.removesuffix(".npy")
        if not (name.isascii() and name.isprintable() and 0 < len(name) <= _LONGEST_NAME):
            raise ValueError(f"{name[:_LONGEST_NAME]!a} is no name of an array")
        if name in members:
            raise ValueError(f"it holds {name} twice")
        if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
            raise ValueError(f"{name} is compressed or encrypted, which weights of fcoslite are not")
        members[name] = member
    if sum(member.file_size for member in members.values()) > size:
        raise ValueError("its members are larger than the file")
    _refuse_gaps(archive)
    return members


def _refuse_gaps(archive: zipfile.ZipFile) -> None:
    """Refuse a directory in which damage hides a member: its bytes are then between those of the others."""
    assert archive.fp is not None
    end = 0
    for member in sorted(archive.infolist(), key=lambda one: one.header_offset):
        if member.header_offset != end:
            break
        # APPNOTE.TXT of PKWARE, section 4.3.7: a header of 30 bytes, which ends in the lengths of what follows it
        archive.fp.seek(member.header_offset + 26)
        end += 30 + sum(struct.unpack("<HH", archive.fp.read(4))) + member.compress_size
    if end != archive.start_dir:
        raise ValueError(f"byte {end} belongs to none of its members")


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, kinds: str) -> np.ndarray:
    """One array; its data must be as long as its shape says, and of one of the kinds of dtype."""
    with archive.open(member) as file:
        version = npy.read_magic(file)
        if version != (1, 0):
            raise ValueError(f"{member.filename} has an unknown version of array")
        shape, by_columns, dtype = npy.read_array_header_1_0(file)
        if dtype.kind not in kinds:
            raise ValueError(f"{member.filename} holds {dtype}")
        size = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or size != member.file_size - file.tell():
            raise ValueError(f"{member.filename} is not as long as its shape {shape} says")
        return np.ndarray(shape, dtype, file.read(), order="F" if by_columns else "C")


def _parse_header(text: np.ndarray) -> dict[str, Any]:
    if text.shape != () or text.dtype.itemsize > 4 * _LONGEST_HEADER:  # 4 bytes a character
        raise ValueError("its header is no text, or too long")
    header = json.loads(str(text))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    if header.get("format") != _FORMAT:
        raise ValueError(f"its format is {str(header.get('format'))[:20]!a}, and we read {_FORMAT}")
    return header
