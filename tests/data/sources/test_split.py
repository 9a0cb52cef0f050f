import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.config.settings import DataSettings
from fcoslite.data.sources.split import split
from fcoslite.errors import DataError


def test_the_missions_forty_thousand():
    parts = split(40_000, DataSettings())
    assert parts.validation == range(1200)
    assert [len(chunk) for chunk in parts.chunks] == [10_000, 10_000, 10_000, 8_800]


def test_small_sets_validate_on_a_fifth_and_make_four_chunks():
    parts = split(51, DataSettings())
    assert (len(parts.validation), len(parts.training)) == (10, 41)
    assert [len(chunk) for chunk in parts.chunks] == [11, 11, 11, 8]


@given(st.integers(1, 100_000), st.integers(0, 3000), st.integers(1, 20_000))
def test_nothing_is_lost_or_used_twice(count, validation, chunk):
    parts = split(count, DataSettings(validation_records=validation, chunk_records=chunk))
    positions = [*parts.validation, *(position for part in parts.chunks for position in part)]
    assert positions == list(range(count))
    assert parts.chunk(None) == parts.training
    assert all(len(part) for part in parts.chunks)


def test_errors():
    with pytest.raises(DataError, match="no image"):
        split(0, DataSettings())
    parts = split(50, DataSettings())
    assert parts.chunk(4) == parts.chunks[3]
    for number in (0, 5):
        with pytest.raises(DataError, match="no chunk"):
            parts.chunk(number)
