"""Images and boxes for benchmarks that need no photographs."""

import numpy as np

SIZE = 512  # side of an image, pixels, unless told


def random_boxes(batch: int, count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    """[batch, count, 5]: sides from a 64th of the image to all of it, as likely to halve as to double."""
    rng = np.random.default_rng(seed)
    sides = np.exp(rng.uniform(np.log(size / 64), np.log(size), (batch, count, 2)))
    low = rng.uniform(0, 1, (batch, count, 2)) * (size - sides)
    return np.concatenate([np.ones((batch, count, 1)), low, low + sides], axis=-1).astype(np.float32)


def random_batch(batch: int, count: int, size: int = SIZE) -> dict[str, np.ndarray]:
    """A batch as `data.sources.source` gives it, of images of noise with `count` boxes each."""
    images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3)).astype(np.uint8)
    return {
        "images": images,
        "boxes": random_boxes(batch, count, size=size),
        "crowd": np.zeros((batch, count), bool),
        "scores": np.ones((batch, count), np.float32),
    }
