import threading

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcoslite.inference.channel import Channel


def sender(channel: Channel[int], items: list[int], error: BaseException | None = None) -> threading.Thread:
    def send() -> None:
        for item in items:
            if not channel.put(item):
                break
        channel.finish(error)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    return thread


@settings(max_examples=50, deadline=None)
@given(items=st.lists(st.integers(), max_size=40), capacity=st.integers(1, 5))
def test_everything_arrives_in_order(items: list[int], capacity: int) -> None:
    channel: Channel[int] = Channel(capacity)
    thread = sender(channel, items)
    assert list(iter(channel.get, None)) == items
    thread.join(5)
    assert not thread.is_alive()


def test_newest_drops_the_old_and_never_waits() -> None:
    channel: Channel[int] = Channel(1, newest=True)
    sender(channel, list(range(100))).join(5)
    assert channel.get() == 99
    assert channel.get() is None


def test_the_error_comes_after_the_last_item() -> None:
    channel: Channel[int] = Channel(4)
    sender(channel, [1, 2], ValueError("broken"))
    assert [channel.get(), channel.get()] == [1, 2]
    with pytest.raises(ValueError, match="broken"):
        channel.get()


def test_closing_frees_a_waiting_sender() -> None:
    channel: Channel[int] = Channel(1)
    thread = sender(channel, [1, 2, 3])
    assert channel.peek() == 1
    channel.close()
    thread.join(5)
    assert not thread.is_alive()
    assert channel.get() is None


def test_peek_leaves_the_item_and_gives_up_in_time() -> None:
    channel: Channel[int] = Channel(1)
    with pytest.raises(TimeoutError):
        channel.peek(timeout_seconds=0.01)
    channel.put(7)
    assert channel.peek() == channel.get() == 7
