import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path as Polygon

from fcoslite.detections.draw import draw_zone
from fcoslite.errors import ConfigError
from fcoslite.inference.zone import feet_inside, parse_zone


def box_with_feet(x: float, y: float) -> list[float]:
    return [x - 10, y - 50, x + 10, y]


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=20),
    st.lists(st.floats(0, 2 * np.pi), min_size=3, max_size=9, unique=True),
)
def test_feet_decide_as_another_library_says(feet: list[tuple[float, float]], angles: list[float]) -> None:
    zone_xy = np.array([[50 + 40 * np.cos(angle), 50 + 40 * np.sin(angle)] for angle in sorted(angles)], np.float32)
    inside = feet_inside(np.array([box_with_feet(*each) for each in feet], np.float32), zone_xy)
    wide, narrow = (Polygon(zone_xy).contains_points(feet, radius=radius) for radius in (0.01, -0.01))
    for said, one, other in zip(inside, wide, narrow, strict=True):
        if one == other:  # else it is on a side
            assert said == one


def test_who_stands_on_a_side_is_inside_and_without_a_zone_everybody_is() -> None:
    zone_xy = parse_zone("100,100,300,100,300,300,100,300").fitted(400, 400).outline(400, 400)
    feet = [(100, 200), (300, 300), (200, 100), (99, 200), (200, 301), (200, 200)]
    boxes = np.array([box_with_feet(*each) for each in feet], np.float32)
    assert feet_inside(boxes, zone_xy).tolist() == [True, True, True, False, False, True]
    assert feet_inside(boxes, None).all() and feet_inside(boxes[:0], zone_xy).tolist() == []
    # a head that looks in is not inside, nor is a box around all of it
    assert feet_inside(np.array([[150, 50, 250, 350]], np.float32), zone_xy).tolist() == [False]


def test_pixels_and_fractions_are_one_zone_at_every_size() -> None:
    fractions, pixels = parse_zone("0.25,0.5,1,0.5,1,1"), parse_zone("160,240,640,240,640,480")
    assert not fractions.in_pixels and pixels.in_pixels
    assert pixels.fitted(480, 640) == fractions.fitted(480, 640) == fractions
    np.testing.assert_allclose(pixels.fitted(480, 640).outline(240, 320), [[80, 120], [320, 120], [320, 240]])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no number"),
        ("1,2,x,4,5,6", "'x' is no number"),
        ("1,2,3,4,5", "no pairs"),
        ("0,0,10,10", "2 corners"),
        ("0,0,10,10,0,0", "2 corners"),
        ("0,0,5,5,10,10", "sides cross"),
        ("0,0,10,10,10,0,0,10", "sides cross"),
        ("0,0,0.5,0.5,-0.1,1", "outside the picture"),
        ("0,0,nan,1,1,1", "outside the picture"),
        ("0,0,inf,1,1,1", "outside the picture"),
        (",".join(["1,2,3,4"] * 101), "corners|cross"),
    ],
)
def test_what_encloses_nothing_is_refused(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as raised:
        parse_zone(text)
    assert raised.value.hint and len(raised.value.message) < 300


def test_a_corner_outside_the_picture_is_refused() -> None:
    zone = parse_zone("0,0,640,0,640,481")
    with pytest.raises(ConfigError, match="640,481 lies outside the picture, which is 640x480"):
        zone.fitted(480, 640)
    assert zone.fitted(481, 640).corners[2] == (1, 1)


def test_it_is_drawn_along_the_border_too() -> None:
    picture = np.full((100, 200, 3), 120, np.uint8)
    drawn = draw_zone(picture, np.array([[0, 0], [200, 0], [200, 100], [0, 100]], np.float32))
    assert (drawn[0, 100] > 200).all() and (drawn[99, 100] > 200).all() and (drawn[50, 199] > 200).all()
    assert (drawn[50, 100] == 120).all() and (picture == 120).all()
