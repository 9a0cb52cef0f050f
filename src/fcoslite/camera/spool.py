"""Events that wait to be sent: a small SQLite database, whole after a kill or a power cut."""

import logging
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from fcoslite.errors import DataError
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_room

MOST_WAITING = 10_000

_SCHEMA = """
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    line TEXT NOT NULL,
    file TEXT,                         -- of events, where the line may still be missing
    waits INTEGER NOT NULL DEFAULT 1,  -- to be sent
    in_doubt INTEGER NOT NULL DEFAULT 0  -- was sent, and no answer came
)
"""

logger = logging.getLogger("fcoslite.camera")


class Waiting(NamedTuple):
    """An event that waits."""

    id: str
    line: str


class Spool:
    """The events of one camera that wait to be sent, oldest first; of more than `most` the oldest are dropped.

    An event is in it before its line is written to the file of events, and leaves once the line is there and the broker
    has it: so neither misses an event that the other has. Threads may share it, processes not. Use it in `with`.

    Args:
        folder: Of the database, `CAMERA.sqlite`.
        camera: Name of the camera.
        most: Events that wait at most.

    Raises:
        BusyError: Another process sends the events of this camera.
        DataError: The database cannot be used.
        FcosliteError: Its disk is full.
    """

    def __init__(self, folder: Path, camera: str, most: int = MOST_WAITING) -> None:
        self.path = folder / f"{camera}.sqlite"
        self._most = most
        self._said_dropped = False
        self._lock = threading.Lock()
        self._held = ExitStack()
        check_room(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(folder / f".{camera}.lock", f"the queue {self.path}"))
        try:
            self._database = sqlite3.connect(self.path, check_same_thread=False, isolation_level=None)
            with self._transaction() as database:
                database.execute(_SCHEMA)
        except BaseException:
            self._held.close()
            raise

    def __len__(self) -> int:
        with self._transaction() as database:
            return int(database.execute("SELECT count(*) FROM events WHERE waits").fetchone()[0])

    def add(self, event_id: str, line: str, file: Path | None) -> None:
        """Let an event wait.

        Args:
            event_id: Its id.
            line: It, as JSON.
            file: Where its line is to be written, too, until `written` says that it is.

        Raises:
            DataError: It cannot be written.
            FcosliteError: The disk is full.
        """
        check_room(self.path)
        with self._transaction() as database:
            place = None if file is None else str(file.resolve())
            database.execute("INSERT INTO events (id, line, file) VALUES (?, ?, ?)", (event_id, line, place))
            dropped = database.execute(
                "UPDATE events SET waits = 0 WHERE waits AND number <= "
                "(SELECT number FROM events WHERE waits ORDER BY number DESC LIMIT 1 OFFSET ?)",
                (self._most,),
            ).rowcount
            _clean(database)
        if dropped and not self._said_dropped:
            self._said_dropped = True
            logger.warning("more than %d events wait in %s: the oldest are dropped", self._most, self.path)

    def written(self, event_id: str) -> None:
        """The event's line is in its file."""
        with self._transaction() as database:
            database.execute("UPDATE events SET file = NULL WHERE id = ?", (event_id,))
            _clean(database)

    def unwritten(self, file: Path) -> list[Waiting]:
        """Events whose line a kill may have kept from this file."""
        with self._transaction() as database:
            rows = database.execute(
                "SELECT id, line FROM events WHERE file = ? ORDER BY number", (str(file.resolve()),)
            )
            return [Waiting(*row) for row in rows.fetchall()]

    def next_to_send(self) -> Waiting | None:
        """The oldest that waits; from now on it is in doubt whether the broker has it."""
        with self._transaction() as database:
            row = database.execute("SELECT id, line FROM events WHERE waits ORDER BY number LIMIT 1").fetchone()
            if row is None:
                return None
            database.execute("UPDATE events SET in_doubt = 1 WHERE id = ?", (row[0],))
            return Waiting(*row)

    def any_in_doubt(self) -> bool:
        """Whether an event was sent, and no answer came."""
        with self._transaction() as database:
            return database.execute("SELECT 1 FROM events WHERE waits AND in_doubt").fetchone() is not None

    def sent(self, event_id: str) -> None:
        """The broker has it; of no event but those that wait this changes anything."""
        with self._transaction() as database:
            database.execute("UPDATE events SET waits = 0 WHERE id = ?", (event_id,))
            _clean(database)

    def not_sent(self) -> None:
        """The broker has none of those in doubt."""
        with self._transaction() as database:
            database.execute("UPDATE events SET in_doubt = 0 WHERE in_doubt")

    def close(self) -> None:
        """Let other processes use it."""
        with self._lock:
            self._database.close()
        self._held.close()

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._database.execute("BEGIN IMMEDIATE")
                with self._database:  # commits, or rolls back
                    yield self._database
            except sqlite3.Error as error:
                hint = "is its disk full? else delete it, with what waits in it, or name another folder by --mqtt-spool"
                raise DataError(f"{self.path} cannot be used: {error}", hint) from None


def _clean(database: sqlite3.Connection) -> None:
    database.execute("DELETE FROM events WHERE NOT waits AND file IS NULL")
