"""Time and peak memory of reading a COCO file of train2017's size, against `json.load` of the same file.

Run: python -m benchmarks.extract [--images 118287] [--annotations 860001] [--file FILE] [--quick] [--out FOLDER]

The file (about 450 MB, with polygons) is generated in a temporary folder; each reader runs in a process
of its own, so that its peak memory is its own. No image is read or copied.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from benchmarks.table import Must, Row, finish_stage, peak_mib, stage_parser

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
    from fcoslite.data.formats.coco import read_coco

    data = read_coco(path, path.parent, ["person"])
    return f"{len(data.images):,} images, {sum(len(image.class_ids) for image in data.images):,} boxes"


def read_all(path: Path) -> str:
    from fcoslite.data.formats.coco import read_coco

    data = read_coco(path, path.parent)
    return f"{len(data.images):,} images, {sum(len(image.class_ids) for image in data.images):,} boxes"


def select_persons(path: Path) -> str:
    from fcoslite.data.extract.choose_images import select_images
    from fcoslite.data.formats.coco import encode_annotations
    from fcoslite.data.formats.coco_columns import open_coco

    source = open_coco(path, ["person"])
    chosen, _ = select_images(source, limit=None, negatives=0.1, seed=0)
    return f"{len(chosen):,} images, {len(encode_annotations(source, chosen)) / 1e6:.0f} MB written"


READERS = {
    "json.load": read_with_json,
    "read_coco, all classes": read_all,
    "read_coco, person": read_persons,
    "extract, person, without image files": select_persons,
}


def run_alone(reader: str, path: Path) -> tuple[float, float]:
    """Seconds and MiB of a reader in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.extract", "--reader", reader, "--file", str(path)]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[1]).stdout
    document = json.loads(output)
    return document["seconds"], document["mib"]


def read_here(reader: str, path: Path) -> None:
    """Print what `run_alone` reads."""
    start = time.perf_counter()
    READERS[reader](path)
    seconds = time.perf_counter() - start
    # of the process, with interpreter and imports
    print(json.dumps({"seconds": seconds, "mib": peak_mib()}))


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Seconds, and MiB at most."""
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.file or Path(folder) / "instances.json"
        if not path.exists():
            generate(path, arguments.images, arguments.annotations)
        rounds = [{name: run_alone(name, path) for name in READERS} for _ in range(1 if arguments.quick else 5)]
        size = path.stat().st_size / 1e6
    for name in list(READERS)[1:]:
        for index, unit, most in ((0, "s", 1.5), (1, "MiB", 1.2)):
            yield Row(
                stage="extract",
                what=f"{name}, {size:,.0f} MB of JSON",
                unit=unit,
                ours=median(each[name][index] for each in rounds),
                reference=median(each["json.load"][index] for each in rounds),
                reference_is="json.load",
                ratio=median(each[name][index] / each["json.load"][index] for each in rounds),
                must=Must("ratio", "≤", most),
            )


def main() -> None:
    parser = stage_parser(__doc__)
    parser.add_argument("--images", type=int, default=118_287)
    parser.add_argument("--annotations", type=int, default=860_001)
    parser.add_argument("--file", type=Path, help="write the generated file here, or use it if it exists")
    parser.add_argument("--reader", choices=READERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.reader:
        read_here(arguments.reader, arguments.file)
    else:
        finish_stage(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
