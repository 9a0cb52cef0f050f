"""Hashes: near ones are grouped as comparing all pairs groups them, and copies of a photograph are near."""

import time
from itertools import combinations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.images import encode_picture, read_image
from fcoslite.data.inspect.near_hashes import NEAR_BITS, near_groups, perceptual_hash


def by_all_pairs(hashes: list[int], bits: int) -> list[int]:
    """First of each one's group, found by comparing everything with everything."""
    groups = list(range(len(hashes)))
    for one, value in enumerate(hashes):
        for other in range(one):
            if (value ^ hashes[other]).bit_count() <= bits and groups[one] != groups[other]:
                low, high = sorted((groups[one], groups[other]))
                groups = [low if group == high else group for group in groups]
    return groups


@st.composite
def hashes_near_each_other(draw: st.DrawFn) -> list[int]:
    """Some hashes, and others that differ from one before in a few bits."""
    made = draw(st.lists(st.integers(0, 2**64 - 1), max_size=4))
    for _ in range(draw(st.integers(0, 20)) if made else 0):
        value = draw(st.sampled_from(made))
        for bit in draw(st.lists(st.integers(0, 63), max_size=9)):
            value ^= 1 << bit
        made.append(value)
    return draw(st.permutations(made))


@given(hashes_near_each_other(), st.integers(0, 8))
def test_groups_are_those_of_all_pairs(hashes, bits):
    assert near_groups(np.array(hashes, np.uint64), bits).tolist() == by_all_pairs(hashes, bits)


@given(st.lists(st.integers(0, 255), max_size=60), st.integers(0, 56), st.integers(0, 3))
def test_hashes_that_agree_in_most_bits_are_grouped_rightly(values, shift, bits):
    hashes = [value << shift for value in values]
    assert near_groups(np.array(hashes, np.uint64), bits).tolist() == by_all_pairs(hashes, bits)


@pytest.mark.parametrize("count", [2, 60_000])
def test_a_chain_is_one_group(count):
    # each differs from the next in one bit, as pictures of a video do
    chain = np.bitwise_xor.accumulate(np.uint64(1) << np.arange(count, dtype=np.uint64) % np.uint64(64))
    assert not near_groups(chain, 1).any()


def test_a_hundred_thousand_take_seconds():
    """All pairs of these would be five thousand million."""
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**64, 100_000, np.uint64)
    hashes[70_000:] = hashes[:30_000] ^ (np.uint64(0b111) << rng.integers(0, 61, 30_000, np.uint64))
    began = time.process_time()
    groups = near_groups(hashes)
    assert time.process_time() - began < 30
    expected = np.concatenate([np.arange(70_000), np.arange(30_000)])
    assert (groups == expected).mean() > 0.9999  # chance brings others together


def test_thousands_that_are_all_alike_take_seconds():
    """As of a camera that stands still: every pair is near, and stands side by side under many masks."""
    flips = [sum(1 << bit for bit in bits) for bits in combinations(range(64), 3)]
    hashes = np.random.default_rng(0).permutation(np.array(flips, np.uint64))
    began = time.process_time()
    assert not near_groups(hashes).any()
    assert time.process_time() - began < 20


@pytest.fixture(scope="module")
def photographs(demo_data) -> list[np.ndarray]:
    return [read_image(path) for path in sorted((demo_data / "images").iterdir())]


def re_encoded(image: np.ndarray) -> np.ndarray:
    jpeg = np.frombuffer(encode_picture(image, ".jpg", jpeg_quality=30), np.uint8)
    return cv2.cvtColor(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def halved(image: np.ndarray) -> np.ndarray:
    return cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)


def lighter(image: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(image, alpha=0.9, beta=12)


@pytest.mark.parametrize("change", [re_encoded, halved, lighter])
def test_a_changed_photograph_is_near_itself_and_no_other(change, photographs):
    hashes = [perceptual_hash(image) for image in photographs]
    for image, own in zip(photographs, hashes, strict=True):
        changed = perceptual_hash(change(image))
        distances = [(changed ^ other).bit_count() for other in hashes]
        assert (changed ^ own).bit_count() <= NEAR_BITS
        assert sum(distance <= NEAR_BITS for distance in distances) == 1


def test_an_image_of_one_colour_has_no_hash():
    assert perceptual_hash(np.full((40, 60, 3), 90, np.uint8)) is None
