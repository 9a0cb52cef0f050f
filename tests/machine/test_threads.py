import random
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from fcoslite.machine.threads import map_in_order


def test_results_come_in_the_order_of_the_items() -> None:
    rng = random.Random(0)
    pauses = [rng.uniform(0, 0.01) for _ in range(40)]

    def pause(number: int) -> int:
        time.sleep(pauses[number])
        return number

    assert list(map_in_order(pause, range(40), workers=4)) == list(range(40))


@pytest.mark.parametrize("ahead", [1, 3])
def test_no_more_items_are_taken_than_may_wait(ahead: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    for number in map_in_order(int, items(), workers=2, ahead=ahead):
        assert len(taken) <= number + 1 + 2 * ahead


def test_items_are_worked_on_at_the_same_time() -> None:
    together = threading.Barrier(2, timeout=10)
    assert len(list(map_in_order(lambda _: together.wait(), range(6), workers=2, ahead=1))) == 6


def test_items_that_fail_lose_nothing_that_came_before() -> None:
    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("no more")

    found: list[int] = []
    with pytest.raises(OSError, match="no more"):
        found.extend(map_in_order(int, items(), workers=2))  # extend keeps what came
    assert found == [0, 1, 2, 3, 4]


def test_a_function_that_fails_ends_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(map_in_order(lambda number: 1 // (3 - number), range(10), workers=2))


def test_map_in_order_is_bounded_and_ordered() -> None:
    taken = []

    def items() -> Any:
        for number in range(100):
            taken.append(number)
            yield number

    results = map_in_order(lambda number: number * 2, items(), workers=3)
    assert next(results) == 0
    assert len(taken) <= 13
    assert [next(results) for _ in range(99)] == [2 * number for number in range(1, 100)]
