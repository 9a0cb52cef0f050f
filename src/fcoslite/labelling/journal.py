"""What is labelled so far, a line an image, so that a run that is killed loses the image it was at."""

from pathlib import Path
from types import TracebackType

import msgspec


class Entry(msgspec.Struct, frozen=True):
    """An image with its boxes.

    Attributes:
        name: In the data set.
        source: The file it is, or the video it is of.
        height: Pixels.
        width: Pixels.
        size: Bytes of the image file.
        boxes_xyxy: Pixels of the image.
        scores: In (0, 1), one a box.
        class_ids: 1 is the detectors' first class.
        frame: Number in the video; None for a photograph.
        seconds: Since the video's first frame.
    """

    name: str
    source: str
    height: int
    width: int
    size: int
    boxes_xyxy: list[tuple[float, float, float, float]]
    scores: list[float]
    class_ids: list[int]
    frame: int | None = None
    seconds: float | None = None


class Journal:
    """A file of entries, which is gone on with if it is there.

    Args:
        path: The file.

    Attributes:
        entries: Those there, by name.
    """

    def __init__(self, path: Path) -> None:
        content = path.read_bytes() if path.is_file() else b""
        self.entries: dict[str, Entry] = {}
        good = 0  # bytes
        for line in content.splitlines(keepends=True):
            try:
                entry = msgspec.json.decode(line if line.endswith(b"\n") else b"", type=Entry)
            except msgspec.DecodeError:
                break  # the process was killed in the middle of it, or the whole machine
            self.entries[entry.name] = entry
            good += len(line)
        self._file = path.open("r+b" if content else "wb")
        self._file.truncate(good)
        self._file.seek(good)

    def add(self, entry: Entry) -> None:
        """Write an entry; once this returns, no kill can take it."""
        self._file.write(msgspec.json.encode(entry) + b"\n")
        self._file.flush()
        self.entries[entry.name] = entry

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
