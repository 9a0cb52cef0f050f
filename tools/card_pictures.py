"""The pictures of a model card: a chart, two sheets and a clip. Used by model_card.py."""

import io
from collections.abc import Callable, Sequence
from math import ceil
from pathlib import Path

import cv2
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from fcoslite.data.images import read_labelled
from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import Colour, contact_sheet, draw_boxes
from fcoslite.errors import ConfigError
from fcoslite.evaluation.detection_errors import JudgedImage, WorstError
from fcoslite.evaluation.error_pictures import draw_error
from fcoslite.evaluation.plots import draw_precision_recall, save_figure
from fcoslite.inference.input.open import open_source
from fcoslite.inference.predictor import Predictor
from fcoslite.storage.files import replace_file

_GREEN: Colour = (40, 230, 90)
_QUALITIES = (85, 75, 65, 55, 45)


def plot_operating_point(precision: np.ndarray, point: tuple[float, float], score: float, path: Path) -> None:
    """Precision over recall at IoU 0.50, 0.75 and in the mean, with the webcam's point at IoU 0.50.

    Args:
        precision: [10, 101] of `coco_metrics`; the area under its mean is COCO's AP.
        point: Recall and precision at the webcam's threshold.
        score: That threshold.
        path: PNG.
    """
    figure = Figure(figsize=(6, 4.5), layout="constrained")
    axes = figure.subplots()
    mean = np.maximum(precision, 0).mean(axis=0)
    draw_precision_recall(axes, {"IoU 0.50": precision[0], "IoU 0.75": precision[5], "mean, IoU 0.50 to 0.95": mean})
    axes.plot(*point, "o", color="black", label=f"webcam's default, score {score:g}, at IoU 0.50")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)  # below, where no curve runs
    save_figure(figure, path, whole=True)


def write_error_sheet(errors: Sequence[WorstError], folder: Path, path: Path) -> None:
    """Draw each error in red on a crop around it, other detections green, persons in yellow dashes, crowds in cyan.

    Args:
        errors: What to show, six a row.
        folder: Of the images.
        path: JPEG.
    """
    cell = 300
    crops = [draw_error(error, read_labelled(error.judged.image, folder), cell) for error in errors]
    sheet = contact_sheet(crops, columns=6, cell_width=cell, titles=[error.caption for error in errors])
    replace_file(path, _jpeg(sheet, 85))


def write_detection_sheet(judged: Sequence[JudgedImage], folder: Path, path: Path, limit_bytes: int) -> None:
    """Show the twelve photographs of persons with the best F1, four a row, with scores as the webcam shows them.

    Args:
        judged: What to choose from; at least one has persons.
        folder: Of the images.
        path: JPEG.
        limit_bytes: Its size; the quality falls until it is kept.
    """
    with_persons = [item for item in judged if (~item.image.iscrowd).any()]
    best = sorted(with_persons, key=lambda item: (item.f1, item.kinds.count("matched")), reverse=True)[:12]
    # wide and tall ones dealt out evenly, so that the rows are about as high as each other
    best.sort(key=lambda item: item.image.height / item.image.width)
    rows = ceil(len(best) / 4)
    sheet = np.vstack([_detection_row(best[row::rows], folder, 1200) for row in range(rows)])
    replace_file(path, _within(limit_bytes, lambda quality: _jpeg(sheet, quality)))


def _detection_row(judged: Sequence[JudgedImage], folder: Path, width: int) -> np.ndarray:
    """Photographs side by side, as high as each other, filling the width; and a margin below."""
    margin = 6
    aspects = [item.image.width / item.image.height for item in judged]
    height = round((width - margin * (len(judged) - 1)) / sum(aspects))
    row = np.full((height + margin, width, 3), 255, np.uint8)
    left = 0
    for item, aspect in zip(judged, aspects, strict=True):
        pixels = read_labelled(item.image, folder)
        picture = _draw_small(pixels, item.found, round(height * aspect), height)[:, : width - left]
        row[:height, left : left + picture.shape[1]] = picture
        left += picture.shape[1] + margin
    return row


def write_clip(video: Path, predictor: Predictor, start: float, path: Path, limit_bytes: int) -> None:
    """Draw the detections on six seconds of a video, about ten frames a second, 384 pixels wide.

    Args:
        video: The file.
        predictor: Detects on the frames as they are.
        start: Where to begin, seconds.
        path: Animated WebP. It is in full colour and a fifth as large as a GIF; browsers and GitHub show it.
        limit_bytes: Its size; the quality falls until it is kept.
    """
    width, seconds, rate = 384, 6.0, 10.0
    frames: list[Image.Image] = []
    with open_source(str(video)) as source:
        fps = source.fps or 25.0
        step = max(1, round(fps / rate))
        height = round(width * source.height / source.width)
        for frame in source:
            if frame.seconds >= start + seconds:
                break
            if frame.seconds >= start and frame.index % step == 0:
                found = predictor.predict(frame.image_rgb)
                frames.append(Image.fromarray(_draw_small(frame.image_rgb, found, width, height)))
    if not frames:
        raise ConfigError(f"{video} ends before {start:g} s", "begin earlier: --start 0")

    def encode(quality: int) -> bytes:
        buffer = io.BytesIO()
        pace = {"save_all": True, "append_images": frames[1:], "duration": round(1000 * step / fps), "loop": 0}
        frames[0].save(buffer, "WEBP", quality=quality, method=6, **pace)
        return buffer.getvalue()

    replace_file(path, _within(limit_bytes, encode))


def _draw_small(image_rgb: np.ndarray, found: Detections, width: int, height: int) -> np.ndarray:
    """Scale first and draw then, so that scores stay readable; they stand without the class, for all are persons."""
    small = cv2.resize(image_rgb, (width, height), interpolation=cv2.INTER_AREA)
    scale = np.array([width / image_rgb.shape[1], height / image_rgb.shape[0]] * 2)
    return draw_boxes(small, found.boxes_xyxy * scale, _GREEN, [f"{shown:.2f}" for shown in found.shown_scores])


def _jpeg(image_rgb: np.ndarray, quality: int) -> bytes:
    content: bytes = cv2.imencode(".jpg", image_rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
    return content


def _within(limit_bytes: int, encode: Callable[[int], bytes]) -> bytes:
    """Encode at the highest quality that keeps the limit, or at the lowest there is."""
    contents = (encode(quality) for quality in _QUALITIES)
    return next((content for content in contents if len(content) <= limit_bytes), encode(_QUALITIES[-1]))
