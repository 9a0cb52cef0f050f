"""What a reviewer has answered: the lines of reviews.jsonl, and those of them that are in force."""

import logging
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import msgspec

from fcoslite.storage.line_log import LineLog

_log = logging.getLogger("fcoslite")

Word = Literal["yes", "no", "unsure", "drawn"]


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class BoxAnswer(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="type", tag="box"):
    """What a box is.

    Attributes:
        answer: yes: it shows one. no: it shows none. unsure: it is not asked about again. drawn: by the reviewer.
        file_name: Of the image.
        category: Name.
        bbox: x, y, width, height, pixels.
        score: That the box had, for whoever reads the file.
        at: When, UTC.
    """

    answer: Word
    file_name: str
    category: str
    bbox: tuple[float, float, float, float]
    score: float | None = None
    at: str = msgspec.field(default_factory=_now)


class PlaceAnswer(msgspec.Struct, frozen=True, tag_field="type", tag="never"):
    """A place where a camera never shows one.

    Attributes:
        camera: Its name.
        category: Name.
        place: x, y, width, height as shares of the image's sides.
        at: When, UTC.
    """

    camera: str
    category: str
    place: tuple[float, float, float, float]
    at: str = msgspec.field(default_factory=_now)


class Undo(msgspec.Struct, frozen=True, tag_field="type", tag="undo"):
    """The last answer that was in force is so no longer."""

    at: str = msgspec.field(default_factory=_now)


class Written(msgspec.Struct, frozen=True, tag_field="type", tag="written"):
    """An annotations.json with these answers is about to be there.

    Attributes:
        annotations: Its SHA-256.
        labels: SHA-256 of the labels that it is made of.
    """

    annotations: str
    labels: str


Answer = BoxAnswer | PlaceAnswer

_Line = BoxAnswer | PlaceAnswer | Undo | Written


class Answers:
    """The journal of a review, which is gone on with if it is there.

    Args:
        path: reviews.jsonl.

    Attributes:
        in_force: Answers that were not taken back, in the order in which they were given.
        of_image: Those about boxes, by file name of the image.
        places: Those about places.
        written: Of each annotations.json that was made of them, its SHA-256 and that of its labels.
    """

    def __init__(self, path: Path) -> None:
        self._log = LineLog(path)
        self.in_force: list[Answer] = []
        self.of_image: dict[str, list[BoxAnswer]] = {}
        self.places: list[PlaceAnswer] = []
        self.written: list[Written] = []
        damaged = []
        for number, line in enumerate(self._log.lines, start=1):
            try:
                self._take(msgspec.json.decode(line, type=_Line))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                damaged.append(str(number))
        if damaged:
            shown = ", ".join(damaged[:5]) + (", ..." if len(damaged) > 5 else "")
            _log.warning(
                "%s: %d damaged lines are left as they are, and not counted: line %s", path, len(damaged), shown
            )

    @property
    def given(self) -> bool:
        """Whether there ever was an answer, be it one that was taken back."""
        return bool(self.in_force or self.written)

    def add(self, line: _Line) -> None:
        """Add a line; once this returns, no kill can take it.

        Raises:
            FcosliteError: It cannot be written, and counts as not given.
        """
        self._log.add(msgspec.json.encode(line))
        self._take(line)

    def _take(self, line: _Line) -> None:
        if isinstance(line, Written):
            self.written.append(line)
        elif not isinstance(line, Undo):
            self.in_force.append(line)
            self._like(line).append(line)
        elif self.in_force:
            self._like(self.in_force.pop()).pop()

    def _like(self, answer: Answer) -> list[Any]:
        return self.of_image.setdefault(answer.file_name, []) if isinstance(answer, BoxAnswer) else self.places

    def __enter__(self) -> "Answers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()
