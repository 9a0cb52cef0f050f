"""Threads that work ahead, in order. OpenCV releases the GIL, so threads decode and encode side by side."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import cv2

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], workers: int, ahead: int = 4
) -> Generator[_Result, None, None]:
    """Apply `function` in threads and yield the results in the order of the items.

    Only `ahead` results per thread wait to be taken, so memory stays bounded. An error of `items` is raised when the
    results of the items before it have been taken.
    """
    waiting: deque[Future[_Result]] = deque()
    failure: Exception | None = None
    following = iter(items)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                try:
                    item = next(following)
                except StopIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                waiting.append(pool.submit(function, item))
                if len(waiting) > ahead * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
            if failure is not None:
                raise failure
        finally:
            for future in waiting:
                future.cancel()


@contextmanager
def one_opencv_thread() -> Iterator[None]:
    """Keep OpenCV from starting threads of its own inside each of ours."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
