"""Where the locations of all levels look."""

import numpy as np


def grid_points(image_size: int, strides: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Where the locations of all levels look, finest level first, row by row.

    Args:
        image_size: Side of the letterboxed image, pixels; a multiple of every stride.
        strides: Pixels between neighbours, one a level.

    Returns:
        Points [N, 2] float32 (x, y) in pixels, column · stride + stride / 2; and the stride of each, [N] float32.
    """
    points, each = [], []
    for stride in strides:
        line = grid_lines(image_size, stride)
        x, y = np.meshgrid(line, line)
        points.append(np.stack([x.ravel(), y.ravel()], axis=-1))
        each.append(np.full(x.size, stride, np.float32))
    return np.concatenate(points), np.concatenate(each)


def grid_lines(image_size: int, stride: int) -> np.ndarray:
    """Where the columns of a level's locations lie, and its rows: [image_size / stride] float32, pixels."""
    return np.arange(image_size // stride, dtype=np.float32) * stride + stride / 2
