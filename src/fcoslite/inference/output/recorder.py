"""A recorder that hands results to whatever saves them, in a thread of its own."""

import logging
import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol

from fcoslite.inference.channel import Channel
from fcoslite.inference.detect import FrameResult

_QUEUED = 4  # frames waiting to be drawn and encoded

logger = logging.getLogger("fcoslite.inference")


class Writer(Protocol):
    """Something results are written to; nothing is created before the first."""

    def write(self, result: FrameResult) -> None:
        """Add one result."""

    def close(self) -> None:
        """Complete the file."""


class Recorder:
    """Hands results to writers in a thread, so that drawing and encoding overlap with the model.

    Use it in `with`: leaving it writes what is still queued and closes every writer, whatever happened.
    """

    def __init__(self, writers: Sequence[Writer]) -> None:
        self._writers = writers
        self._channel: Channel[FrameResult] = Channel(_QUEUED)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="fcoslite-recorder", daemon=True)
        self._thread.start()

    def put(self, result: FrameResult) -> None:
        """Queue a result, waiting for room.

        Raises:
            FcosliteError: A writer failed.
            OSError: A writer failed.
        """
        if not self._channel.put(result):
            self._finish()

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._finish()
        except Exception as failed:
            if error is None:
                raise
            if failed is not error:  # the first one is what the user needs to hear; an interrupt stays one
                logger.warning("saving failed: %s", failed)

    def _finish(self) -> None:
        self._channel.finish()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _write_all(self) -> None:
        try:
            while (result := self._channel.get()) is not None:
                for writer in self._writers:
                    writer.write(result)
        except BaseException as error:  # raised again in the thread that waits for it
            self._error = error
        finally:
            self._channel.close()
            self._close_writers()

    def _close_writers(self) -> None:
        for writer in self._writers:
            try:
                writer.close()
            except Exception as error:  # a full disk fails closing too; the others must still be closed
                self._error = self._error or error
