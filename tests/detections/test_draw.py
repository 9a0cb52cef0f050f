import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fcoslite.detections.detections import Detections
from fcoslite.detections.draw import class_colour, contact_sheet, draw_boxes, draw_detections, fit_image

GREY = 90


def blank(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), GREY, np.uint8)


def person(*box: float, name: str = "person", score: float = 0.512) -> Detections:
    boxes = np.array([box], np.float32)
    return Detections(boxes, np.array([score], np.float32), np.array([1], np.int32), (name,))


def changed(image: np.ndarray) -> np.ndarray:
    return (image != GREY).any(axis=-1)


def test_the_box_has_its_colour_and_its_inside_is_left_alone() -> None:
    image = blank(480, 640)
    drawn = draw_detections(image, person(200, 150, 400, 350))
    assert (image == GREY).all()
    assert drawn.dtype == np.uint8 and drawn.shape == image.shape
    for x, y in ((200, 250), (400, 250), (300, 350)):
        assert tuple(drawn[y, x]) == class_colour(1)
    assert not changed(drawn)[160:340, 210:390].any()
    assert not changed(drawn)[:, 500:].any()


def test_the_label_stands_above_its_box_with_readable_text() -> None:
    drawn = draw_detections(blank(480, 640), person(200, 150, 400, 350))
    label = drawn[135:147, 202:260].reshape(-1, 3)
    assert (label == class_colour(1)).all(axis=-1).any()
    assert label.max(axis=-1).min() < 60  # dark letters on bright green


def test_the_label_shows_the_cube_root_of_the_score() -> None:
    box = (200, 150, 400, 350)
    by_detection = draw_detections(blank(480, 640), person(*box, score=0.512))
    by_text = draw_boxes(blank(480, 640), np.array([box]), class_colour(1), ["person 0.80"])
    np.testing.assert_array_equal(by_detection, by_text)


@pytest.mark.parametrize("box", [(0, 0, 30, 30), (600, 2, 639, 60), (610, 440, 700, 500), (-50, -50, 700, 500)])
def test_labels_stay_in_the_image(box: tuple[float, ...]) -> None:
    plain = draw_boxes(blank(480, 640), np.array([box]), class_colour(1))
    labelled = draw_detections(blank(480, 640), person(*box))
    label = (plain != labelled).any(axis=-1)
    middle = draw_detections(blank(480, 640), person(200, 150, 400, 350))
    reference = (draw_boxes(blank(480, 640), np.array([(200, 150, 400, 350)]), class_colour(1)) != middle).any(axis=-1)
    assert label.sum() > 0.8 * reference.sum()  # none of it is cut off; a part may lie on the box's own lines


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    corner=st.tuples(st.floats(-400, 400), st.floats(-400, 400)),
    size=st.tuples(st.floats(0, 800), st.floats(0, 800)),
    name=st.text(max_size=12),
)
def test_any_box_on_any_image(
    height: int, width: int, corner: tuple[float, float], size: tuple[float, float], name: str
) -> None:
    box = (corner[0], corner[1], corner[0] + size[0], corner[1] + size[1])
    drawn = draw_detections(blank(height, width), person(*box, name=name), fps=12.34)
    assert drawn.shape == (height, width, 3)


def test_proportions_are_kept_on_large_images() -> None:
    small = changed(draw_detections(blank(480, 640), person(200, 150, 400, 350), fps=9.9)).mean()
    large = changed(draw_detections(blank(1920, 2560), person(800, 600, 1600, 1400), fps=9.9)).mean()
    assert large == pytest.approx(small, rel=0.35)


def test_the_frame_rate_is_in_the_lower_left_corner() -> None:
    nobody = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int32), ("person",))
    assert not changed(draw_detections(blank(480, 640), nobody)).any()
    rows, columns = np.nonzero(changed(draw_detections(blank(480, 640), nobody, fps=12.3)))
    assert rows.min() > 440 and columns.max() < 120


def test_class_colours_differ() -> None:
    colours = np.array([class_colour(class_id) for class_id in range(1, 9)], int)
    distances = np.abs(colours[:, None] - colours[None]).sum(-1) + 999 * np.eye(8, dtype=int)
    assert distances.min() > 60


@settings(max_examples=50, deadline=None)
@given(
    height=st.integers(1, 200),
    width=st.integers(1, 200),
    down=st.integers(1, 200),
    across=st.integers(1, 200),
)
def test_fit_image_gives_the_size_asked_for(height: int, width: int, down: int, across: int) -> None:
    fitted = fit_image(np.zeros((height, width, 3), np.uint8), across, down)
    assert fitted.shape == (down, across, 3)
    assert (fitted == 0).any()


def test_fit_image_keeps_the_aspect() -> None:
    content = (fit_image(np.zeros((100, 200, 3), np.uint8), 100, 100) == 0).all(axis=-1)
    assert content.any(axis=0).sum() == 100 and content.any(axis=1).sum() == 50
    assert content[25:75].all()


def test_a_contact_sheet_shows_every_image_in_its_place() -> None:
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0)]
    sizes = [(50, 100), (100, 50), (30, 30), (400, 400)]
    images = [np.full((*size, 3), colour, np.uint8) for size, colour in zip(sizes, colours, strict=True)]
    sheet = contact_sheet(images, columns=3, cell_width=100)
    places = [np.argwhere((sheet == colour).all(axis=-1)).mean(axis=0) for colour in colours]
    assert places[0][1] < places[1][1] < places[2][1]
    assert places[3][0] > max(place[0] for place in places[:3])
    assert places[3][1] == pytest.approx(places[0][1], abs=2)
    titled = contact_sheet(images, columns=3, cell_width=100, titles=["one", "two", "three", "four"])
    assert titled.shape[0] > sheet.shape[0] and titled.shape[1] == sheet.shape[1]
    with pytest.raises(ValueError, match="at least one"):
        contact_sheet([], 3, 100)


def test_a_name_that_is_not_utf8_is_drawn() -> None:
    # OpenCV ends the process at a lone surrogate
    found = Detections(
        np.array([[10, 30, 90, 90]], np.float32), np.ones(1, np.float32), np.ones(1, int), ("caf\udce9",)
    )
    assert draw_detections(np.zeros((100, 200, 3), np.uint8), found).any()
    assert contact_sheet([np.zeros((50, 50, 3), np.uint8)], 1, 100, titles=["caf\udce9"]).any()
