"""Whether something moves."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.camera.motion import Look, Motion
from tests.walks import walk_pictures


def looks(demo_data: Path, plan: list[tuple[str, float]], motion: Motion | None = None) -> list[Look]:
    motion = motion or Motion()
    pictures = list(walk_pictures(demo_data, plan))[::2]
    return [motion.look(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)) for picture in pictures]


def test_who_walks_moves_and_noise_does_not(demo_data: Path) -> None:
    seen = looks(demo_data, [("quiet", 6), ("walk", 6), ("quiet", 4)])
    assert [look.warm for look in seen] == [False] * 10 + [True] * 70
    assert not any(look.moved for look in seen[:30])
    assert np.mean([look.moved for look in seen[31:60]]) > 0.95
    # where somebody stood at the end is soon background again
    assert not any(look.moved for look in seen[62:])
    assert {look.silhouette is None for look in seen if not look.moved} == {True}
    silhouettes = [look.silhouette for look in seen if look.moved]
    assert len(set(silhouettes)) > 0.8 * len(silhouettes)


def test_a_single_broken_picture_does_not_move(demo_data: Path) -> None:
    motion = Motion()
    looks(demo_data, [("quiet", 6)], motion)
    picture = cv2.cvtColor(next(walk_pictures(demo_data, [("quiet", 1)])), cv2.COLOR_BGR2RGB)
    broken = picture.copy()
    broken[200:] = 128
    assert [motion.look(one).moved for one in (broken, picture, picture)] == [False] * 3
    assert [motion.look(one).moved for one in (broken, broken)] == [False, True]


@pytest.mark.parametrize("size", [(64, 48), (1920, 1080), (48, 640)])
def test_another_size_is_learned_anew(demo_data: Path, size: tuple[int, int]) -> None:
    motion = Motion()
    looks(demo_data, [("quiet", 4)], motion)
    picture = cv2.resize(next(walk_pictures(demo_data, [("quiet", 1)])), size)
    seen = [motion.look(picture) for _ in range(12)]
    assert [look.warm for look in seen] == [False] * 10 + [True] * 2
    assert not any(look.moved for look in seen)
