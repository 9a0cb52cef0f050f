from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import ImageRecord
from fcoslite.data.formats.duplicates import refuse_duplicate_categories, refuse_duplicate_ids, refuse_shared_files
from fcoslite.errors import DataError

FILE = Path("a.json")


@given(st.lists(st.integers(0, 20)))
def test_an_id_that_is_there_twice_is_named_with_its_first_two_places(ids: list[int]) -> None:
    array = np.array(ids, np.int64)
    if len(set(ids)) == len(ids):
        refuse_duplicate_ids(array, "image id", FILE, str)
        return
    twice = min(one for one in ids if ids.count(one) > 1)
    first = ids.index(twice)
    with pytest.raises(DataError) as caught:
        refuse_duplicate_ids(array, "image id", FILE, str)
    second = ids.index(twice, first + 1)
    assert caught.value.message == f"a.json uses image id {twice} twice: for {first} and {second}"


def test_categories() -> None:
    refuse_duplicate_categories([(0, "person"), (1, "Person")], FILE)
    with pytest.raises(DataError, match="category name 'x' twice: for ids 3 and 9"):
        refuse_duplicate_categories([(1, "y"), (3, "x"), (9, "x")], FILE)
    with pytest.raises(DataError, match="categories 3 and 9 differ only in spaces around them: 'x' and ' x'"):
        refuse_duplicate_categories([(1, "y"), (3, "x"), (9, " x")], FILE)
    with pytest.raises(DataError, match="category id 3 twice: for 'x' and 'z'"):
        refuse_duplicate_categories([(1, "y"), (3, "x"), (3, "z")], FILE)


def images(*pairs: tuple[int, str]) -> list[ImageRecord]:
    return [ImageRecord(number, name, 10, 10) for number, name in pairs]


def test_files() -> None:
    refuse_shared_files(images((1, "a/b.jpg"), (2, "b.jpg")), FILE)
    with pytest.raises(DataError, match=r"two images: b\.jpg, for image ids 2 and 7"):
        refuse_shared_files(images((1, "a/b.jpg"), (2, "b.jpg"), (7, "b.jpg")), FILE)
    with pytest.raises(DataError, match=r"two images: b\.jpg and \./b\.jpg, for image ids 2 and 7"):
        refuse_shared_files(images((2, "b.jpg"), (7, "./b.jpg")), FILE)
