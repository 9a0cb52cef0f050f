"""Sets of real photographs that the packaged detector has labelled, to be reviewed."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcoslite.data.images import read_image
from fcoslite.labelling.label import label


def labelled_photographs(demo_data: Path, out: Path) -> Path:
    """The embedded photographs with the boxes that `lite0` sees in them."""
    label([demo_data / "images"], out, by=["lite0"], mirror=False)
    return out


def labelled_camera(demo_data: Path, folder: Path) -> Path:
    """Frames of a camera that looks at one photograph through its own noise, with the boxes that `lite0` sees."""
    label([_video(demo_data, folder)], folder / "labelled", by=["lite0"], mirror=False, every=1)
    return folder / "labelled"


def more_than_a_thousand_boxes(demo_data: Path, folder: Path) -> Path:
    """The photographs and the frames, with nearly all that `lite0` takes for possible."""
    sources = [demo_data / "images", _video(demo_data, folder)]
    label(sources, folder / "labelled", by=["lite0"], mirror=False, score=0.002, every=1)
    assert len(document(folder / "labelled")["annotations"]) > 1000
    return folder / "labelled"


def _video(demo_data: Path, folder: Path) -> Path:
    image = read_image(demo_data / "images" / "000000000165.jpg").astype(np.int16)
    video = folder / "door.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 2.0, (image.shape[1], image.shape[0]))
    for number in range(8):
        noise = np.random.default_rng(number).normal(0, 6, image.shape)
        writer.write(np.clip(image + noise, 0, 255).astype(np.uint8)[:, :, ::-1])
    writer.release()
    return video


def copied(labelled: Path, place: Path) -> Path:
    return Path(shutil.copytree(labelled, place))


def document(folder: Path) -> dict[str, Any]:
    content = json.loads((folder / "annotations.json").read_text("utf-8"))
    assert isinstance(content, dict)
    return content


def change(folder: Path, **sections: Any) -> None:
    """Write annotations.json with other sections."""
    (folder / "annotations.json").write_text(json.dumps(document(folder) | sections), "utf-8")
