"""The photographs of all slices in memory, decoded as the slices arrive, and batches of them."""

import io
import json
import queue
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

MOST_BOXES = 64  # the surest come first


class Photographs:
    """All photographs that have arrived, each in the upper left corner of a square.

    Args:
        folder: Of the slices; watched.
        side: Of the square, pixels.
        capacity: Most photographs.
        threads: That decode.
        say: Told what has arrived.
    """

    def __init__(self, folder: Path, side: int, capacity: int, threads: int, say: Callable[[str], None]) -> None:
        self.folder, self.side, self.threads, self.say = folder, side, threads, say
        self.pixels = np.zeros((capacity, side, side, 3), np.uint8)
        self.extent = np.ones((capacity, 2), np.float32)
        self.stretched = np.zeros(capacity, np.float32)
        self.boxes = np.zeros((capacity, MOST_BOXES, 6), np.float32)
        self.count = 0
        self.by_set: dict[str, np.ndarray] = {}
        self._seen: set[Path] = set()

    def take_new(self) -> None:
        """Decode the slices that have arrived since."""
        for path in sorted(self.folder.glob("*.tar")):
            if path not in self._seen:
                self._seen.add(path)
                self._take(path)

    def _take(self, path: Path) -> None:
        begun = time.perf_counter()
        with tarfile.open(path) as tar:
            index = tar.extractfile("photographs.json")
            assert index is not None
            rows = json.loads(index.read())
            data = []
            for row in rows:
                member = tar.extractfile(row["file"])
                assert member is not None
                data.append(member.read())
        first = self.count
        rows, data = rows[: len(self.pixels) - first], data[: len(self.pixels) - first]
        with ThreadPoolExecutor(self.threads) as pool:
            list(pool.map(self._decode, range(first, first + len(rows)), rows, data))
        sets = {name: list(places) for name, places in self.by_set.items()}
        for place, row in enumerate(rows, first):
            sets.setdefault(row["set"], []).append(place)
        self.by_set = {name: np.array(places) for name, places in sets.items()}
        self.count += len(rows)
        self.say(f"{path.name}: {len(rows)} photographs in {time.perf_counter() - begun:.1f} s, {self.count} in all")

    def _decode(self, place: int, row: dict[str, Any], data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as opened:
            image = opened.convert("RGB")
        scale = min(1.0, self.side / max(image.size))
        if scale < 1:
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.BOX)
        self.pixels[place, : image.height, : image.width] = np.asarray(image)
        self.extent[place] = image.size
        self.stretched[place] = row["stretched"]
        boxes = np.array(row["boxes"], np.float32).reshape(-1, 6)[:MOST_BOXES]
        boxes[:, :4] *= scale
        self.boxes[place, : len(boxes)] = boxes

    def batches(self, size: int, shares: Callable[[], dict[str, float]], seed: int, ahead: int = 3) -> Iterator[Any]:
        """Endless batches: `pixels`, `extent`, `stretched`, `boxes`, gathered by threads.

        Args:
            size: Photographs a batch.
            shares: Of the sets in a batch, asked anew for each; of sets that have not arrived nothing is taken.
            seed: Of what is drawn.
            ahead: Batches that wait.
        """
        waiting: queue.Queue[Any] = queue.Queue(ahead)

        def gather(number: int) -> None:
            try:
                random = np.random.default_rng([seed, number])
                while True:
                    here = {name: share for name, share in shares().items() if name in self.by_set}
                    share = np.array(list(here.values()))
                    drawn = random.choice(len(here), size, p=share / share.sum())
                    sets = [self.by_set[name] for name in here]
                    chosen = np.array([random.choice(sets[one]) for one in drawn])
                    waiting.put({
                        "pixels": self.pixels[chosen],
                        "extent": self.extent[chosen],
                        "stretched": self.stretched[chosen],
                        "boxes": self.boxes[chosen],
                    })  # fmt: skip
            except BaseException as failure:
                waiting.put(failure)

        for number in range(3):
            threading.Thread(target=gather, args=(number,), daemon=True).start()
        while True:
            batch = waiting.get()
            if isinstance(batch, BaseException):
                raise batch
            yield batch

    def watch(self, seconds: float = 2.0) -> None:
        """Take new slices as they arrive, in a thread."""

        def look() -> None:
            while True:
                time.sleep(seconds)
                try:
                    self.take_new()
                except Exception as failure:
                    self.say(f"slice left out: {failure!r}")

        threading.Thread(target=look, daemon=True).start()
