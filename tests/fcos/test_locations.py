import pytest

from fcoslite.fcos.locations import locations_of


def test_locations_are_cell_centres_finest_level_first():
    locations = locations_of(16, (4, 8))
    points = locations.points
    assert points.shape == (20, 2)
    assert points[0].tolist() == [2, 2]
    assert points[1].tolist() == [6, 2]  # along a row first
    assert points[4].tolist() == [2, 6]
    assert points[16].tolist() == [4, 4]
    assert locations.strides.tolist() == [4] * 16 + [8] * 4
    assert locations.level.tolist() == [0] * 16 + [1] * 4
    assert locations.levels == (slice(0, 16), slice(16, 20))
    assert len(locations) == 20
    assert points.dtype == locations.strides.dtype == "float32"


def test_locations_are_made_once_and_shared_unchanged():
    assert locations_of(16, (4, 8)) is locations_of(16, (4, 8))
    with pytest.raises(ValueError):
        locations_of(16, (4, 8)).points[0] = 0
