"""A log file that never stands in the way of what it tells of."""

import logging
from contextlib import suppress
from pathlib import Path


class LogFile(logging.FileHandler):
    """Appends messages, with time and level, to a file; what cannot be written is dropped.

    Args:
        path: The file.

    Raises:
        OSError: It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8")
        self.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: where the disk is full, there is nobody to tell."""

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # of what could not be written before
            super().close()
