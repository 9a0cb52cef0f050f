"""Arrays decoded some items at a time: the same items, wherever the pieces end."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

import fcoslite.data.formats.json_pieces as json_pieces
from fcoslite.data.formats.json_pieces import decoded_in_pieces

# what looks like the end of an item, within text and within items
TEXT = st.text() | st.sampled_from(["},{", "} , {", '"},{', "\\", "\\\\},{", "]", "{"])
INNER = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
ITEMS = st.lists(st.dictionaries(TEXT, INNER, max_size=4), max_size=12)


class Box(msgspec.Struct):
    id: int


@pytest.fixture(autouse=True, scope="module")
def _small_pieces() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_pieces, "_PIECE", 8)
        yield


@given(ITEMS, st.sampled_from([None, 1]))
def test_the_items_are_those_of_the_whole(items: list[dict[str, Any]], indent: int | None) -> None:
    array = Raw(json.dumps(items, indent=indent).encode())
    found = [item for piece in decoded_in_pieces(array, dict) for item in piece]
    assert found == items


def test_there_are_several_pieces() -> None:
    array = Raw(msgspec.json.encode([Box(number) for number in range(100)]))
    pieces = [*decoded_in_pieces(array, Box)]
    assert len(pieces) > 40 and [box.id for piece in pieces for box in piece] == [*range(100)]


@pytest.mark.parametrize("place", [0, 50, 99])
@pytest.mark.parametrize("wrong", ['{"id":"a"}', '{"id":null,"a":[{},{}]}', "{}", "7", "null", "[]"])
def test_an_item_of_another_form_is_told(wrong: str, place: int) -> None:
    items = ['{"id":1,"a":[{},{}]}'] * 100
    items[place] = wrong
    with pytest.raises(msgspec.ValidationError):
        list(decoded_in_pieces(Raw(f"[{','.join(items)}]".encode()), Box))


@pytest.mark.parametrize("array", ["null", '{"id":1}', '"' + "x" * 99 + '"', json.dumps({"a": [{"id": 1}] * 30})])
def test_what_is_no_array_is_told(array: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        list(decoded_in_pieces(Raw(array.encode()), Box))
