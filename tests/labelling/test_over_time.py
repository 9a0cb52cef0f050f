"""What stands at one place for hours."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from fcoslite.labelling.over_time import Moment, standing

TEN = datetime(2026, 11, 28, 22, 0, tzinfo=UTC)
COAT = (100.0, 50.0, 140.0, 170.0)
WALKER = (300.0, 80.0, 340.0, 200.0)


def moment(
    minute: float, *boxes: tuple[float, ...], quiet: bool = True, class_id: int = 1, score: float = 0.5
) -> Moment:
    found = np.array(boxes, np.float64).reshape(-1, 4)
    rows = len(found)
    return Moment(
        TEN + timedelta(minutes=minute), quiet, found, np.full(rows, score), np.full(rows, class_id, np.int32)
    )


def shaken(box: tuple[float, ...], seed: int) -> tuple[float, ...]:
    return tuple(np.array(box) + np.random.default_rng(seed).uniform(-3, 3, 4))


def told(moments: list[Moment]) -> list[list[bool]]:
    return [flags.tolist() for flags in standing(moments)]


def test_a_coat_is_asked_about_wherever_it_is_seen() -> None:
    quiet = [moment(20 * number, shaken(COAT, number)) for number in range(6)]
    walk = moment(35, shaken(COAT, 9), WALKER, quiet=False)
    assert told([*quiet, walk]) == [[True]] * 6 + [[True, False]]
    assert told([walk, *reversed(quiet)]) == [[True, False]] + [[True]] * 6


@pytest.mark.parametrize(
    "moments",
    [
        [moment(10 * number, COAT) for number in range(6)],  # not an hour
        [moment(0, COAT), moment(90, COAT)],  # twice only
        [moment(20 * number, *([COAT] if number in (0, 5, 11) else [])) for number in range(12)],  # seldom
        [moment(20 * number, COAT, quiet=False) for number in range(6)],  # always somebody who moves
        [moment(20 * number, tuple(np.array(COAT) + 25 * number)) for number in range(6)],  # elsewhere each time
        [moment(20 * number, COAT, class_id=1 + number % 2) for number in range(4)],  # now a dog, now a person
        [moment(20 * number, COAT, score=0.1) for number in range(6)],  # hardly taken for anybody
        [moment(20 * number) for number in range(6)],
        [],
    ],
)
def test_others_are_not(moments: list[Moment]) -> None:
    assert not any(any(flags) for flags in told(moments))


def test_a_coat_that_is_overlooked_now_and_then_is_still_one() -> None:
    moments = [moment(20 * number, *([COAT] if number % 3 else [])) for number in range(1, 9)]
    assert told(moments) == [[True] if number % 3 else [] for number in range(1, 9)]
