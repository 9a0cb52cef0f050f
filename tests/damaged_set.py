"""A COCO data set with splits, made of the embedded photographs, that has every defect."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2


def write_damaged_set(photographs: Path, out: Path) -> None:
    """Write it: of the first photographs there are copies, worse, smaller, damaged ones, and odd boxes.

    Args:
        photographs: images/ and annotations.json.
        out: The folder.
    """
    document = json.loads((photographs / "annotations.json").read_text("utf-8"))
    images = document["images"]
    boxes = {image["id"]: [] for image in images}
    for annotation in document["annotations"]:
        boxes[annotation["image_id"]].append(annotation)
    parts: dict[str, dict[str, list[Any]]] = {}
    for split, chosen in (("train", images[:24]), ("val", images[24:])):
        (out / f"{split}2017").mkdir(parents=True)
        for image in chosen:
            shutil.copy(photographs / "images" / image["file_name"], out / f"{split}2017")
        annotations = [box for image in chosen for box in boxes[image["id"]]]
        parts[split] = {"images": list(chosen), "annotations": annotations}

    def file(number: int) -> Path:
        return photographs / "images" / images[number]["file_name"]

    def add(split: str, name: str, number: int, content: bytes | None, **changes: int) -> None:
        new = {**images[number], "id": 10**6 + sum(len(part["images"]) for part in parts.values()), "file_name": name}
        parts[split]["images"].append(new | changes)
        if content is not None:
            (out / f"{split}2017" / name).write_bytes(content)

    def encoded(number: int, suffix: str, scale: float, quality: tuple[int, ...] = ()) -> bytes:
        pixels = cv2.resize(cv2.imread(str(file(number))), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        return bytes(cv2.imencode(suffix, pixels, quality)[1])

    half = {side: round(images[2][side] / 2) for side in ("width", "height")}
    add("train", "copy.jpg", 0, file(0).read_bytes())
    add("train", "worse.jpg", 1, encoded(1, ".jpg", 1, (cv2.IMWRITE_JPEG_QUALITY, 40)))
    add("train", "half.png", 2, encoded(2, ".png", 0.5), **half)
    add("val", "leak.jpg", 3, file(3).read_bytes())
    add("val", "leak.webp", 4, encoded(4, ".webp", 1, (cv2.IMWRITE_WEBP_QUALITY, 60)))
    add("train", "missing.jpg", 5, None)
    add("train", "cut.jpg", 5, file(5).read_bytes()[:-5000])
    add("train", "text.jpg", 5, b"no image")
    add("train", "other_sides.jpg", 5, file(5).read_bytes(), width=images[5]["width"] + 3)

    image = images[1]
    whole = [0, 0, image["width"], image["height"]]
    odd = [[5, 5, 2, 60], [10, 20, 20, 30], [10, 20, 20, 30], whole, [9999, 5, 20, 60], [-5, 5, 50, 60]]
    for number, box in enumerate(odd):
        made = {"id": 10**9 + number, "image_id": image["id"], "category_id": 1, "bbox": box, "iscrowd": 0}
        parts["train"]["annotations"].append(made)
    (out / "annotations").mkdir()
    for split, part in parts.items():
        content = json.dumps({**part, "categories": document["categories"]})
        (out / "annotations" / f"instances_{split}2017.json").write_text(content, "utf-8")
