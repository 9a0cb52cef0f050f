"""Pictures as they are sent to be shown."""

import cv2
import numpy as np

from fcoslite.data.images import encode_picture


def jpeg_for_screen(image_rgb: np.ndarray, longer_side: int) -> bytes:
    """A JPEG of an image [h, w, 3] uint8, made smaller if it has more than `longer_side` pixels a side."""
    height, width = image_rgb.shape[:2]
    scale = longer_side / max(height, width)
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        image_rgb = cv2.resize(image_rgb, size, interpolation=cv2.INTER_AREA)
    return encode_picture(image_rgb, ".jpg", jpeg_quality=85)
