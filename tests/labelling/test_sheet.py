from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fcoslite.labelling.sheet import _most_telling, write_sheet


def scored(*scores: float) -> list[dict[str, float]]:
    return [{"score": score} for score in scores]


def test_of_each_stretch_the_doubtful_and_the_sure() -> None:
    boxes = [scored(0.1)] * 120
    boxes[7], boxes[3] = scored(0.3, 0.25), scored(0.9)
    boxes[118], boxes[113] = scored(0.3), [{}, {}]  # drawn by humans
    chosen = _most_telling(boxes)
    assert len(chosen) == 24 and chosen == sorted(set(chosen))
    assert {3, 7, 113, 118} <= set(chosen)
    assert [len([place for place in chosen if start <= place < start + 10]) for start in range(0, 120, 10)] == [2] * 12


def test_all_of_a_few() -> None:
    for count in (1, 5, 12):
        assert _most_telling([scored(0.5)] * count) == list(range(count))


def test_boxes_of_humans_sure_ones_and_others(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((480, 480, 3), np.uint8))
    corners = {None: [20, 20, 100, 100], 0.9: [220, 20, 100, 100], 0.3: [20, 220, 100, 100], 0.1: [220, 220, 100, 100]}
    annotations: list[dict[str, Any]] = [
        {"image_id": 1, "category_id": 1, "bbox": bbox} | ({} if score is None else {"score": score})
        for score, bbox in corners.items()
    ]
    document = {
        "images": [{"id": 1, "file_name": "a.png", "height": 480, "width": 480}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": annotations,
    }
    write_sheet(document, tmp_path, tmp_path / "sheet.jpg")
    sheet = cv2.imread(str(tmp_path / "sheet.jpg"))[..., ::-1].astype(int)
    top = sheet.shape[0] - 480 - 9  # title above, margin below
    colours = [sheet[top + y + 100, x + 50 + 4] for x, y in ((20, 20), (220, 20), (20, 220), (220, 220))]
    for colour, expected in zip(colours, ((255, 255, 255), (60, 220, 90), (255, 170, 40), (0, 0, 0)), strict=True):
        np.testing.assert_allclose(colour, expected, atol=60)
