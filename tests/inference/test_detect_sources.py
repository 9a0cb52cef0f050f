import csv
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.data.formats.coco import read_coco
from fcoslite.data.image_formats import IMAGE_SUFFIXES
from fcoslite.data.images import encode_picture, read_image
from fcoslite.errors import ConfigError, DataError, SourceError
from fcoslite.inference.detect import Predicts
from fcoslite.inference.detect_sources import Result, ResultWriter, Unreadable, chosen_class_ids, detect_sources
from fcoslite.inference.input.listing import list_sources
from fcoslite.inference.input.open import open_source
from fcoslite.inference.output import result_files as files
from fcoslite.inference.output.places import check_new

Finder = Callable[..., Predicts]


class Keeps:
    def __init__(self) -> None:
        self.results: list[Result] = []
        self.closed = False

    def write(self, result: Result) -> None:
        self.results.append(result)

    def close(self) -> None:
        self.closed = True


def test_images_and_every_nth_frame_in_their_order(folder: Path, video: Path, centre_finder: Finder) -> None:
    kept = Keeps()
    sources = list_sources([str(folder / "c.jpeg"), str(video), str(folder)])
    summary = detect_sources(sources, centre_finder(), (1,), [kept], every=10)
    seen = [(result.source.name, result.frame) for result in kept.results]
    assert seen == [
        ("c.jpeg", None),
        ("walk.avi", 0),
        ("walk.avi", 10),
        ("walk.avi", 20),
        ("a.jpg", None),
        ("b.PNG", None),
    ]
    assert [result.seconds for result in kept.results[1:4]] == pytest.approx([0, 10 / 12, 20 / 12])
    assert (summary.images, summary.frames, summary.detections, summary.with_detections) == (3, 3, 6, 6)
    assert summary.document()["by_class"] == {"person": 6}
    assert kept.closed


def test_what_cannot_be_written_is_named_and_the_rest_is_done(
    folder: Path, centre_finder: Finder, messages: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    # a PNG by its content, and a JPEG by the name that its result is to have
    (folder / "b2.jpg").write_bytes(cv2.imencode(".png", np.zeros((20, 70_000, 3), np.uint8))[1].tobytes())
    kept = Keeps()
    writers: list[ResultWriter] = [files.DrawnWriter(tmp_path / "drawn"), kept]
    summary = detect_sources(list_sources([str(folder)]), centre_finder(), (1,), writers)
    assert summary.images == len(kept.results) == 4
    [unwritten] = summary.document()["unwritten"]
    assert unwritten["name"] == "b2.jpg" and "70000x20 pixels" in unwritten["reason"]
    assert sorted(path.name for path in (tmp_path / "drawn").iterdir()) == ["a.jpg", "b.PNG", "c.jpeg"]
    assert "65,500" in messages.text
    with pytest.raises(DataError, match=r"no picture could be written: b2\.jpg"):
        detect_sources(list_sources([str(folder / "b2.jpg")]), centre_finder(), (1,), [writers[0]])


@pytest.mark.parametrize("suffix", IMAGE_SUFFIXES)
def test_every_kind_of_image_is_read_and_drawn_under_its_name(
    folder: Path, centre_finder: Finder, tmp_path: Path, suffix: str
) -> None:
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    pixels = read_image(folder / "a.jpg")
    (pictures / f"x{suffix}").write_bytes(encode_picture(pixels, suffix))
    (pictures / f"empty{suffix}").write_bytes(b"")
    (pictures / f"broken{suffix}").symlink_to("nowhere")
    for words in ([str(pictures)], [str(each) for each in pictures.iterdir() if each.exists()]):
        summary = detect_sources(list_sources(words), centre_finder(), (1,), [files.DrawnWriter(tmp_path / "drawn")])
        assert (summary.images, summary.detections) == (1, 1)
        reasons = {each.name: each.reason for each in summary.unreadable}
        assert reasons == {f"empty{suffix}": "empty"} | (
            {f"broken{suffix}": "a link to nothing"} if len(words) == 1 else {}
        )
    assert read_image(tmp_path / "drawn" / f"x{suffix}").shape == pixels.shape


def test_other_classes_are_dropped(folder: Path, centre_finder: Finder) -> None:
    summary = detect_sources(list_sources([str(folder)]), centre_finder(), (2,), [])
    assert (summary.images, summary.detections, summary.with_detections) == (3, 0, 0)
    assert chosen_class_ids([], ("cat", "dog")) == (1, 2)
    assert chosen_class_ids(["dog"], ("cat", "dog")) == (2,)
    names = ("cat", "dog", "dog, asleep")
    for words in (["dog", "cat"], ["dog,cat"], ["cat, dog", "dog"]):
        assert chosen_class_ids(words, names) == (1, 2)
    assert chosen_class_ids(["dog, asleep"], names) == (3,)
    with pytest.raises(ConfigError, match="dig"):
        chosen_class_ids(["cat,dig"], ("cat", "dog"))
    with pytest.raises(ConfigError, match="no class is chosen"):
        chosen_class_ids([","], ("cat", "dog"))


def test_what_cannot_be_read_is_named_and_the_rest_is_done(
    folder: Path, video: Path, centre_finder: Finder, messages: pytest.LogCaptureFixture
) -> None:
    (folder / "b.PNG").write_bytes(b"no image")
    broken = folder / "broken.mp4"
    broken.write_bytes(b"no video")
    sources = list_sources([str(folder), str(broken), str(video)])
    summary = detect_sources(sources, centre_finder(), (1,), [])
    assert (summary.images, summary.frames) == (2, 24)
    assert [each.name for each in summary.unreadable] == ["b.PNG", "broken.mp4"]
    assert isinstance(summary.unreadable[0], Unreadable) and "no image" in summary.unreadable[0].reason
    assert "b.PNG" in messages.text and "broken.mp4" in messages.text

    kept = Keeps()
    with pytest.raises(SourceError, match=r"b\.PNG.*and 1 more"):
        detect_sources(list_sources([str(folder / "b.PNG"), str(broken)]), centre_finder(), (1,), [kept])
    assert kept.closed


def test_writers_are_closed_when_one_fails(folder: Path, centre_finder: Finder) -> None:
    class Full(Keeps):
        def write(self, result: Result) -> None:
            raise OSError("no space")

    before, after = Keeps(), Keeps()
    with pytest.raises(OSError, match="no space"):
        detect_sources(list_sources([str(folder)]), centre_finder(), (1,), [before, Full(), after])
    assert before.closed and after.closed
    assert len(before.results) == 1


@pytest.fixture
def written(folder: Path, video: Path, tmp_path: Path, centre_finder: Finder) -> Path:
    """Everything of three images and two frames; of each the middle half is found."""
    out = tmp_path / "out"
    (folder / "below").mkdir()
    (folder / "c.jpeg").rename(folder / "below" / "c.jpeg")
    writers: list[ResultWriter] = [
        files.DrawnWriter(out / "drawn"),
        files.CropWriter(out / "crops"),
        files.YoloWriter(out / "yolo"),
        files.CocoWriter(out / "coco.json", ("person",)),
        files.JsonlWriter(out / "found.jsonl"),
        files.CsvWriter(out / "found.csv"),
    ]
    sources = list_sources([str(folder), str(video)], recursive=True)
    detect_sources(sources, centre_finder(), (1,), writers, every=12)
    return out


NAMES = ["a", "b", "below/c", "walk-000000", "walk-000012"]


def names_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_drawn_images_and_videos(written: Path, folder: Path) -> None:
    drawn = written / "drawn"
    assert sorted(str(path.relative_to(drawn)) for path in drawn.rglob("*.*")) == [
        "a.jpg",
        "b.PNG",
        "below/c.jpeg",
        "walk.mp4",
    ]
    before, after = read_image(folder / "b.PNG"), read_image(drawn / "b.PNG")
    changed = np.abs(before.astype(int) - after).max(axis=2) > 40
    assert changed[:, 78:83].any() and not changed[90:150, 100:220].any()  # the box's side, and its inside
    with open_source(str(drawn / "walk.mp4")) as source:
        assert source.fps == pytest.approx(1)
        assert len(list(source)) == 2


def test_crops(written: Path) -> None:
    crops = written / "crops"
    assert sorted(path.relative_to(crops).as_posix() for path in crops.rglob("*.jpg")) == [
        f"{name}-1.jpg" for name in NAMES
    ]
    assert read_image(crops / "a-1.jpg").shape == (144, 192, 3)  # 120 x 160 and a tenth at each side


def test_yolo_labels(written: Path) -> None:
    yolo = written / "yolo"
    assert sorted(path.relative_to(yolo).as_posix() for path in yolo.rglob("*.txt")) == [
        f"{name}.txt" for name in NAMES
    ]
    assert (yolo / "a.txt").read_text() == "0 0.500000 0.500000 0.500000 0.500000 0.51200\n"


def test_the_coco_file_is_a_data_set(written: Path, folder: Path) -> None:
    document = json.loads((written / "coco.json").read_text())
    assert [image["file_name"] for image in document["images"]] == [
        "a.jpg",
        "b.PNG",
        "below/c.jpeg",
        *(f"{name}.jpg" for name in NAMES[3:]),
    ]
    assert document["images"][4] == {
        "id": 5, "file_name": "walk-000012.jpg", "height": 240, "width": 320,
        "video": "walk.avi", "frame": 12, "seconds": 1.0,
    }  # fmt: skip
    assert document["annotations"][1] == {
        "id": 2, "image_id": 2, "category_id": 1, "bbox": [80, 60, 160, 120], "area": 19200, "iscrowd": 0,
        "score": 0.512,
    }  # fmt: skip
    dataset = read_coco(written / "coco.json", folder, ("person",))
    assert [image.scores.tolist() for image in dataset.images] == [pytest.approx([0.512])] * 5


def test_lines(written: Path) -> None:
    lines = [json.loads(line) for line in (written / "found.jsonl").read_text("utf-8").splitlines()]
    found = [{"bbox": [80, 60, 160, 120], "score": 0.512, "class": "person"}]
    assert lines[2] == {"name": "below/c.jpeg", "height": 240, "width": 320, "detections": found}
    assert lines[4] == {
        "name": "walk.avi",
        "height": 240,
        "width": 320,
        "frame": 12,
        "seconds": 1.0,
        "detections": found,
    }
    with (written / "found.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == ["a.jpg", "b.PNG", "below/c.jpeg", "walk.avi", "walk.avi"]
    assert rows[0]["frame"] == "" and rows[4]["frame"] == "12"
    assert [float(rows[0][side]) for side in ("x_min", "y_min", "x_max", "y_max")] == [80, 60, 240, 180]
    assert (rows[0]["class"], rows[0]["score"]) == ("person", "0.512")


def test_what_is_there_is_not_written_over_unasked(written: Path, tmp_path: Path) -> None:
    for path, folder in ((written / "drawn", True), (written / "coco.json", False)):
        with pytest.raises(DataError, match="there already") as raised:
            check_new(path, "--flag", folder, overwrite=False)
        assert "--overwrite" in (raised.value.hint or "")
        check_new(path, "--flag", folder, overwrite=True)
    (tmp_path / "empty").mkdir()
    check_new(tmp_path / "empty", "--save", True, overwrite=False)
    check_new(Path("-"), "--csv", False, overwrite=False)
    with pytest.raises(DataError, match="is a folder"):
        check_new(tmp_path / "empty", "--csv", False, overwrite=True)


def test_a_box_at_the_border_is_cropped_within_it(tmp_path: Path, photograph: np.ndarray) -> None:
    from fcoslite.detections.detections import Detections

    path = tmp_path / "x.png"
    cv2.imwrite(str(path), photograph)
    [source] = list_sources([str(path)])
    boxes = np.array([[-5, -5, 50, 40], [319.8, 0, 320, 1]], np.float32)
    found = Detections(boxes, np.array([0.9, 0.8], np.float32), np.array([1, 1], np.int32), ("person",))
    writer = files.CropWriter(tmp_path / "crops")
    writer.write(Result(source, photograph, found))
    assert read_image(tmp_path / "crops" / "x-1.jpg").shape[:2] == (44, 56)
