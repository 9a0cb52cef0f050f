"""The boxes that a batch is trained on, and the one meaning of padding, class and what is to be ignored.

Boxes are [B, M, 6] float32: class id, x_min, y_min, x_max, y_max in letterboxed pixels, and a flag. Class id 1 is
channel 0; 0 is padding, wherever it stands and whatever else the row says. A flag above 0 means that the box is only
to be ignored, as a crowd is, and one that was cut to little: it is neither to be found nor background.
"""

from collections.abc import Mapping

from keras import ops

from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor


def unpack(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of `data.sources.source` -> images [B, S, S, 3] in [0, 1] and boxes [B, M, 6]."""
    return normalise(batch["images"]), with_flag(batch["boxes"], batch["crowd"])


def with_flag(boxes: Tensor, crowd: Tensor) -> Tensor:
    """Boxes [B, M, 6] from class ids and sides [B, M, 5], and whether each is a crowd, [B, M]."""
    return ops.concatenate([boxes, ops.cast(crowd, "float32")[..., None]], axis=-1)


def candidates(boxes: Tensor) -> Tensor:
    """Whether a box is to be found, [B, M] bool."""
    return ops.logical_and(_real(boxes), boxes[..., 5] <= 0)


def ignored(boxes: Tensor) -> Tensor:
    """Whether a box is only to be ignored, [B, M] bool."""
    return ops.logical_and(_real(boxes), boxes[..., 5] > 0)


def sides(boxes: Tensor) -> Tensor:
    """x_min, y_min, x_max, y_max, [B, M, 4]."""
    return boxes[..., 1:5]


def channels(boxes: Tensor) -> Tensor:
    """The channel of each box's class, [B, M] int32; -1 for padding."""
    return ops.cast(boxes[..., 0], "int32") - 1


def _real(boxes: Tensor) -> Tensor:
    return boxes[..., 0] > 0
