import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import seeded_order


def shuffled(image_ids: list[int], seed: int = 3, purpose: str = "test") -> list[int]:
    return [image_ids[place] for place in seeded_order(image_ids, seed, purpose).tolist()]


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=50, unique=True), st.integers(0, 5))
def test_seeded_order_does_not_depend_on_the_rest(image_ids: list[int], seed: int) -> None:
    order = shuffled(image_ids, seed)
    assert sorted(order) == sorted(image_ids)
    assert shuffled(sorted(image_ids, reverse=True), seed) == order
    without = [one for one in image_ids if one != order[0]]
    assert shuffled(without, seed) == order[1:]


def test_seeded_order_differs_by_seed_and_purpose() -> None:
    orders = [shuffled([*range(100)], seed, purpose) for seed in (0, 1) for purpose in ("a", "b")]
    assert len({tuple(order) for order in orders}) == 4


@given(st.lists(st.integers(0, 2**63 - 1), max_size=50, unique=True))
def test_seeded_order_is_that_of_the_hashes(image_ids: list[int]) -> None:
    expected = sorted(image_ids, key=lambda one: hashlib.blake2b(f"test:3:{one}".encode(), digest_size=16).digest())
    assert shuffled(image_ids) == expected
    assert seeded_order(np.array(image_ids, np.int64), 3, "test").tolist() == list(map(image_ids.index, expected))
