"""A contact sheet of collected frames."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fcoslite.camera.frames import IMAGES, CameraFrame
from fcoslite.data.images import UnusableImageError, encode_picture, read_image
from fcoslite.detections.draw import contact_sheet
from fcoslite.storage.files import replace_file

SHEET = "sheet.jpg"

_MOST = 24
_COLUMNS = 4
_CELL = 480  # pixels


def write_sheet(folder: Path, frames: Sequence[CameraFrame]) -> Path | None:
    """Write `sheet.jpg` into a camera's folder: 24 frames at most, from the first to the last, each with its time.

    Args:
        folder: The camera's folder.
        frames: Its frames; those whose pictures were deleted are left out.

    Returns:
        The file; None if there is no frame to show.
    """
    ordered = sorted(frames, key=lambda frame: (frame.captured, frame.camera))
    pictures, titles = [], []
    for place in np.unique(np.linspace(0, len(ordered) - 1, min(_MOST, len(ordered))).round().astype(int)).tolist():
        frame = ordered[place]
        try:
            pictures.append(read_image(folder / IMAGES / frame.file_name))
        except UnusableImageError:
            continue
        local = frame.captured.astimezone()
        titles.append(f"{frame.camera} {local:%Y-%m-%d %H:%M:%S}{' quiet' if frame.why == 'quiet' else ''}")
    if not pictures:
        return None
    sheet = contact_sheet(pictures, columns=_COLUMNS, cell_width=_CELL, titles=titles)
    replace_file(folder / SHEET, encode_picture(sheet, ".jpg"))
    return folder / SHEET
