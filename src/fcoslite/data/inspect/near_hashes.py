"""Perceptual hashes of images, and which of many lie near each other."""

from itertools import combinations, pairwise

import cv2
import numpy as np

HASH_BITS = 64
NEAR_BITS = 6  # re-encoding and scaling change fewer, and different photographs differ in more: see docs/decisions.md

_SIDE = 32  # of the small image whose frequencies are looked at
_KEPT = 8  # lowest frequencies, each way
_FLAT = 3.0  # levels of grey by which an image must differ from its mean to have anything to compare


def perceptual_hash(image_rgb: np.ndarray) -> int | None:
    """The 64-bit pHash of an image: which of its lowest 8 x 8 frequencies (DCT) are above their median.

    Args:
        image_rgb: [h, w, 3] uint8.

    Returns:
        None for an image of one colour, which would be near any other such.
    """
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    if small.std() < _FLAT:
        return None
    lowest = cv2.dct(small)[:_KEPT, :_KEPT]
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def near_groups(hashes: np.ndarray, bits: int = NEAR_BITS) -> np.ndarray:
    """Group hashes that differ in few bits, be it through others between them.

    Hashes that differ in at most `bits` bits agree in two at least of `bits` + 2 pieces. So only those are compared
    that stand side by side, once sorted by two of the pieces, and that for each pair of pieces. Memory is that of some
    columns of N, whatever the hashes are.

    Args:
        hashes: [N] uint64.
        bits: In which neighbours differ at most, 0 to 30.

    Returns:
        [N] int64, the first position of each one's group.
    """
    values, first, place = np.unique(hashes, return_index=True, return_inverse=True)
    groups = np.arange(len(values))
    borders = np.linspace(0, HASH_BITS, bits + 3).astype(int).tolist()
    pieces = [((1 << high) - 1) ^ ((1 << low) - 1) for low, high in pairwise(borders)]
    for one, other in combinations(pieces, 2):
        _join_alike(groups, values, np.uint64(one | other), bits)
    firsts = np.full(len(values), len(hashes))
    np.minimum.at(firsts, groups, first)
    return np.asarray(firsts[groups][place], np.int64)


def _join_alike(groups: np.ndarray, values: np.ndarray, mask: np.uint64, bits: int) -> None:
    """Join near values of those that agree in all bits of the mask."""
    keys = values & mask
    order = np.argsort(keys, kind="stable")
    keys, values = keys[order], values[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    run = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(keys))))
    at = np.arange(len(values))
    for offset in range(1, len(values)):
        if offset.bit_count() == 1:  # now and then: runs that are one group by now, as those of a fixed camera soon are
            known = groups[order]
            apart = np.minimum.reduceat(known, starts) != np.maximum.reduceat(known, starts)
            at = at[apart[run[at]]]
        at = at[: np.searchsorted(at, len(values) - offset)]
        at = at[run[at] == run[at + offset]]
        if not len(at):
            return
        near = at[np.bitwise_count(values[at] ^ values[at + offset]) <= bits]
        _join(groups, order[near], order[near + offset])


def _join(groups: np.ndarray, these: np.ndarray, those: np.ndarray) -> None:
    """Make one group of those that two members are of; a group is known by its lowest member."""
    while True:
        apart = groups[these] != groups[those]
        these, those = these[apart], those[apart]
        if not len(these):
            return
        pair = np.stack([groups[these], groups[those]])
        np.minimum.at(groups, pair.max(axis=0), pair.min(axis=0))
        while (groups[groups] != groups).any():
            groups[:] = groups[groups]
