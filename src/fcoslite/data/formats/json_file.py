"""JSON files as typed trees, decoded from the mapped file; errors name the byte or the place in the tree."""

import codecs
import mmap
import re
import sys
from pathlib import Path
from typing import TypeVar

import msgspec

from fcoslite.errors import DataError
from fcoslite.storage.files import file_size
from fcoslite.storage.places import is_file, is_remote, read_bytes

_UTF8_CHUNK = 1 << 24

_Document = TypeVar("_Document")


class OtherTreeError(DataError):
    """A JSON file that is not of the form that was expected."""


def decode_json(path: Path, form: type[_Document], what: str, hint: str) -> _Document:
    """Decode a file.

    Args:
        path: The file.
        form: The type of the tree, as msgspec has it; what it does not name is skipped without being built.
        what: The file should be, such as `a COCO instances file`.
        hint: What such a file needs.

    Raises:
        OtherTreeError: It is JSON, but another tree.
        DataError: It is missing, or not JSON.
    """
    if not is_file(path):
        raise DataError(f"no annotation file at {path}", "it is a JSON file, such as instances_train2017.json")
    if file_size(path) == 0:
        raise DataError(f"{path} is empty", "download or write it again")
    content = read_bytes(path) if is_remote(path) else _content(path)
    _check_utf8(content, path)
    start = len(codecs.BOM_UTF8) if content[:3] == codecs.BOM_UTF8 else 0
    try:
        return msgspec.json.decode(memoryview(content)[start:], type=form)
    except msgspec.ValidationError as error:
        raise OtherTreeError(f"{path} is not {what}: {error}", hint) from None
    except msgspec.DecodeError as error:
        raise _malformed(path, content, start, str(error)) from None
    except RecursionError:
        raise DataError(f"{path} is not {what}: it is nested too deeply", "is it damaged?") from None


def _content(path: Path) -> bytes | mmap.mmap:
    if sys.platform == "win32":  # which lets nobody replace a file that is mapped, and parts of this one are kept
        return path.read_bytes()
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _check_utf8(content: bytes | mmap.mmap, path: Path) -> None:
    # msgspec checks the text it builds only; what it passes on unread would spoil what we write
    decoder = codecs.getincrementaldecoder("utf-8")()
    for position in range(0, len(content), _UTF8_CHUNK):
        pending = len(decoder.getstate()[0])
        chunk = content[position : position + _UTF8_CHUNK]
        try:
            decoder.decode(chunk, final=position + len(chunk) == len(content))
        except UnicodeDecodeError as error:
            byte = position - pending + error.start
            raise DataError(
                f"{path} is not UTF-8 text: byte {byte} is 0x{content[byte]:02x}",
                "JSON is UTF-8: unpack an archive first, or write the file again in that encoding",
            ) from None


def _malformed(path: Path, content: bytes | mmap.mmap, start: int, problem: str) -> DataError:
    hint = "was the download complete? an archive must be unpacked first"
    found = re.fullmatch(r"(?:JSON is malformed: )?(.*) \(byte (\d+)\)", problem)
    if found is None:  # msgspec names no place where the text just ends
        return DataError(f"{path} is cut short: the JSON is not complete at its end, byte {len(content)}", hint)
    byte = start + int(found[2])
    place = bytes(content[max(0, byte - 20) : byte + 20])
    if re.match(rb"-?(NaN|Infinity)", content[byte : byte + 9]):
        hint = "JSON knows no NaN or Infinity: mend or leave out what has them"
    return DataError(f"{path} is not valid JSON at byte {byte}: {found[1]}", f"{hint}; the place: {place!r}")
