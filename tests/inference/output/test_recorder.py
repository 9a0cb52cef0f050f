import threading
from collections.abc import Callable

import numpy as np
import pytest

from fcoslite.detections.detections import Detections
from fcoslite.errors import FcosliteError
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.output.recorder import Recorder

NOBODY = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))


def result(index: int) -> FrameResult:
    return FrameResult(Frame(index, np.zeros((4, 4, 3), np.uint8), "x", 0.0), NOBODY, None)


class Notes:
    def __init__(self, on_write: Callable[[int], None] = lambda index: None) -> None:
        self.written: list[int] = []
        self.closed = 0
        self.thread = ""
        self._on_write = on_write

    def write(self, result: FrameResult) -> None:
        self.thread = threading.current_thread().name
        self._on_write(result.frame.index)
        self.written.append(result.frame.index)

    def close(self) -> None:
        self.closed += 1


def fail_at(limit: int) -> Callable[[int], None]:
    def check(index: int) -> None:
        if index >= limit:
            raise FcosliteError("disk full")

    return check


def test_everything_queued_is_written_by_every_writer_in_another_thread() -> None:
    writers = [Notes(), Notes()]
    with Recorder(writers) as recorder:
        for index in range(20):
            recorder.put(result(index))
    for writer in writers:
        assert writer.written == list(range(20))
        assert writer.closed == 1
        assert writer.thread == "fcoslite-recorder"


def test_the_queue_is_bounded() -> None:
    gate = threading.Event()
    writer = Notes(lambda index: gate.wait(10) and None)
    sent: list[int] = []

    def send() -> None:
        with Recorder([writer]) as recorder:
            for index in range(50):
                recorder.put(result(index))
                sent.append(index)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(0.2)
    assert len(sent) <= 6
    gate.set()
    thread.join(10)
    assert writer.written == list(range(50))


def test_a_failing_writer_stops_the_run_and_all_are_closed() -> None:
    good, bad = Notes(), Notes(fail_at(3))
    with pytest.raises(FcosliteError, match="disk full"), Recorder([good, bad]) as recorder:
        for index in range(1000):
            recorder.put(result(index))
    assert good.closed == bad.closed == 1
    assert max(good.written) < 20


def test_a_failure_on_the_last_frame_is_raised_on_leaving() -> None:
    with pytest.raises(FcosliteError, match="disk full"), Recorder([Notes(fail_at(0))]) as recorder:
        recorder.put(result(0))


def test_a_failure_on_closing_closes_the_others() -> None:
    class Unclosable(Notes):
        def close(self) -> None:
            raise OSError("no space left")

    last = Notes()
    with pytest.raises(OSError, match="no space left"), Recorder([Unclosable(), last]) as recorder:
        recorder.put(result(0))
    assert last.closed == 1


def test_an_interrupt_stays_one_and_the_queue_is_still_written(messages: pytest.LogCaptureFixture) -> None:
    good = Notes()
    with pytest.raises(KeyboardInterrupt), Recorder([good, Notes(fail_at(2))]) as recorder:
        for index in range(3):
            recorder.put(result(index))
        raise KeyboardInterrupt
    assert good.written == [0, 1, 2]
    assert "disk full" in messages.text
