"""Where the locations of all levels look, computed inside a graph that takes images of any sides."""

from keras import ops

from fcoslite.geometry.boxes import Tensor


def locations_in_graph(images: Tensor, strides: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """The locations of images [B, H, W, 3], as `locations.locations_of` orders them.

    Of a level there are ceil(H / stride) rows and ceil(W / stride) columns; the last may look at the border.

    Returns:
        Points [N, 2] float32 (x, y), pixels, and strides [N, 1] float32.
    """
    _, height, width, _ = ops.shape(images)
    points, sides = [], []
    for stride in strides:
        y, x = (_line(side, stride) for side in (height, width))
        x, y = ops.meshgrid(x, y)
        points.append(ops.stack([ops.reshape(x, (-1,)), ops.reshape(y, (-1,))], axis=-1))
        sides.append(ops.full_like(points[-1][:, :1], float(stride)))
    return ops.concatenate(points, axis=0), ops.concatenate(sides, axis=0)


def _line(side: Tensor, stride: int) -> Tensor:
    count = (side + (stride - 1)) // stride
    return ops.cast(ops.arange(count), "float32") * stride + stride / 2
