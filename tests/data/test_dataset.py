import hashlib

from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import seeded_order


@given(st.sets(st.integers(0, 10**6), min_size=2, max_size=50), st.integers(0, 5))
def test_seeded_order_does_not_depend_on_the_rest(image_ids: set[int], seed: int) -> None:
    order = seeded_order(image_ids, seed, "test")
    assert sorted(order) == sorted(image_ids)
    assert seeded_order(sorted(image_ids, reverse=True), seed, "test") == order
    without = set(image_ids) - {order[0]}
    assert seeded_order(without, seed, "test") == order[1:]


def test_seeded_order_differs_by_seed_and_purpose() -> None:
    orders = [seeded_order(range(100), seed, purpose) for seed in (0, 1) for purpose in ("a", "b")]
    assert len({tuple(order) for order in orders}) == 4


@given(st.sets(st.integers(0, 2**63 - 1), max_size=50))
def test_seeded_order_is_that_of_the_hashes(image_ids: set[int]) -> None:
    expected = sorted(image_ids, key=lambda one: hashlib.blake2b(f"test:3:{one}".encode(), digest_size=16).digest())
    assert seeded_order(image_ids, 3, "test") == expected
