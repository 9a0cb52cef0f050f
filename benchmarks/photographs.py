"""The embedded photographs, as many times over as a stage needs, in the layouts that fcoslite reads."""

import json
import shutil
from pathlib import Path

from fcoslite.data.embedded import embedded_data

DEMO_DATA = embedded_data()


def copied(annotations: Path, images: Path, folder: Path, copies: int) -> Path:
    """The same images again and again, as links under other names, as `fcoslite extract` would leave them."""
    document = json.loads(annotations.read_text("utf-8"))
    (folder / "images").mkdir(parents=True)
    new_images, new_annotations = [], []
    for copy in range(copies):
        for image in document["images"]:
            name = f"{copy:03d}-{Path(image['file_name']).name}"
            _link((images / image["file_name"]).resolve(), folder / "images" / name)
            new_images.append(image | {"id": image["id"] + copy * 10**9, "file_name": name})
        for item in document["annotations"]:
            shifted = {"id": item["id"] + copy * 10**9, "image_id": item["image_id"] + copy * 10**9}
            new_annotations.append(item | shifted)
    document |= {"images": new_images, "annotations": new_annotations}
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def photographs(folder: Path, copies: int = 1) -> Path:
    """The embedded ones."""
    return copied(DEMO_DATA / "annotations.json", DEMO_DATA / "images", folder, copies)


def _link(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # another disk
        shutil.copyfile(source, target)
