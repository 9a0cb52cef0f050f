from pathlib import Path

import cv2
import numpy as np

from fcoslite.data.dataset import Category
from fcoslite.data.formats.coco import CocoDocument, coco_categories
from fcoslite.labelling.journal import Entry
from fcoslite.labelling.sheet import _most_telling, write_sheet


def test_of_each_stretch_the_doubtful_and_the_sure() -> None:
    scores = [[0.1]] * 120
    scores[7], scores[3] = [0.3, 0.25], [0.9]
    scores[118], scores[113] = [0.3], [1, 1]  # drawn by humans
    chosen = _most_telling(scores)
    assert len(chosen) == 24 and chosen == sorted(set(chosen))
    assert {3, 7, 113, 118} <= set(chosen)
    assert [len([place for place in chosen if start <= place < start + 10]) for start in range(0, 120, 10)] == [2] * 12


def test_all_of_a_few() -> None:
    for count in (1, 5, 12):
        assert _most_telling([[0.5]] * count) == list(range(count))


def test_boxes_of_humans_sure_ones_and_others(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((480, 480, 3), np.uint8))
    corners = {1: [20, 20, 100, 100], 0.9: [220, 20, 100, 100], 0.3: [20, 220, 100, 100], 0.1: [220, 220, 100, 100]}
    document = CocoDocument(categories=coco_categories([Category(1, "person")]))
    for score, bbox in corners.items():
        document.add_box(1, 1, bbox, 10_000, score=score)
    write_sheet(document, [Entry("a.png", "a.png", 480, 480, 1, [], [], [])], tmp_path, tmp_path / "sheet.jpg")
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))[..., ::-1].astype(int)
    top = sheet.shape[0] - 480 - 9  # title above, margin below
    colours = [sheet[top + y + 100, x + 50 + 4] for x, y in ((20, 20), (220, 20), (20, 220), (220, 220))]
    for colour, expected in zip(colours, ((255, 255, 255), (60, 220, 90), (255, 170, 40), (0, 0, 0)), strict=True):
        np.testing.assert_allclose(colour, expected, atol=60)
