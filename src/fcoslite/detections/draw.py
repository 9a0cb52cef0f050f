"""Draw boxes, labels and contact sheets on images: pure functions, uint8 RGB in, a new uint8 RGB out."""

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from fcoslite.detections.detections import Detections
from fcoslite.geometry.letterbox import PAD_COLOUR
from fcoslite.text import as_utf8

Colour = tuple[int, int, int]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_REFERENCE = 640.0  # pixels; lines and text keep the proportions they have on an image this long
_DARK: Colour = (16, 16, 16)
_LIGHT: Colour = (255, 255, 255)


def class_colour(class_id: int) -> Colour:
    """An RGB colour for a class id, or a track's: bright, its hue steps of the golden ratio from its neighbours'."""
    hue = (0.36 + (class_id - 1) * 0.618034) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.85, 0.95)
    return round(red * 255), round(green * 255), round(blue * 255)


def draw_detections(image_rgb: np.ndarray, detections: Detections, fps: float | None = None) -> np.ndarray:
    """Draw every detection as a box with its name and shown score; and the frame rate, if given.

    Args:
        image_rgb: [h, w, 3] uint8; not changed.
        detections: In pixels of that image.
        fps: Frames per second, drawn in the lower left corner.

    Returns:
        [h, w, 3] uint8.
    """
    canvas = np.ascontiguousarray(image_rgb).copy()
    ids = detections.class_ids
    if detections.track_ids is not None:
        ids = np.where(detections.track_ids > 0, detections.track_ids, ids)
    colours = [class_colour(int(number)) for number in ids]
    _draw(canvas, detections.boxes_xyxy, colours, detections.labels)
    if fps is not None:
        # the lower corner: labels crowd at the top
        _write(canvas, f"FPS {fps:.1f}", (0, canvas.shape[0]), _DARK)
    return canvas


def draw_arrow(image_rgb: np.ndarray, points_xy: np.ndarray, text: str) -> np.ndarray:
    """Draw an arrow from the first to the second of two points [2, 2], text at its start; [h, w, 3] uint8."""
    canvas = np.ascontiguousarray(image_rgb).copy()
    thickness = max(2, round(2 * max(canvas.shape[:2]) / _REFERENCE))
    start, end = (tuple(point) for point in np.round(points_xy).astype(int).tolist())
    for colour, width in ((_DARK, thickness + 2), (_LIGHT, thickness)):
        cv2.arrowedLine(canvas, start, end, colour, width, cv2.LINE_AA, tipLength=0.03)
    _write(canvas, text, start, _LIGHT, above=True)
    return canvas


def draw_zone(image_rgb: np.ndarray, corners_xy: np.ndarray) -> np.ndarray:
    """Draw the sides of a polygon, whose corners [K, 2] are in pixels; [h, w, 3] uint8."""
    canvas = np.ascontiguousarray(image_rgb).copy()
    thickness = max(2, round(2 * max(canvas.shape[:2]) / _REFERENCE))
    last = np.array(canvas.shape[1::-1]) - 1  # sides along the border are to be seen, too
    corners = np.clip(np.round(corners_xy), 0, last).astype(np.int32)
    for colour, width in ((_DARK, thickness + 2), (_LIGHT, thickness)):
        cv2.polylines(canvas, [corners], True, colour, width, cv2.LINE_AA)
    return canvas


def draw_boxes(
    image_rgb: np.ndarray, boxes_xyxy: np.ndarray, colour: Colour, labels: Sequence[str] | None = None
) -> np.ndarray:
    """Draw boxes [N, 4] in one RGB colour, such as ground truth over detections; [h, w, 3] uint8."""
    canvas = np.ascontiguousarray(image_rgb).copy()
    _draw(canvas, boxes_xyxy, [colour] * len(boxes_xyxy), labels)
    return canvas


def fit_image(image_rgb: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scale an image to fit `width` x `height` pixels, its aspect kept, and pad the rest with grey."""
    scaled = _scale(image_rgb, min(width / image_rgb.shape[1], height / image_rgb.shape[0]))[:height, :width]
    return _pad(scaled, width, height)


@dataclass(frozen=True)
class Crop:
    """A part of an image, scaled: its pixels, its upper left corner (x, y) in the image, and the scale."""

    image_rgb: np.ndarray
    corner_xy: np.ndarray
    scale: float

    def placed(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Boxes [N, 4] of the image in pixels of the crop."""
        return (boxes_xyxy - np.tile(self.corner_xy, 2)) * self.scale

    def shows(self, boxes_xyxy: np.ndarray) -> np.ndarray:
        """Which boxes [N, 4] of the image, [N] bool, lie in the crop at least in part."""
        height, width = self.image_rgb.shape[:2]
        placed = self.placed(boxes_xyxy)
        return np.asarray(((placed[:, :2] < (width, height)) & (placed[:, 2:] > 0)).all(axis=1))


def crop_around(image_rgb: np.ndarray, box_xyxy: np.ndarray, cell: int) -> Crop:
    """Cut out a box with what is around it.

    It is twice the box, and never so near that something small is a few blurred pixels.

    Args:
        image_rgb: [h, w, 3] uint8.
        box_xyxy: [4], pixels.
        cell: The longer side of the crop, pixels.
    """
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    side = max(2 * float((box_xyxy[2:] - box_xyxy[:2]).max()), 120.0)
    left, top = np.maximum(np.floor(centre - side / 2), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + side / 2), image_rgb.shape[1::-1]).astype(int)
    crop = image_rgb[top:bottom, left:right]
    scale = cell / max(crop.shape[:2])
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return Crop(cv2.resize(crop, None, fx=scale, fy=scale, interpolation=interpolation), np.array([left, top]), scale)


def contact_sheet(
    images: Sequence[np.ndarray], columns: int, cell_width: int, titles: Sequence[str] | None = None
) -> np.ndarray:
    """Lay images out in rows, each scaled to fit a square of `cell_width` pixels, titles above.

    A row is as high as its highest image.

    Args:
        images: [h, w, 3] uint8 RGB each, of any size; at least one.
        columns: Images per row.
        cell_width: Pixels.
        titles: One for each image.

    Returns:
        [H, W, 3] uint8, on white, with a narrow margin.
    """
    if not images:
        raise ValueError("a contact sheet needs at least one image")
    cells = [_scale(image, cell_width / max(image.shape[:2])) for image in images]
    if titles is not None:
        cells = [_add_title(cell, title, cell_width) for cell, title in zip(cells, titles, strict=True)]
    margin = max(2, cell_width // 50)
    columns = min(columns, len(cells))
    rows = []
    for start in range(0, len(cells), columns):
        row = cells[start : start + columns]
        height = max(cell.shape[0] for cell in row)
        canvas = np.full((height + margin, columns * (cell_width + margin), 3), 255, np.uint8)
        for column, cell in enumerate(row):
            left = column * (cell_width + margin) + (cell_width + margin - cell.shape[1]) // 2
            canvas[: cell.shape[0], left : left + cell.shape[1]] = cell
        rows.append(canvas)
    return np.vstack(rows)


def _draw(canvas: np.ndarray, boxes_xyxy: np.ndarray, colours: Sequence[Colour], labels: Sequence[str] | None) -> None:
    height, width = canvas.shape[:2]
    thickness = max(2, round(2 * max(height, width) / _REFERENCE))
    limits = np.array([width - 1, height - 1] * 2)
    corners = np.clip(np.round(boxes_xyxy), 0, limits).astype(int)
    # worst first, so that what is surest lies on top; and no box over a label
    order = range(len(corners) - 1, -1, -1)
    for index in order:
        left, top, right, bottom = corners[index].tolist()
        cv2.rectangle(canvas, (left, top), (right, bottom), _DARK, thickness + 2)
        cv2.rectangle(canvas, (left, top), (right, bottom), colours[index], thickness)
    if labels is None:
        return
    for index in order:
        left, top, _, _ = corners[index].tolist()
        _write(canvas, labels[index], (left - thickness // 2, top), colours[index], above=True)


def _write(canvas: np.ndarray, text: str, corner: tuple[int, int], background: Colour, above: bool = False) -> None:
    """Write `text` on a filled rectangle at or `above` a corner (x, y), kept inside the image."""
    text = as_utf8(text)  # others make OpenCV crash
    height, width = canvas.shape[:2]
    scale = max(0.35, 0.5 * max(height, width) / _REFERENCE)
    (text_width, _), _ = cv2.getTextSize(text, _FONT, scale, _stroke(scale))
    scale *= min(1.0, (width - 4) / max(text_width, 1))
    if scale <= 0.1:
        return  # narrower than any letter
    stroke = _stroke(scale)
    (text_width, text_height), descent = cv2.getTextSize(text, _FONT, scale, stroke)
    pad = max(1, round(4 * scale))
    box_width, box_height = text_width + 2 * pad, text_height + descent + pad
    left = max(0, min(corner[0], width - box_width))
    top = max(0, min(corner[1] - box_height * above, height - box_height))
    cv2.rectangle(canvas, (left, top), (left + box_width - 1, top + box_height - 1), background, cv2.FILLED)
    baseline = (left + pad, top + text_height + pad // 2)
    cv2.putText(canvas, text, baseline, _FONT, scale, _readable_on(background), stroke, cv2.LINE_AA)


def _stroke(scale: float) -> int:
    return max(1, round(1.6 * scale))


def _readable_on(background: Colour) -> Colour:
    red, green, blue = background
    luminance = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R BT.601
    return _DARK if luminance > 110 else _LIGHT


def _scale(image: np.ndarray, factor: float) -> np.ndarray:
    height, width = image.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _pad(image: np.ndarray, width: int, height: int, colour: int = PAD_COLOUR) -> np.ndarray:
    across, down = width - image.shape[1], height - image.shape[0]
    borders = (down // 2, down - down // 2, across // 2, across - across // 2)
    return cv2.copyMakeBorder(image, *borders, cv2.BORDER_CONSTANT, value=(colour, colour, colour))


def _add_title(image: np.ndarray, title: str, cell_width: int) -> np.ndarray:
    title = as_utf8(title)
    strip = np.full((max(14, cell_width // 14), cell_width, 3), 255, np.uint8)
    scale = strip.shape[0] / 40
    (text_width, _), _ = cv2.getTextSize(title, _FONT, scale, _stroke(scale))
    scale *= min(1.0, (cell_width - 4) / max(text_width, 1))
    cv2.putText(strip, title, (2, strip.shape[0] * 7 // 10), _FONT, scale, _DARK, _stroke(scale), cv2.LINE_AA)
    return np.vstack([strip, _pad(image, cell_width, image.shape[0], 255)])
