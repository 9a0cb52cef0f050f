"""Small data sets in the shapes that labelling tools export, of embedded photographs."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from fcoslite.data.embedded import embedded_data

# file, width, height; boxes as x_min, y_min, x_max, y_max, pixels; all within
Boxes = dict[str, list[tuple[str, float, float, float, float]]]


def photographs(count: int = 4) -> list[tuple[str, int, int]]:
    """Name, width and height of embedded photographs."""
    document = json.loads((embedded_data() / "annotations.json").read_text("utf-8"))
    images = sorted(document["images"], key=lambda image: image["file_name"])
    return [(image["file_name"], image["width"], image["height"]) for image in images[:count]]


def boxes() -> Boxes:
    """Labels of four photographs: two boxes, one, one of another class, none."""
    first, second, third, fourth = (name for name, _, _ in photographs())
    return {
        first: [("person", 10, 20, 110, 170), ("person", 60, 40, 90, 100)],
        second: [("person", 0, 0, 50, 60)],
        third: [("dog", 30, 30, 80, 90)],
        fourth: [],
    }


def put(name: str, to: Path) -> None:
    """Copy a photograph."""
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(embedded_data() / "images" / name, to)


def write(path: Path, text: str) -> None:
    """Write a text, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def yolo_lines(name: str, width: int, height: int, classes: tuple[str, ...] = ("person", "dog")) -> str:
    lines = [
        f"{classes.index(label)} {(x0 + x1) / 2 / width} {(y0 + y1) / 2 / height} "
        f"{(x1 - x0) / width} {(y1 - y0) / height}\n"
        for label, x0, y0, x1, y1 in boxes()[name]
    ]
    return "".join(lines)


_SPLITS = ("train", "train", "valid", "test")


def roboflow_yolo(folder: Path) -> None:
    """train/images, train/labels; the paths of its data.yaml begin with `..`, and every image has a label file."""
    for (name, width, height), split in zip(photographs(), _SPLITS, strict=True):
        put(name, folder / split / "images" / name)
        write((folder / split / "labels" / name).with_suffix(".txt"), yolo_lines(name, width, height))
    write(
        folder / "data.yaml",
        "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 2\nnames: ['person', 'dog']\n\n"
        "roboflow:\n  workspace: w\n  project: p\n  version: 1\n  license: CC BY 4.0\n",
    )
    write(folder / "README.dataset.txt", "# people\n")


def ultralytics_yolo(folder: Path) -> None:
    """images/train, labels/train as in coco8; names as a map, and no label file where there is no box."""
    for (name, width, height), split in zip(photographs(), ("train", "train", "val", "val"), strict=True):
        put(name, folder / "images" / split / name)
        if lines := yolo_lines(name, width, height):
            write((folder / "labels" / split / name).with_suffix(".txt"), lines)
    write(
        folder / "coco8.yaml",
        "# Ultralytics\npath: coco8 # dataset root dir\ntrain: images/train # train images\nval: images/val\n"
        "test: # test images (optional)\n\nnames:\n  0: person\n  1: dog\n\n"
        "download: https://example.com/coco8.zip\n",
    )


def list_yolo(folder: Path) -> None:
    """CVAT's: train.txt lists images, with a folder before them that is not there."""
    names = []
    for name, width, height in photographs():
        put(name, folder / "images" / "train" / name)
        write((folder / "labels" / "train" / name).with_suffix(".txt"), yolo_lines(name, width, height))
        names.append(f"data/images/train/{name}\n")
    write(folder / "train.txt", "".join(names))
    write(folder / "data.yaml", "names:\n  0: person\n  1: dog\npath: .\ntrain: train.txt\n")


def label_studio_yolo(folder: Path) -> None:
    """images/, labels/, classes.txt in alphabetical order, notes.json."""
    for name, width, height in photographs():
        put(name, folder / "images" / name)
        write((folder / "labels" / name).with_suffix(".txt"), yolo_lines(name, width, height, ("dog", "person")))
    write(folder / "classes.txt", "dog\nperson\n")
    write(folder / "notes.json", json.dumps({"categories": [{"id": 0, "name": "dog"}], "info": {"year": 2026}}))


def label_studio_coco(folder: Path) -> None:
    """result.json beside images/, which its file names begin with; areas and ids from 0."""
    document = coco_document(photographs(), prefix="images/", first=0)
    for name, _, _ in photographs():
        put(name, folder / "images" / name)
    write(folder / "result.json", json.dumps(document))


def roboflow_coco(folder: Path) -> None:
    """_annotations.coco.json beside the images of each split; ids from 0 in each; a root category without boxes."""
    for split in ("train", "valid", "test"):
        of_split = [photograph for photograph, part in zip(photographs(), _SPLITS, strict=True) if part == split]
        document = coco_document(of_split, first=0)
        document["categories"] = [
            {"id": 0, "name": "people-dogs", "supercategory": "none"},
            {"id": 1, "name": "person", "supercategory": "people-dogs"},
            {"id": 2, "name": "dog", "supercategory": "people-dogs"},
        ]
        for annotation in document["annotations"]:
            annotation["category_id"] += 1
        for name, _, _ in of_split:
            put(name, folder / split / name)
        write(folder / split / "_annotations.coco.json", json.dumps(document))


def official_coco(folder: Path) -> None:
    """annotations/instances_train2017.json and train2017/."""
    for split, chosen in (("train2017", slice(0, 2)), ("val2017", slice(2, 4))):
        for name, _, _ in photographs()[chosen]:
            put(name, folder / split / name)
        document = coco_document(photographs()[chosen], first=100 * chosen.start + 1)
        write(folder / "annotations" / f"instances_{split}.json", json.dumps(document))


def cvat_coco(folder: Path) -> None:
    """annotations/instances_default.json and images/default/."""
    for name, _, _ in photographs():
        put(name, folder / "images" / "default" / name)
    write(folder / "annotations" / "instances_default.json", json.dumps(coco_document(photographs(), first=1)))


def coco_document(chosen: list[tuple[str, int, int]], prefix: str = "", first: int = 1) -> dict[str, list[dict]]:
    images, annotations = [], []
    for number, (name, width, height) in enumerate(chosen, start=first):
        images.append({"id": number, "file_name": prefix + name, "width": width, "height": height})
        for label, x0, y0, x1, y1 in boxes()[name]:
            annotations.append(
                {
                    "id": first + len(annotations),
                    "image_id": number,
                    "category_id": ("person", "dog").index(label),
                    "bbox": [x0, y0, x1 - x0, y1 - y0],
                    "area": (x1 - x0) * (y1 - y0),
                    "segmentation": [],
                    "iscrowd": 0,
                    "ignore": 0,
                }
            )
    categories = [{"id": 0, "name": "person"}, {"id": 1, "name": "dog"}]
    return {"images": images, "annotations": annotations, "categories": categories}


def voc_xml(name: str, width: int, height: int, first: int = 1, filename: str | None = None) -> str:
    objects = "".join(
        f"<object>\n<name>{label}</name>\n<pose>Unspecified</pose>\n<truncated>0</truncated>\n"
        f"<difficult>0</difficult>\n<occluded>0</occluded>\n<bndbox>\n<xmin>{x0 + first}</xmin>\n"
        f"<ymin>{y0 + first}</ymin>\n<xmax>{x1}</xmax>\n<ymax>{y1}</ymax>\n</bndbox>\n"
        "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>2</xmax><ymax>2</ymax></bndbox></part>\n"
        "</object>\n"
        for label, x0, y0, x1, y1 in boxes()[name]
    )
    return (
        f"<annotation>\n<folder>f</folder>\n<filename>{filename or name}</filename>\n"
        f"<source><database>Unknown</database></source>\n"
        f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>\n"
        f"<segmented>0</segmented>\n{objects}</annotation>\n"
    )


def cvat_voc(folder: Path) -> None:
    """Annotations/, JPEGImages/, ImageSets/Main/."""
    for name, width, height in photographs():
        put(name, folder / "JPEGImages" / name)
        write((folder / "Annotations" / name).with_suffix(".xml"), voc_xml(name, width, height))
    stems = [name[:-4] for name, _, _ in photographs()]
    write(folder / "ImageSets/Main/train.txt", "\n".join(stems[:2]) + "\n")
    write(folder / "ImageSets/Main/val.txt", "\n".join(stems[2:]) + "\n")
    write(folder / "ImageSets/Main/person_train.txt", f"{stems[0]}  1\n{stems[1]} -1\n")
    write(folder / "labelmap.txt", "# label:color_rgb:parts:actions\nperson:::\n")


def label_img_voc(folder: Path) -> None:
    """XML files beside the images, with a declaration, and a path of another machine."""
    for name, width, height in photographs():
        put(name, folder / name)
        xml = voc_xml(name, width, height).replace("<source>", "<path>C:\\Users\\me\\a.jpg</path><source>")
        write((folder / name).with_suffix(".xml"), xml)


def roboflow_voc(folder: Path) -> None:
    """XML files beside the images of each split; corners count from 0."""
    for (name, width, height), split in zip(photographs(), _SPLITS, strict=True):
        put(name, folder / split / name)
        write((folder / split / name).with_suffix(".xml"), voc_xml(name, width, height, first=0))


def createml(folder: Path) -> None:
    """One JSON list beside the images."""
    for name, _, _ in photographs():
        put(name, folder / name)
    write(folder / "annotations.json", json.dumps(createml_items(photographs())))


def roboflow_createml(folder: Path) -> None:
    """_annotations.createml.json beside the images of each split."""
    for split in ("train", "valid", "test"):
        of_split = [photograph for photograph, part in zip(photographs(), _SPLITS, strict=True) if part == split]
        for name, _, _ in of_split:
            put(name, folder / split / name)
        write(folder / split / "_annotations.createml.json", json.dumps(createml_items(of_split)))


def createml_items(chosen: list[tuple[str, int, int]]) -> list[dict]:
    return [
        {
            "image": name,
            "annotations": [
                {
                    "label": label,
                    "coordinates": {"x": (x0 + x1) / 2, "y": (y0 + y1) / 2, "width": x1 - x0, "height": y1 - y0},
                }
                for label, x0, y0, x1, y1 in boxes()[name]
            ],
        }
        for name, _, _ in chosen
    ]


# by name: how to make it, its format, the splits of the photographs
EXPORTS: dict[str, tuple[Callable[[Path], None], str, tuple[str | None, ...]]] = {
    "roboflow-yolo": (roboflow_yolo, "yolo", ("train", "train", "val", "test")),
    "ultralytics-yolo": (ultralytics_yolo, "yolo", ("train", "train", "val", "val")),
    "cvat-yolo": (list_yolo, "yolo", ("train",) * 4),
    "label-studio-yolo": (label_studio_yolo, "yolo", (None,) * 4),
    "label-studio-coco": (label_studio_coco, "coco", (None,) * 4),
    "roboflow-coco": (roboflow_coco, "coco", ("train", "train", "val", "test")),
    "official-coco": (official_coco, "coco", ("train", "train", "val", "val")),
    "cvat-coco": (cvat_coco, "coco", (None,) * 4),
    "cvat-voc": (cvat_voc, "voc", ("train", "train", "val", "val")),
    "labelimg-voc": (label_img_voc, "voc", (None,) * 4),
    "roboflow-voc": (roboflow_voc, "voc", ("train", "train", "val", "test")),
    "createml": (createml, "createml", (None,) * 4),
    "roboflow-createml": (roboflow_createml, "createml", ("train", "train", "val", "test")),
}
