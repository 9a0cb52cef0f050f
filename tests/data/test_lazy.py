"""Sequences that make their items: what a tuple of the same items does."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import ImageRecord
from fcoslite.data.lazy import LazySequence, packed, picked


@given(st.lists(st.integers()), st.slices(8), st.integers(-10, 10))
def test_it_is_what_a_list_is(items: list[int], part: slice, index: int) -> None:
    lazy = LazySequence(items.__getitem__, range(len(items)))
    assert list(lazy) == items and len(lazy) == len(items)
    assert list(lazy[part]) == items[part]
    assert (index in lazy) == (index in items) and list(reversed(lazy)) == items[::-1]
    if -len(items) <= index < len(items):
        assert lazy[index] == items[index]
    else:
        with pytest.raises(IndexError):
            lazy[index]


@given(st.lists(st.integers(), min_size=1), st.data())
def test_those_that_are_picked_may_be_picked_again(items: list[int], data: st.DataObject) -> None:
    places = st.lists(st.integers(0, len(items) - 1), min_size=1)
    first = data.draw(places)
    second = data.draw(st.lists(st.integers(0, len(first) - 1)))
    assert list(picked(picked(items, first), second)) == [items[first[place]] for place in second]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
RECORDS = st.builds(
    ImageRecord,
    st.integers(0, 2**63 - 1),
    st.text(),
    st.integers(1, 10**6),
    st.integers(1, 10**6),
    st.none() | st.text(),
    ANYTHING,
    ANYTHING,
)


@given(st.lists(RECORDS))
def test_what_is_packed_comes_out_the_same(records: list[ImageRecord]) -> None:
    assert list(packed(records, ImageRecord)) == records
