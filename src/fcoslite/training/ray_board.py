"""A board between the process that asks for a training on Ray and those that train: an actor, which all can ask.

The first of those that train pins up how far it is; what it must know when it is started again stands there, too.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from fcoslite.errors import FcosliteError
from fcoslite.machine.signals import note_signal
from fcoslite.progress import Advance, Progress
from fcoslite.training.result import TrainingResult

_log = logging.getLogger("fcoslite")

_EVERY = 0.5  # seconds between two looks at the board
_PATIENCE = 60.0  # seconds without news


@dataclass
class News:
    """What has happened since the last look.

    Attributes:
        events: ("log", level, text); ("open", title, total, unit), ("move", amount, note) and ("close",) of bars; and
            ("again", step), before those of a process that has taken the place of another.
        heard: Whether the first process was there since.
    """

    events: list[tuple[Any, ...]] = field(default_factory=list)
    heard: bool = False


class Board:
    """The actor.

    Attributes are read by its methods only, each of which is a call over the network.
    """

    def __init__(self) -> None:
        self._news = News()
        self._signal: int | None = None
        self._run: str | None = None
        self._begun_at: int | None = None
        self._begun = 0
        self._end: TrainingResult | FcosliteError | None = None

    def tell(self, events: list[tuple[Any, ...]]) -> int | None:
        """Of the first process, with a sign of life; the number of a signal that it should answer."""
        self._news.events += events
        self._news.heard = True
        return self._signal

    def news(self) -> News:
        """What was told since the last call."""
        news, self._news = self._news, News()
        return news

    def stop(self, signal_number: int) -> None:
        """Somebody wants an end."""
        self._signal = signal_number

    def set_run(self, run: str) -> None:
        """The run was created."""
        self._run = run

    def run(self) -> str | None:
        """The run to go on with; None: there is none yet."""
        return self._run

    def begin(self, step: int) -> int:
        """All begin, from a step: how often in a row they have begun from that one."""
        if self._begun_at is not None:
            self._news.events.append(("again", step))
        self._begun = self._begun + 1 if step == self._begun_at else 1
        self._begun_at = step
        return self._begun

    def finish(self, end: TrainingResult | FcosliteError) -> None:
        """It has ended, well or with an error that would come again; the first word counts."""
        self._end = self._end or end

    def end(self) -> TrainingResult | FcosliteError | None:
        """How it has ended; None: it has not, or nobody could say."""
        return self._end


class Reporter(logging.Handler):
    """Pins up, in the first process, what is logged and how far the bars are; hears signals there.

    Args:
        board: The actor.
        ray: The module.
    """

    def __init__(self, board: Any, ray: Any) -> None:
        super().__init__(logging.INFO)
        self._board = board
        self._ray = ray
        self._guard = threading.Lock()
        self._events: list[tuple[Any, ...]] = []
        self._over = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        """A line of the log."""
        self._add("log", record.levelno, record.getMessage())

    @contextmanager
    def progress(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        """A bar, shown by the process that asked."""

        def advance(amount: int = 1, note: str = "") -> None:
            with self._guard:
                if self._events and self._events[-1][0] == "move":
                    amount += self._events.pop()[1]
                self._events.append(("move", amount, note))

        self._add("open", title, total, unit)
        try:
            yield advance
        finally:
            self._add("close")

    def _add(self, *event: Any) -> None:
        with self._guard:
            self._events.append(event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Inside, the board is told and asked all the time."""
        level = _log.level
        _log.setLevel(logging.INFO)
        _log.addHandler(self)
        thread = threading.Thread(target=self._work, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._over.set()
            thread.join()
            _log.removeHandler(self)
            _log.setLevel(level)

    def _work(self) -> None:
        noted = False
        while True:
            over = self._over.wait(_EVERY)
            with self._guard:
                events, self._events = self._events, []
            signal_number = self._ray.get(self._board.tell.remote(events))
            if signal_number is not None and not noted:
                noted = note_signal(signal_number)
            if over:
                return


class Reader:
    """Shows, in the process that asked, what the board says.

    Args:
        board: The actor.
        ray: The module.
        progress: Shows the bars.
        asked: How many workers, in the words of the command.
    """

    def __init__(self, board: Any, ray: Any, progress: Progress, asked: str) -> None:
        self._board = board
        self._ray = ray
        self._progress = progress
        self._asked = asked
        self._advances: list[tuple[Advance, ExitStack]] = []
        self._heard_at = time.monotonic()
        self._warned_at = self._heard_at

    def look(self) -> None:
        """Show what is new."""
        news: News = self._ray.get(self._board.news.remote())
        now = time.monotonic()
        if news.heard:
            self._heard_at = self._warned_at = now
        elif now - self._warned_at > _PATIENCE:
            self._warned_at = now
            _log.warning("no worker is at work: has the cluster room for %s?", self._asked)
        for event in news.events:
            self._show(*event)

    @property
    def silence(self) -> float:
        """Seconds since the first process was last heard."""
        return time.monotonic() - self._heard_at

    def close(self) -> None:
        """Take down the bars."""
        while self._advances:
            self._advances.pop()[1].close()

    def _show(self, kind: str, *what: Any) -> None:
        if kind == "log":
            _log.log(what[0], "%s", what[1])
        elif kind == "open":
            bar = ExitStack()
            self._advances.append((bar.enter_context(self._progress(*what)), bar))
        elif kind == "move":
            self._advances[-1][0](what[0], note=what[1])
        elif kind == "close":
            self._advances.pop()[1].close()
        elif kind == "again":  # the bars are of a process that is gone
            self.close()
            _log.warning("workers were lost, or have joined: all begin again, from step %d", what[0])
