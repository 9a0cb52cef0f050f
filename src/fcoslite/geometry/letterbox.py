"""Letterboxing: scale an image to fit a canvas, pad the rest; and its inverse for boxes.

Numpy and OpenCV only, so that data workers need not import Keras. Records, training, evaluation and
webcam all go through this one class, so that a model never sees a padding it was not trained on. Networks of other
projects have other habits: they may want the image at the top left, and another grey.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

PAD_COLOUR = 114  # the grey of YOLO's letterbox; near the mean of photographs


@dataclass(frozen=True, slots=True)
class Letterbox:
    """The placement of an image of `height` x `width` pixels on a canvas of `rows` x `columns` pixels.

    One scale serves both axes; the scaled sides are rounded to whole pixels, so the image content is off
    by less than half a pixel at the far edge while boxes keep the exact scale.

    Attributes:
        height: Height of the original image, pixels.
        width: Width of the original image, pixels.
        rows: Height of the canvas, pixels.
        columns: Its width, pixels.
        top_left: The image lies in the upper left corner, not in the middle.
    """

    height: int
    width: int
    rows: int
    columns: int
    top_left: bool = False

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.rows, self.columns) < 1:
            sides = f"{self.height}x{self.width} in {self.rows}x{self.columns}"
            raise ValueError(f"sides must be positive: {sides}")

    @classmethod
    def square(cls, height: int, width: int, size: int, top_left: bool = False) -> "Letterbox":
        """On a square of `size` pixels, as networks are trained on."""
        return cls(height, width, size, size, top_left)

    @classmethod
    def fitting(cls, height: int, width: int, size: int, step: int) -> "Letterbox":
        """On the canvas of the image's own shape, as large as it is scaled to without more work for a network.

        A square leaves 44 % of itself empty around an image of 16:9. Of the canvases whose sides are multiples of
        `step`, and which have no more pixels than a square of `size`, this takes the one on which the image is largest;
        of several, the smallest. With `step` equal to `size` that is the square.

        Args:
            height: Of the image, pixels.
            width: Of the image, pixels.
            size: Side of the square, pixels; a multiple of `step`.
            step: Pixels.
        """
        return cls(height, width, *_canvas(height, width, size, step))

    @property
    def scale(self) -> float:
        """Letterboxed pixels per original pixel."""
        return min(self.rows / self.height, self.columns / self.width)

    @property
    def new_height(self) -> int:
        """Height of the scaled image, pixels; at least 1."""
        return max(1, round(self.height * self.scale))

    @property
    def new_width(self) -> int:
        """Width of the scaled image, pixels; at least 1."""
        return max(1, round(self.width * self.scale))

    @property
    def pad_top(self) -> int:
        """Rows of padding above; the odd row goes below."""
        return 0 if self.top_left else (self.rows - self.new_height) // 2

    @property
    def pad_left(self) -> int:
        """Columns of padding at the left; the odd column goes right."""
        return 0 if self.top_left else (self.columns - self.new_width) // 2

    @property
    def inside(self) -> tuple[slice, slice]:
        """Rows and columns of the canvas that the image takes."""
        top, left = self.pad_top, self.pad_left
        return slice(top, top + self.new_height), slice(left, left + self.new_width)

    def apply_image(self, image: np.ndarray, pad: int = PAD_COLOUR) -> np.ndarray:
        """Letterbox an image.

        Args:
            image: [height, width, 3], uint8.
            pad: The grey of the padding, 0 to 255.

        Returns:
            [rows, columns, 3], uint8.
        """
        if image.shape[:2] != (self.height, self.width):
            raise ValueError(f"image is {image.shape[:2]}, letterbox is for {(self.height, self.width)}")
        if (self.new_height, self.new_width) != image.shape[:2]:
            # INTER_AREA averages what it drops; it does not interpolate when enlarging
            method = cv2.INTER_AREA if self.scale < 1 else cv2.INTER_LINEAR
            image = cv2.resize(image, (self.new_width, self.new_height), interpolation=method)
        canvas = np.full((self.rows, self.columns, 3), pad, np.uint8)
        canvas[self.inside] = image
        return canvas

    def apply_boxes(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Map boxes [..., 4] from original to letterboxed pixels, float32."""
        return (boxes_xyxy * self.scale + self._offset).astype(np.float32)

    def invert_boxes(self, boxes_xyxy: np.ndarray, clip: bool = False) -> np.ndarray:
        """Map boxes [..., 4] from letterboxed back to original pixels, float32.

        Args:
            boxes_xyxy: [..., 4], letterboxed pixels.
            clip: Cut the boxes at the border of the original image.
        """
        boxes = (np.asarray(boxes_xyxy, np.float64) - self._offset) / self.scale
        if clip:
            limits = np.array([self.width, self.height, self.width, self.height], np.float64)
            boxes = np.clip(boxes, 0.0, limits)
        return boxes.astype(np.float32)

    @property
    def _offset(self) -> np.ndarray:
        return np.array([self.pad_left, self.pad_top] * 2, np.float64)


@lru_cache(maxsize=4096)
def _canvas(height: int, width: int, size: int, step: int) -> tuple[int, int]:
    """Rows and columns of `Letterbox.fitting`."""
    most = (size // step) ** 2  # pixels, in squares of `step`
    scale = max(min(rows / height, most // rows / width) for rows in range(1, most + 1))
    # the shorter image may leave whole steps of its side empty; what is exact must not be rounded up
    rows, columns = (max(1, math.ceil(length * scale - 1e-9)) for length in (height, width))
    return rows * step, columns * step
