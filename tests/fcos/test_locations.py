from fcoslite.fcos.locations import grid_points


def test_grid_points_are_cell_centres_finest_level_first():
    points, strides = grid_points(16, (4, 8))
    assert points.shape == (20, 2)
    assert points[0].tolist() == [2, 2]
    assert points[1].tolist() == [6, 2]  # along a row first
    assert points[4].tolist() == [2, 6]
    assert points[16].tolist() == [4, 4]
    assert strides.tolist() == [4] * 16 + [8] * 4
