"""What a review makes of a set, and that nothing that was answered is lost."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fcoslite.data.formats.coco import read_coco
from fcoslite.errors import BusyError, DataError, FcosliteError
from fcoslite.labelling.label import label
from fcoslite.review import verdicts
from fcoslite.review.answers import PlaceAnswer
from fcoslite.review.review import LABELS, Review, doubtful_score, open_review
from fcoslite.storage.staged_folder import REVIEWS
from tests.disks import SmallDisk
from tests.review_sets import change, copied, document


def annotations(folder: Path) -> dict[tuple[str, tuple[float, ...]], dict[str, Any]]:
    content = document(folder)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    return {(names[one["image_id"]], tuple(one["bbox"])): one for one in content["annotations"]}


def key(review: Review, row: int) -> tuple[str, tuple[float, ...]]:
    table = review.labels.table
    return table.images[review.labels.images[row]].file_name, review.labels.bbox(row)


def at_place(review: Review, row: int, place: PlaceAnswer) -> bool:
    return bool(verdicts.at_place(review.labels.shares[[row]], place)[0])


def test_the_most_doubtful_come_first(photographs: Path) -> None:
    content = document(photographs)
    surest = max(content["annotations"], key=lambda one: one["score"])
    surest["ask"] = True
    change(photographs, annotations=content["annotations"])
    with open_review(photographs) as review:
        rows = review.ahead(10**6)
        scores = [float(review.labels.table.scores[row]) for row in rows]
    assert len(rows) == len(content["annotations"])
    assert scores[0] == surest["score"]  # asked for
    doubts = [abs(score - doubtful_score()) for score in scores[1:]]
    assert doubts == sorted(doubts) and doubtful_score() == pytest.approx(0.35)
    assert not (photographs / REVIEWS).exists() and document(photographs) == content  # nothing was answered


def test_answers_are_in_the_annotations(photographs: Path) -> None:
    before = annotations(photographs)
    with open_review(photographs) as review:
        yes, no, unsure = review.ahead(3)
        review.answer(yes, "yes")
        review.answer(no, "no")
        review.answer(unsure, "unsure")
        review.draw(3, "person", (-5.0, 10.0, 50.0, 60.5))  # where no label is
        keys = [key(review, row) for row in (yes, no, unsure)]
        name = review.labels.table.images[3].file_name
        counts = review.counts()
        assert review.ahead(1)[0] not in (yes, no, unsure)
    assert (counts.yes, counts.no, counts.unsure, counts.drawn) == (1, 1, 1, 1)
    assert counts.left == counts.crops - 3 == len(before) - 3
    after = annotations(photographs)
    assert after.pop(keys[0]) == before.pop(keys[0]) | {"score": 1}
    assert keys[1] not in after and before.pop(keys[1])
    drawn = after.pop((name, (0.0, 10.0, 45.0, 60.5)))
    assert (drawn["score"], drawn["area"], drawn["iscrowd"]) == (1, 2722.5, 0)
    assert after == before  # and nothing else has changed, unsure ones neither
    data = read_coco(photographs / "annotations.json", photographs / "images")  # as training reads it
    assert sum((image.scores == 1).sum() for image in data.images) == 2


def test_what_asks_no_longer_asks_once_it_is_answered(photographs: Path) -> None:
    content = document(photographs)
    for one in content["annotations"][:2]:
        one |= {"ask": True, "track": 7}
    change(photographs, annotations=content["annotations"])
    with open_review(photographs) as review:
        for row in review.ahead(2):
            review.answer(row, "yes")
        assert review.counts().left == len(content["annotations"]) - 2
    for one, old in zip(document(photographs)["annotations"][:2], content["annotations"][:2], strict=True):
        assert one == {name: value for name, value in old.items() if name != "ask"} | {"score": 1}


def test_undo_takes_back_one_after_the_other_in_a_later_review_too(photographs: Path) -> None:
    before = document(photographs)
    with open_review(photographs) as review:
        first, second = review.ahead(2)
        review.answer(first, "no")
        review.answer(second, "yes")
        review.draw(3, "person", (10.0, 10.0, 30.0, 30.0))
    assert document(photographs) != before
    with open_review(photographs) as review:
        assert review.last == "drawn" and review.counts().drawn == 1
        review.undo()
        review.undo()
        assert review.ahead(1) == [second] and review.last == "no"
        review.undo()
        assert review.ahead(1) == [first] and review.last is None
        review.undo()  # there is nothing
    assert document(photographs) == before


def test_an_answer_is_given_once(photographs: Path) -> None:
    with open_review(photographs) as review:
        [row] = review.ahead(1)
        review.answer(row, "yes")
        review.answer(row, "no")  # a second window, which has not heard of the first answer
        assert review.counts().yes == 1 and review.counts().no == 0
    assert len((photographs / REVIEWS).read_text().splitlines()) == 2  # and a line about annotations.json


def test_never_at_this_place(camera: Path) -> None:
    before = annotations(camera)
    with open_review(camera) as review:
        row = review.ahead(1)[0]
        place = review.place(row)
        assert place is not None and place.camera == "door"
        here = review.open_at(place)
        left = review.counts().left
        assert 4 <= here <= 8  # most frames show it
        review.never(row)
        assert review.counts().left == left - here and review.counts().at_places == here
        box = review.labels.shares[row]
    after = annotations(camera)
    assert len(after) == len(before) - here
    sides = np.array([document(camera)["images"][0][side] for side in ("width", "height")] * 2)
    centre = (box[:2] + box[2:] / 2) * sides[:2]
    gone = [bbox for _, bbox in before.keys() - after.keys()]
    assert all(np.abs(np.array(one[:2]) + np.array(one[2:]) / 2 - centre).max() < 0.3 * max(one[2:]) for one in gone)
    with open_review(camera) as review:
        review.undo()
    assert annotations(camera) == before


def test_never_at_this_place_holds_for_later_frames_and_not_for_answers(camera: Path) -> None:
    whole = document(camera)
    early = {image["id"] for image in whole["images"][:4]}
    shutil.copy(camera / "annotations.json", camera / "whole.json")
    change(
        camera,
        images=[image for image in whole["images"] if image["id"] in early],
        annotations=[one for one in whole["annotations"] if one["image_id"] in early],
    )
    with open_review(camera) as review:
        row = review.ahead(1)[0]
        place = review.place(row)
        assert place is not None
        review.never(row)
    (camera / "whole.json").replace(camera / "annotations.json")  # more was collected, and labelled
    with open_review(camera) as review:
        assert review.open_at(place) == 0
        assert review.counts().at_places > 4
        review.undo()
        there = [row for row in review.ahead(10**6) if review.open_at(place) and at_place(review, row, place)]
        review.answer(there[0], "yes")  # somebody stood there, once
        review.never(there[1])
        assert review.open_at(place) == 0
        removed = review.counts().at_places
        assert removed >= len(there) - 2
    assert len(annotations(camera)) == len(whole["annotations"]) - removed
    assert sum(one["score"] == 1 for one in annotations(camera).values()) == 1


def test_no_place_without_a_camera(photographs: Path) -> None:
    with open_review(photographs) as review:
        with pytest.raises(DataError, match="no camera is known"):
            review.never(review.ahead(1)[0])
        assert review.last is None


def test_a_frame_of_a_video_is_told_by_its_seconds(photographs: Path) -> None:
    content = json.loads((photographs / "annotations.json").read_text())
    for number, image in enumerate(content["images"]):
        image |= {
            "video": "street.mp4",
            "seconds": 0.5 * number,
            "date_captured": f"1970-01-01T00:00:{number // 2:02}Z",
        }
    change(photographs, images=content["images"])
    with open_review(photographs) as review:
        assert review.labels.times[:3] == (0.0, 0.5, 1.0)


def test_cameras_of_one_folder_are_told_apart(photographs: Path) -> None:
    content = document(photographs)
    for number, image in enumerate(content["images"]):
        image |= {"camera": "door" if number % 2 else "yard", "date_captured": f"2026-11-28T22:41:{number:02}.120Z"}
    same = [
        {
            "id": image["id"],
            "image_id": image["id"],
            "category_id": 1,
            "bbox": [0.2 * image["width"], 0.3 * image["height"], 0.1 * image["width"], 0.4 * image["height"]],
            "score": 0.3,
        }
        for image in content["images"]
    ]  # of frames of different sizes, too
    change(photographs, images=content["images"], annotations=same)
    with open_review(photographs) as review:
        row = review.ahead(1)[0]
        camera = review.labels.cameras[review.labels.images[row]]
        assert review.labels.times[review.labels.images[row]].startswith("2026-11-28T22:41:")  # type: ignore[union-attr]
        review.never(row)
        assert review.counts().at_places == 16
        assert {review.labels.cameras[review.labels.images[one]] for one in review.ahead(99)} == {"door", "yard"} - {
            camera
        }


def test_a_box_that_is_drawn_over_a_label_takes_its_place(photographs: Path) -> None:
    with open_review(photographs) as review:
        row = review.ahead(1)[0]
        x, y, width, height = review.labels.bbox(row)
        image = int(review.labels.images[row])
        review.draw(image, "person", (x, y, width * 1.2, height))
        assert row not in review.ahead(10**6)
        number = int(review.labels.table.annotation_ids[row])
    [one] = [one for one in document(photographs)["annotations"] if one["id"] == number]
    assert one["score"] == 1 and one["bbox"][2] == pytest.approx(width * 1.2, abs=0.01)
    assert one["area"] == pytest.approx(one["bbox"][2] * one["bbox"][3], abs=0.01)


@pytest.mark.parametrize("bbox", [(-50, 0, 50, 50), (0, 0, 1, 40), (1e9, 0, 5, 5), (0, -1e300, 5, 1e299)])
def test_boxes_that_cannot_be_drawn(photographs: Path, bbox: tuple[float, float, float, float]) -> None:
    with open_review(photographs) as review:
        with pytest.raises(DataError, match="too small"):
            review.draw(0, "person", bbox)
        assert review.last is None


def test_labelled_anew(photographs: Path, demo_data: Path) -> None:
    """A yes stays, be it found again or not; a no goes; answers survive `label --overwrite`."""
    with open_review(photographs) as review:
        rows = review.ahead(12)
        for place, row in enumerate(rows):
            review.answer(row, "yes" if place % 2 else "no")
        yes = [key(review, row) for row in rows[1::2]]
        no = [key(review, row) for row in rows[::2]]
        review.draw(0, "person", (5.0, 5.0, 30.0, 30.0))
    # without mirror images another detector sees other boxes, and in many pictures none
    label([demo_data / "images"], photographs, by=["lite"], mirror=False, score=0.3, overwrite=True)
    assert not any(one["score"] == 1 for one in document(photographs)["annotations"])
    with open_review(photographs) as review:
        assert review.counts().yes == 6
    after = annotations(photographs)
    assert {name for name, one in after.items() if one["score"] == 1} >= set(yes)
    assert not any(name in after for name in no)
    assert sum(one["score"] == 1 for one in after.values()) == 7
    assert len({one["id"] for one in after.values()}) == len(after)


def test_what_others_change_in_the_annotations_stays(photographs: Path) -> None:
    with open_review(photographs) as review:
        first, second = review.ahead(2)
        review.answer(first, "no")
        keys = key(review, first), key(review, second)
    content = document(photographs)
    change(
        photographs,
        annotations=content["annotations"] + [content["annotations"][0] | {"id": 9999, "bbox": [1, 2, 30, 40]}],
    )
    with open_review(photographs) as review:
        review.answer(next(row for row in review.ahead(10**6) if key(review, row) == keys[1]), "no")
    after = annotations(photographs)
    assert any(one["id"] == 9999 for one in after.values()) and not set(keys) & set(after)


def test_annotations_come_up_to_date_after_a_kill(photographs: Path) -> None:
    before = annotations(photographs)
    with open_review(photographs) as review:
        rows = review.ahead(5)
        for row in rows:
            review.answer(row, "no")
        keys = {key(review, row) for row in rows}
        review.write()
        written = (photographs / "annotations.json").read_bytes()
        review.undo()
        journal = (photographs / REVIEWS).read_bytes()
        # a copy as a kill would leave it: with a journal ahead of annotations.json
        killed = copied(photographs, photographs.parent / "killed")
    assert (killed / "annotations.json").read_bytes() == written
    (killed / REVIEWS).write_bytes(journal + b'{"type":"undo')  # in the middle of a line
    with open_review(killed) as review:
        assert review.counts().no == 4
        assert annotations(killed) == annotations(photographs)
    assert before.keys() - annotations(killed).keys() == keys - {key(review, rows[-1])}


def test_a_damaged_line_is_named_and_the_others_count(photographs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_review(photographs) as review:
        for row in review.ahead(3):
            review.answer(row, "yes")
    path = photographs / REVIEWS
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = b"\x00\xff" + lines[1][2:]
    path.write_bytes(b"".join(lines))
    with caplog.at_level(logging.WARNING), open_review(photographs) as review:
        assert review.counts().yes == 2
    assert "reviews.jsonl: 1 damaged lines are left as they are, and not counted: line 2" in caplog.text
    assert path.read_bytes().startswith(b"".join(lines))


def test_two_reviews_of_one_folder(photographs: Path, demo_data: Path) -> None:
    with open_review(photographs):
        busy = pytest.raises(BusyError, match=r"the review of .*photographs is being written by process")
        with busy as caught, open_review(photographs):
            pass
        assert caught.value.hint == "wait until it ends, or stop it"
        with pytest.raises(BusyError, match="is being written"):  # nor is it labelled under the reviewer's hands
            label([demo_data / "images"], photographs, by=["lite"], mirror=False, overwrite=True)
    with open_review(photographs):
        pass


def test_images_that_cannot_be_shown(photographs: Path, caplog: pytest.LogCaptureFixture) -> None:
    with open_review(photographs) as review:
        order = [review.labels.table.images[review.labels.images[row]].file_name for row in review.ahead(10**6)]
    first, second = list(dict.fromkeys(order))[:2]
    (photographs / "images" / first).unlink()
    (photographs / "images" / second).write_bytes(b"no picture")
    with open_review(photographs) as review:
        review.check_images()
        assert review.counts().skipped_images == 2
        assert review.counts().left == sum(name not in (first, second) for name in order)
        assert review.read(int(review.labels.images[review.ahead(1)[0]])) is not None
    assert f"{first}: missing; it is left out" in caplog.text and second in caplog.text
    shutil.rmtree(photographs / "images")
    with open_review(photographs) as review, pytest.raises(DataError, match="of 32 images cannot be used") as caught:
        review.check_images()
    assert "missing" in str(caught.value.message) and caught.value.hint


def test_folders_that_cannot_be_reviewed(photographs: Path, tmp_path: Path, demo_data: Path) -> None:
    def refused(folder: Path) -> FcosliteError:
        with pytest.raises(FcosliteError) as caught, open_review(folder):
            pass
        assert caught.value.hint
        return caught.value

    assert "no folder" in refused(tmp_path / "none").message
    assert "no folder" in refused(photographs / "annotations.json").message
    assert "has no annotations.json" in refused(photographs / "images").message
    content = document(photographs)
    change(photographs, annotations=[])
    assert "has no boxes" in refused(photographs).message
    change(photographs, annotations=[{**one, "score": 1} for one in content["annotations"]])
    assert "no box to doubt" in refused(photographs).message
    human = copied(demo_data, tmp_path / "human")  # without scores at all
    assert "no box to doubt" in refused(human).message and "label" in refused(human).hint
    change(photographs, annotations=[{**one, "id": str(one["id"])} for one in content["annotations"]])
    assert "not as `label` writes it" in refused(photographs).message and "convert" in refused(photographs).hint
    change(photographs, annotations=[{**one, "ask": "yes"} for one in content["annotations"]])
    assert "$.annotations[0].ask" in refused(photographs).message
    (photographs / "annotations.json").write_text("[")
    assert "annotations.json" in refused(photographs).message
    assert not (photographs / REVIEWS).exists() and not (photographs / LABELS).exists()


def test_a_dry_run_writes_nothing(photographs: Path) -> None:
    before = {path.name: path.read_bytes() for path in photographs.iterdir() if path.is_file()}
    with open_review(photographs, read_only=True) as review:
        review.check_images()
        assert review.counts().left > 100
    assert {path.name: path.read_bytes() for path in photographs.iterdir() if path.is_file()} == before


def test_a_full_disk_loses_nothing(photographs: Path, small_disk: SmallDisk) -> None:
    small_disk.resize(64 << 20)
    folder = copied(photographs, small_disk.path / "set")
    with pytest.raises(FcosliteError), open_review(folder) as review:
        first, second = review.ahead(2)
        review.answer(first, "no")
        used = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        small_disk.resize(used + (1 << 20))
        with pytest.raises(FcosliteError, match="is full"):
            review.answer(second, "no")
        assert review.ahead(1) == [second]  # it was not given
        assert len((folder / REVIEWS).read_text().splitlines()) == 1
        # and at the end annotations.json cannot be written, which is said
    small_disk.resize(64 << 20)
    with open_review(folder) as review:
        assert review.counts().no == 1
    assert json.loads((folder / "annotations.json").read_text())["annotations"]
