"""Pack photographs and boxes into slices small enough to send to a borrowed machine.

    python tools/gpu/pack.py OUT --megabytes 55 SET [SET ...]

A SET is NAME,ANNOTATIONS.json,IMAGES[,stretched]: a COCO file whose annotations may have a `score`, and the folder of
its photographs. `stretched` says that they were squeezed to squares. The first set goes first, the others are mixed, so
that training can begin with the first slice and every further one is like the last.

A slice is a tar file: photographs as AVIF, and photographs.json with their boxes in the pixels of those. Needs Pillow
and fcoslite.
"""

import argparse
import io
import json
import random
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fcoslite.data.images import read_image
from fcoslite.detections.detections import Detections
from fcoslite.labelling.fuse import chosen_rows

_LOWEST_SCORE = 0.15  # of a box that can be of any use


def read_set(text: str) -> list[dict[str, Any]]:
    """The photographs of a SET: set, id, path, sides, stretched, boxes [[x, y, w, h, score, crowd], ...]."""
    name, annotations, images, *flags = text.split(",")
    if unknown := set(flags) - {"stretched"}:
        raise SystemExit(f"{text}: {', '.join(unknown)} is no flag of a set")
    document = json.loads(Path(annotations).read_text("utf-8"))
    photographs = {
        image["id"]: {
            "set": name,
            "id": image["id"],
            "path": str(Path(images) / image["file_name"]),
            "sides": (image["height"], image["width"]),
            "stretched": "stretched" in flags,
            "boxes": [],
        }
        for image in document["images"]
    }
    for one in document["annotations"]:
        photographs[one["image_id"]]["boxes"].append([*one["bbox"], one.get("score", 1.0), one.get("iscrowd", 0)])
    for photograph in photographs.values():
        photograph["boxes"] = usable_boxes(photograph["boxes"])
    return list(photographs.values())


def usable_boxes(boxes: list[list[float]]) -> list[list[float]]:
    """Of rows x, y, w, h, score, crowd those that teach something, as `fcoslite label` chooses them; surest first."""
    boxes = [box for box in boxes if box[2] > 0 and box[3] > 0]
    rows = np.array(boxes, np.float32).reshape(-1, 6)
    corners = np.concatenate([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    found = Detections(corners, rows[:, 4], np.ones(len(rows), np.int32), ("person",))
    return [boxes[row] for row in chosen_rows(found, _LOWEST_SCORE)]


def encode(photograph: dict[str, Any], side: int, quality: int) -> tuple[dict[str, Any], bytes]:
    """A photograph no larger than `side` as AVIF, and its entry in photographs.json."""
    # in the orientation that the boxes are for
    image = Image.fromarray(read_image(Path(photograph["path"]), photograph["sides"]))
    scale = min(1.0, side / max(image.size))
    size = (round(image.width * scale), round(image.height * scale))
    fx, fy = size[0] / image.width, size[1] / image.height
    if scale < 1:
        image = image.resize(size, Image.Resampling.LANCZOS)
    data = io.BytesIO()
    image.save(data, "AVIF", quality=quality, speed=8, max_threads=1)
    boxes = [[x * fx, y * fy, (x + w) * fx, (y + h) * fy, *rest] for x, y, w, h, *rest in photograph["boxes"]]
    facts = {key: photograph[key] for key in ("set", "stretched")}
    name = f"{photograph['set']}/{photograph['id']}.avif"  # two files may have the same name, in different folders
    rows = [[round(value, 3) for value in box] for box in boxes]
    return {**facts, "file": name, "width": size[0], "height": size[1], "boxes": rows}, data.getvalue()


def slices(encoded: Iterator[tuple[dict[str, Any], bytes]], limit: int) -> Iterator[list[tuple[dict[str, Any], bytes]]]:
    """Cut a stream of photographs into pieces of `limit` bytes."""
    piece: list[tuple[dict[str, Any], bytes]] = []
    size = 0
    for facts, data in encoded:
        taken = len(data) + 1024 + len(json.dumps(facts))  # tar's header and padding
        if piece and size + taken > limit:
            yield piece
            piece, size = [], 0
        piece.append((facts, data))
        size += taken
    if piece:
        yield piece


def write_slice(path: Path, piece: list[tuple[dict[str, Any], bytes]]) -> None:
    """Write one tar file."""
    with tarfile.open(path, "w") as tar:
        index = json.dumps([facts for facts, _ in piece]).encode()
        for name, data in [("photographs.json", index), *((facts["file"], data) for facts, data in piece)]:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def main() -> None:
    """Pack."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", nargs="+", metavar="SET")
    parser.add_argument("--megabytes", type=float, default=55)
    parser.add_argument("--side", type=int, default=448, help="longest side, pixels")
    parser.add_argument("--quality", type=int, default=50, help="of AVIF")
    parser.add_argument("--limit", type=int, help="photographs of each set, to try it out")
    options = parser.parse_args()

    options.out.mkdir(parents=True, exist_ok=True)
    sets = [read_set(text)[: options.limit] for text in options.sets]
    order = random.Random(0)
    order.shuffle(sets[0])
    rest = [photograph for one in sets[1:] for photograph in one]
    order.shuffle(rest)
    with ThreadPoolExecutor(2) as pool:
        encoded = pool.map(lambda one: encode(one, options.side, options.quality), [*sets[0], *rest])
        for number, piece in enumerate(slices(encoded, int(options.megabytes * 1e6))):
            path = options.out / f"slice-{number:02d}.tar"
            write_slice(path, piece)
            print(f"{path}: {len(piece)} photographs, {path.stat().st_size / 1e6:.1f} MB", flush=True)


if __name__ == "__main__":
    main()
