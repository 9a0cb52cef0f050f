"""A bounded hand-over between two threads that ends, and fails, properly on both sides."""

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")

# Windows delivers Ctrl-C only between waits, so no wait is longer than this
_WAIT_SECONDS = 0.2


class Channel(Generic[T]):
    """Items from one sending thread to one receiving thread, in order.

    Args:
        capacity: Items held at most.
        newest: A sender never waits: where there is no room, the oldest item is dropped.
    """

    def __init__(self, capacity: int, newest: bool = False) -> None:
        self._items: deque[T] = deque(maxlen=capacity)
        self._newest = newest
        self._changed = threading.Condition()
        self._finished = False
        self._closed = False
        self._error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Hand over an item, waiting for room; False if the receiver has closed."""
        with self._changed:
            self._wait(lambda: self._closed or self._newest or len(self._items) < (self._items.maxlen or 0))
            if self._closed:
                return False
            self._items.append(item)  # a full deque drops its oldest
            self._changed.notify_all()
            return True

    def finish(self, error: BaseException | None = None) -> None:
        """The sender's last word: nothing more comes; the receiver meets `error` after the last item."""
        with self._changed:
            self._finished = True
            self._error = error
            self._changed.notify_all()

    def peek(self, timeout_seconds: float | None = None) -> T | None:
        """Wait for the next item and leave it there; None at the end.

        Raises:
            TimeoutError: Nothing came in time.
            BaseException: What the sender finished with.
        """
        with self._changed:
            self._wait(lambda: bool(self._items) or self._finished or self._closed, timeout_seconds)
            if self._items:
                return self._items[0]
            if self._error is not None and not self._closed:
                raise self._error
            return None

    def get(self) -> T | None:
        """Wait for the next item and take it; None at the end.

        Raises:
            BaseException: What the sender finished with.
        """
        with self._changed:
            item = self.peek()
            if item is not None:
                self._items.popleft()  # still the peeked one: the lock is held since
                self._changed.notify_all()
            return item

    def close(self) -> None:
        """The receiver's last word: what is held is dropped and the sender is told to stop."""
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()

    def _wait(self, ready: Callable[[], bool], timeout_seconds: float | None = None) -> None:
        waited = 0.0
        while not self._changed.wait_for(ready, _WAIT_SECONDS):
            waited += _WAIT_SECONDS
            if timeout_seconds is not None and waited >= timeout_seconds:
                raise TimeoutError
