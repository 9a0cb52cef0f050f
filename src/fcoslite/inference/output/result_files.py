"""The files that `detect` writes: drawn pictures, crops, COCO, JSON lines, CSV, YOLO labels."""

import csv
import io
from collections.abc import Sequence
from itertools import count
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from fcoslite.data.dataset import Category, ImageRecord
from fcoslite.data.formats.coco import CocoDocument, FrameRecord, coco_categories
from fcoslite.data.formats.yolo import yolo_line
from fcoslite.data.images import encode_picture
from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import draw_arrow, draw_detections
from fcoslite.detections.formats import to_boxes
from fcoslite.errors import DataError
from fcoslite.inference.detect import FrameResult
from fcoslite.inference.detect_sources import Result
from fcoslite.inference.input.frame_source import Frame
from fcoslite.inference.input.listing import Listed, video_stem
from fcoslite.inference.output.writers import VideoWriter
from fcoslite.storage.files import replace_file
from fcoslite.storage.line_file import LineFile, is_stdout
from fcoslite.storage.space import check_room
from fcoslite.text import as_utf8, to_json

_COLUMNS = ("name", "frame", "seconds", "class", "score", "x_min", "y_min", "x_max", "y_max", "track")
_MARGIN = 0.1  # of a box, around a crop


def check_apart(sources: Sequence[Listed], save: Path | None, files: Sequence[Path]) -> None:
    """Refuse to write over what is to be read.

    Args:
        sources: What is read.
        save: Folder of drawn pictures.
        files: Other files to write.

    Raises:
        DataError: One of them is a source.
    """
    written = {path.resolve() for path in files if not is_stdout(path)}
    for source in sources:
        drawn = [] if save is None else [drawn_path(save, source).resolve()]
        if Path(source.text).resolve() in {*written, *drawn}:
            raise DataError(f"{source.text} would be written over by its own result", "name another place")


def drawn_path(folder: Path, source: Listed) -> Path:
    """Where the drawn image or video of a source goes."""
    return folder / (f"{video_stem(source.name)}.mp4" if source.moves else source.name)


def picture_name(result: Result) -> PurePosixPath:
    """The name of an image, or of a frame as an image: street-000012.jpg."""
    name = PurePosixPath(result.source.name)
    return name if result.frame is None else PurePosixPath(f"{video_stem(result.source.name)}-{result.frame:06d}.jpg")


class DrawnWriter:
    """Drawn images under their names in a folder, and drawn videos as .mp4."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._video: VideoWriter | None = None
        self._of: str | None = None

    def write(self, result: Result) -> None:
        """Draw one image or frame."""
        path = drawn_path(self._folder, result.source)
        if result.frame is None:
            _write_picture(draw_detections(result.image_rgb, result.detections), path)
            return
        if self._video is None or self._of != result.source.name:
            self.close()
            path.parent.mkdir(parents=True, exist_ok=True)
            self._video = VideoWriter(path, result.fps)
            self._of = result.source.name
        image_rgb = result.image_rgb
        if result.crossings is not None:
            line = result.crossings.line
            counts = f"{result.crossings.to_left} to left, {result.crossings.to_right} to right"
            image_rgb = draw_arrow(image_rgb, np.array([[line.x0, line.y0], [line.x1, line.y1]]), counts)
        frame = Frame(result.frame, image_rgb, result.source.name, result.seconds or 0.0)
        self._video.write(FrameResult(frame, result.detections, None, result.zone_xy))

    def close(self) -> None:
        """Complete the last video."""
        if self._video is not None:
            self._video.close()
            self._video = None


class CropWriter:
    """Every box, with a tenth around it, as an image of its own: NAME-1.jpg is the best of NAME."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Cut out the boxes of one image or frame."""
        height, width = result.image_rgb.shape[:2]
        sides = result.detections.boxes_xyxy[:, 2:] - result.detections.boxes_xyxy[:, :2]
        margins = np.concatenate([-sides, sides], axis=1) * _MARGIN
        limits = np.array([width, height, width, height])
        corners = np.clip(np.round(result.detections.boxes_xyxy + margins), 0, limits).astype(int)
        name = picture_name(result)
        for number, (x_min, y_min, x_max, y_max) in enumerate(corners.tolist(), start=1):
            crop = result.image_rgb[y_min : max(y_max, y_min + 1), x_min : max(x_max, x_min + 1)]
            if crop.size:
                _write_picture(crop, self._folder / name.with_name(f"{name.stem}-{number}.jpg"))

    def close(self) -> None:
        """Nothing is left open."""


class YoloWriter:
    """A text file for every image or frame, a line for every box: class, centre, width, height, score; sides are 1.

    Where boxes are tracked, the number comes last.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, result: Result) -> None:
        """Write one file."""
        height, width = result.image_rgb.shape[:2]
        found = result.detections
        corners = found.boxes_xyxy.astype(np.float64) / [width, height, width, height]
        centres, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        columns = [[f"{score:.5f}" for score in found.scores]]
        if found.track_ids is not None:
            columns.append([str(track) for track in found.track_ids])
        lines = [
            yolo_line(class_id, (*centre, *side), decimals=6, more=more)
            for class_id, centre, side, *more in zip(found.class_ids, centres, sides, *columns, strict=True)
        ]
        path = self._folder / picture_name(result).with_suffix(".txt")
        check_room(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(lines), "utf-8")

    def close(self) -> None:
        """Nothing is left open."""


class CocoWriter:
    """A COCO instances file whose annotations have a `score`; written when it is closed."""

    def __init__(self, path: Path, class_names: tuple[str, ...]) -> None:
        self._path = path
        self._document = CocoDocument(categories=coco_categories(map(Category, count(1), class_names)))

    def write(self, result: Result) -> None:
        """Add one image or frame."""
        height, width = result.image_rgb.shape[:2]
        number, name = len(self._document.images) + 1, as_utf8(str(picture_name(result)))
        if result.frame is None:
            image = ImageRecord(number, name, height, width)
        else:
            video, seconds = as_utf8(result.source.name), _rounded(result.seconds)
            image = FrameRecord(number, name, height, width, video=video, frame=result.frame, seconds=seconds)
        self._document.images.append(image)
        for box, class_id in zip(to_boxes(result.detections), result.detections.class_ids.tolist(), strict=True):
            area = round(box["bbox"][2] * box["bbox"][3], 2)
            track_id = box.get("track")
            self._document.add_box(number, class_id, box["bbox"], area, score=box["score"], track_id=track_id)

    def close(self) -> None:
        """Write the file."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, self._document.encode())


class JsonlWriter:
    """One JSON line for every image or frame.

    Args:
        path: `-` is stdout.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)

    def write(self, result: Result) -> None:
        """Add one line."""
        height, width = result.image_rgb.shape[:2]
        record: dict[str, Any] = {"name": result.source.name, "height": height, "width": width}
        if result.frame is not None:
            record |= {"frame": result.frame, "seconds": _rounded(result.seconds)}
        if result.crossings is not None:
            record |= {"to_left": result.crossings.to_left, "to_right": result.crossings.to_right}
        self._file.write(to_json({**record, "detections": to_boxes(result.detections)}) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class CsvWriter:
    """A line for every box, under a line of names.

    Args:
        path: `-` is stdout.
    """

    def __init__(self, path: Path) -> None:
        self._file = LineFile(path)
        self._begun = False

    def write(self, result: Result) -> None:
        """Add the lines of one image or frame."""
        rows = [] if self._begun else [_COLUMNS]
        self._begun = True
        frame = "" if result.frame is None else result.frame
        seconds = "" if result.seconds is None else _rounded(result.seconds)
        found = result.detections
        for box, detection in zip(found.boxes_xyxy.tolist(), to_boxes(found), strict=True):
            sides = [round(side, 2) for side in box]
            rows.append(
                (
                    result.source.name,
                    frame,
                    seconds,
                    detection["class"],
                    detection["score"],
                    *sides,
                    detection.get("track"),
                )
            )
        self._file.write(_as_csv(rows))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class TableWriter:
    """Keeps a row for every image or frame, to print at the end: name, what was found, and the best score.

    Args:
        most: Rows that are kept.
    """

    def __init__(self, most: int) -> None:
        self.rows: list[list[str]] = []
        self.left_out = 0
        self._most = most

    def write(self, result: Result) -> None:
        """Add one row."""
        if len(self.rows) == self._most:
            self.left_out += 1
            return
        name = result.source.name if result.frame is None else f"{result.source.name} {result.frame}"
        self.rows.append([name, _counts(result.detections), _best(result.detections)])

    def close(self) -> None:
        """Nothing is left open."""


def _counts(found: Detections) -> str:
    names = [found.class_names[class_id - 1] for class_id in found.class_ids]
    return ", ".join(f"{names.count(name)} {name}" for name in dict.fromkeys(names)) or "-"


def _best(found: Detections) -> str:
    return f"{found.scores[0]:.2f}" if len(found) else ""


def _write_picture(image_rgb: np.ndarray, path: Path) -> None:
    check_room(path)
    encoded = encode_picture(image_rgb, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)


def _as_csv(rows: list[Any]) -> str:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows(rows)
    return lines.getvalue()
