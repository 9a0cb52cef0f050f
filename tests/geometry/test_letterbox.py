import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fcoslite.geometry.letterbox import PAD_COLOUR, Letterbox

sides = st.integers(1, 4000)


@given(sides, sides, st.integers(1, 32).map(lambda n: 32 * n), st.randoms(use_true_random=False))
@example(480, 640, 512, None)
def test_boxes_survive_the_round_trip(height, width, size, random):
    rng = np.random.default_rng(random.randrange(2**32) if random else 0)
    boxes = rng.uniform(0, [width, height, width, height], (5, 4)).astype(np.float32)
    letterbox = Letterbox.square(height, width, size)
    there = letterbox.apply_boxes(boxes)
    back = letterbox.invert_boxes(there)
    # float32 holds a letterboxed coordinate to size / 2^24; an original pixel is 1 / scale of that
    tolerance = max(1e-3, 4 * size * 2**-24 / letterbox.scale)
    np.testing.assert_allclose(back, boxes, atol=tolerance)


@given(sides, sides, st.integers(1, 32).map(lambda n: 32 * n))
def test_image_and_pads_fill_the_square(height, width, size):
    box = Letterbox.square(height, width, size)
    assert max(box.new_height, box.new_width) == size
    assert abs(box.new_height - height * box.scale) <= 0.5 or box.new_height == 1
    bottom = size - box.new_height - box.pad_top
    right = size - box.new_width - box.pad_left
    assert bottom - box.pad_top in (0, 1)  # the odd pixel is below and at the right
    assert right - box.pad_left in (0, 1)


@given(sides, sides, st.integers(1, 12), st.sampled_from([32, 64, 384]))
@example(480, 640, 12, 32)
def test_no_canvas_that_costs_as_little_shows_an_image_larger(height, width, steps, step):
    size = steps * step
    box = Letterbox.fitting(height, width, size, step)
    assert box.rows % step == 0 == box.columns % step and box.rows * box.columns <= size * size
    assert box.scale >= Letterbox.square(height, width, size).scale
    others = ((rows, steps**2 // rows) for rows in range(1, steps**2 + 1))
    assert box.scale == pytest.approx(max(min(r * step / height, c * step / width) for r, c in others))
    # a step less of either side would shrink it
    for rows, columns in ((box.rows - step, box.columns), (box.rows, box.columns - step)):
        assert min(rows, columns) == 0 or Letterbox(height, width, rows, columns).scale < box.scale - 1e-12


def test_shapes_of_pictures_that_people_have():
    shapes = {(480, 640): (320, 448), (1080, 1920): (288, 512), (640, 427): (448, 320), (500, 500): (384, 384)}
    for (height, width), canvas in shapes.items():
        box = Letterbox.fitting(height, width, 384, 32)
        assert (box.rows, box.columns) == canvas
        assert Letterbox.fitting(height, width, 384, 384) == Letterbox.square(height, width, 384)
    filled = Letterbox.fitting(1080, 1920, 384, 32)
    assert filled.inside == (slice(0, 288), slice(0, 512))


def test_pixels_land_where_boxes_say():
    image = np.zeros((100, 200, 3), np.uint8)
    image[20:60, 50:150] = 255
    letterbox = Letterbox.square(100, 200, 128)
    out = letterbox.apply_image(image)
    assert out.shape == (128, 128, 3)
    assert (out[:32] == PAD_COLOUR).all()
    assert (out[-32:] == PAD_COLOUR).all()
    x1, y1, x2, y2 = letterbox.apply_boxes(np.array([[50, 20, 150, 60]], np.float32))[0]
    assert (x1, y1, x2, y2) == pytest.approx((32, 44.8, 96, 70.4), abs=1e-3)
    assert out[int(y1) + 2 : int(y2) - 1, int(x1) + 1 : int(x2) - 1].min() > 250
    assert out[int(y1) - 3, 64].max() < 5
    assert out[60, int(x1) - 2].max() < 5


def test_clipping_cuts_at_the_original_border():
    letterbox = Letterbox.square(100, 200, 128)
    cut = letterbox.invert_boxes(np.array([[-50, -50, 500, 500]], np.float32), clip=True)
    assert cut.tolist() == [[0, 0, 200, 100]]


def test_an_image_of_another_size_is_refused():
    with pytest.raises(ValueError, match="letterbox is for"):
        Letterbox.square(10, 10, 32).apply_image(np.zeros((11, 10, 3), np.uint8))
    with pytest.raises(ValueError, match="positive"):
        Letterbox.square(0, 10, 32)


def test_the_image_may_lie_at_the_top_left_on_another_grey():
    box = Letterbox.square(50, 100, 64, top_left=True)
    image = np.full((50, 100, 3), 200, np.uint8)
    placed = box.apply_image(image, pad=7)
    assert (placed[:32] == 200).all() and (placed[32:] == 7).all()
    boxes = np.array([[10, 20, 30, 40]], np.float32)
    np.testing.assert_allclose(box.apply_boxes(boxes), boxes * 0.64)
    np.testing.assert_allclose(box.invert_boxes(box.apply_boxes(boxes)), boxes, rtol=1e-6)
