"""Films of a fixed camera, made of the embedded photographs: somebody walks through, and then nobody does."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

FPS = 10
_PLACE = "000000261888.jpg"  # whose picture is the background
_WALKER, _BOX = "000000252219.jpg", (326, 175, 71, 197)  # x, y, width, height of a person
_NOISE = 2.0  # levels of grey, as a sensor has by day


def walk_pictures(
    demo_data: Path, plan: Sequence[tuple[str, float]], size: tuple[int, int] = (480, 360), seed: int = 0
) -> Iterator[np.ndarray]:
    """Pictures, ten a second.

    Args:
        demo_data: The embedded photographs.
        plan: What happens, `quiet` or `walk` from left to right, for how many seconds.
        size: Width and height, pixels.
        seed: Of the noise.

    Yields:
        [h, w, 3] uint8, BGR.
    """
    chance = np.random.default_rng(seed)
    width, height = size
    place = cv2.resize(cv2.imread(str(demo_data / "images" / _PLACE)), size)
    x, y, w, h = _BOX
    walker = cv2.imread(str(demo_data / "images" / _WALKER))[y : y + h, x : x + w]
    walker = cv2.resize(walker, (round(w * height / 2 / h), height // 2))
    noise = [chance.normal(0, _NOISE, (height, width, 3)) for _ in range(7)]
    number = 0
    for what, seconds in plan:
        count = round(seconds * FPS)
        for step in range(count):
            picture = place.astype(np.float32)
            if what == "walk":
                left = round((width - walker.shape[1]) * step / max(1, count - 1))
                top = height - walker.shape[0] - 8
                picture[top : top + walker.shape[0], left : left + walker.shape[1]] = walker
            yield np.clip(picture + noise[number % len(noise)], 0, 255).astype(np.uint8)
            number += 1


def write_walk(path: Path, demo_data: Path, plan: Sequence[tuple[str, float]], **options: object) -> Path:
    """The pictures of `walk_pictures` as a video, .avi or .mp4."""
    writer = None
    for picture in walk_pictures(demo_data, plan, **options):  # type: ignore[arg-type]
        if writer is None:
            codec = cv2.VideoWriter.fourcc(*("MJPG" if path.suffix == ".avi" else "mp4v"))
            writer = cv2.VideoWriter(str(path), codec, FPS, picture.shape[1::-1])
        writer.write(picture)
    assert writer is not None
    writer.release()
    return path
