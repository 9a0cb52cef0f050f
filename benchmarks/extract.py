"""Time and peak memory of reading a COCO file of train2017's size, against `json.load` of the same file.

Run: python benchmarks/extract.py [--images 118287] [--annotations 860001] [--keep FILE]

The file (about 450 MB, with polygons) is generated in a temporary folder; each reader runs in a process
of its own, so that its peak memory is its own. No image is read or copied.
"""

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IMAGE = (
    '{"license": %d,"file_name": "%012d.jpg","coco_url": "http://images.cocodataset.org/train2017/%012d.jpg",'
    '"height": 480,"width": 640,"date_captured": "2013-11-14 11:18:45",'
    '"flickr_url": "http://farm9.staticflickr.com/8186/%010d_8d7e1d0f5a_z.jpg","id": %d}'
)
ANNOTATION = (
    '{"segmentation": [[%s]],"area": %.4f,"iscrowd": %d,"image_id": %d,"bbox": [%.2f,%.2f,%.2f,%.2f],'
    '"category_id": %d,"id": %d}'
)


def generate(path: Path, images: int, annotations: int, seed: int = 0) -> None:
    """Write an instances file: 80 categories, 30 % persons, 25 points a polygon, 1 % crowds."""
    rng = random.Random(seed)
    points = [f"{rng.uniform(0, 640):.2f},{rng.uniform(0, 480):.2f}" for _ in range(5000)]
    with path.open("w", encoding="ascii", newline="\n") as file:
        file.write('{"info": {"description": "generated"},"licenses": [{"url": "-","id": 1,"name": "none"}],')
        file.write('"images": [')
        order = list(range(1, images + 1))
        rng.shuffle(order)
        for index, image_id in enumerate(order):
            file.write("," if index else "")
            file.write(IMAGE % (1 + image_id % 8, image_id, image_id, image_id, image_id))
        file.write('],"annotations": [')
        for index in range(annotations):
            polygon = ",".join(rng.choices(points, k=25))
            x, y = rng.uniform(0, 600), rng.uniform(0, 440)
            box = (x, y, rng.uniform(1, 640 - x), rng.uniform(1, 480 - y))
            category = 1 if rng.random() < 0.3 else rng.randint(2, 80)
            crowd = int(rng.random() < 0.01)
            image_id = rng.randint(1, images)
            file.write("," if index else "")
            file.write(ANNOTATION % (polygon, box[2] * box[3], crowd, image_id, *box, category, index + 1))
        names = ["person", *(f"thing-{number}" for number in range(2, 81))]
        categories = [{"supercategory": "-", "id": 1 + index, "name": name} for index, name in enumerate(names)]
        file.write(f'],"categories": {json.dumps(categories)}}}')


def read_with_json(path: Path) -> str:
    with path.open(encoding="utf-8") as file:
        tree = json.load(file)
    return f"{len(tree['images']):,} images, {len(tree['annotations']):,} annotations"


def read_persons(path: Path) -> str:
    from fcoslite.data.coco import read_coco

    data = read_coco(path, path.parent, ["person"])
    return f"{len(data.images):,} images, {sum(len(image.class_ids) for image in data.images):,} boxes"


def read_all(path: Path) -> str:
    from fcoslite.data.coco import read_coco

    data = read_coco(path, path.parent)
    return f"{len(data.images):,} images, {sum(len(image.class_ids) for image in data.images):,} boxes"


def select_persons(path: Path) -> str:
    from fcoslite.data.coco_file import open_coco
    from fcoslite.data.extract import encode_annotations
    from fcoslite.data.selection import select_images

    source = open_coco(path, ["person"])
    chosen, _ = select_images(source, limit=None, negatives=0.1, seed=0)
    return f"{len(chosen):,} images, {len(encode_annotations(source, chosen)) / 1e6:.0f} MB written"


READERS = {
    "json.load": read_with_json,
    "read_coco, all classes": read_all,
    "read_coco, person": read_persons,
    "extract, person, without image files": select_persons,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--keep", type=Path, help="write the generated file here, or use it if it exists")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        start = time.perf_counter()
        note = READERS[arguments.reader](arguments.file)
        seconds = time.perf_counter() - start
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": peak_mb, "note": note}))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.keep or Path(folder) / "instances.json"
        if not path.exists():
            generate(path, arguments.images, arguments.annotations)
        print(f"{path.stat().st_size / 1e6:.0f} MB of JSON")
        print(f"{'reader':38}{'seconds':>9}{'peak MiB':>10}  result")
        for name in READERS:
            command = [sys.executable, __file__, "--reader", name, "--file", str(path)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            row = json.loads(output)
            print(f"{name:38}{row['seconds']:9.1f}{row['peak_mb']:10.0f}  {row['note']}")


if __name__ == "__main__":
    main()
