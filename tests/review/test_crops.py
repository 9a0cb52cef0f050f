import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from fcoslite.review.crops import cut_crop


@given(st.data())
def test_the_box_is_in_the_crop_with_what_is_around_it(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(8, 300)), data.draw(st.integers(8, 300))
    x, y = data.draw(st.floats(0, width - 4)), data.draw(st.floats(0, height - 4))
    bbox = (x, y, data.draw(st.floats(2, width - x)), data.draw(st.floats(2, height - y)))
    crop = cut_crop(np.zeros((height, width, 3), np.uint8), bbox)
    left, top, wide, high = crop.region
    assert 0 <= left <= left + wide <= width and 0 <= top <= top + high <= height
    assert left - 1 <= x and x + bbox[2] <= left + wide + 1 and top - 1 <= y and y + bbox[3] <= top + high + 1
    assert wide == min(width, max(wide, high)) and high == min(height, max(wide, high))  # a square where there is room
    least = 2.2 * max(bbox[2:]) - 1  # half a pixel, rounded
    assert wide >= min(width, least) and high >= min(height, least)
    assert Image.open(io.BytesIO(crop.jpeg)).size == (wide, high)


def test_large_crops_are_made_smaller() -> None:
    crop = cut_crop(np.zeros((2000, 3000, 3), np.uint8), (100.0, 100.0, 700.0, 1500.0))
    assert crop.region == (0, 0, 3000, 2000)
    assert Image.open(io.BytesIO(crop.jpeg)).size == (900, 600)


@pytest.mark.parametrize("corner", [(0, 0), (620, 460)])
def test_at_the_border_the_crop_is_moved_inside(corner: tuple[int, int]) -> None:
    crop = cut_crop(np.zeros((480, 640, 3), np.uint8), (*corner, 20.0, 20.0))
    assert crop.region[2:] == (144, 144)  # 0.3 of the shorter side
    assert crop.region[:2] in ((0, 0), (640 - 144, 480 - 144))
