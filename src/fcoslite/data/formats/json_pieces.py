"""A JSON array of objects, decoded some at a time: the whole of one that is gigabytes long would fill the memory."""

import re
from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import Raw

_PIECE = 1 << 20  # bytes
_BETWEEN = re.compile(rb"\}[ \t\n\r]*,[ \t\n\r]*(?=\{)")

Item = TypeVar("Item")


def decoded_in_pieces(array: Raw, form: type[Item]) -> Iterator[list[Item]]:
    """Decode the items of an array.

    Args:
        array: Valid JSON, as msgspec has found it.
        form: The type of its items, as msgspec has it.

    Yields:
        Some of them, in order.

    Raises:
        msgspec.ValidationError: It is no array of these; its place is within the piece, not within the array.
    """
    content = memoryview(array)
    decoder = msgspec.json.Decoder(list[form])  # type: ignore[valid-type]
    if len(content) <= 2 * _PIECE or content[:1] != b"[":
        yield decoder.decode(content)
        return
    start, end, length = 1, len(content) - 1, _PIECE
    while start < end:
        # what looks like the end of an item may be within one, or within text: then what comes before is cut short,
        # which is no JSON, and the next that is twice as far is tried
        between = _BETWEEN.search(content, min(start + length, end), end)
        cut = between.start() + 1 if between else end
        try:
            items = decoder.decode(b"".join((b"[", content[start:cut], b"]")))
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if between is None:
                raise
            length *= 2
            continue
        yield items
        start, length = between.end() if between else end, _PIECE
