"""A batch's images and boxes as the network and its losses take them."""

from collections.abc import Mapping

from keras import ops

from fcoslite.geometry.batch_images import normalise
from fcoslite.geometry.boxes import Tensor


def unpack(batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """A batch of `data.sources.source` -> images [B, S, S, 3] in [0, 1] and boxes [B, M, 6].

    A box is its class id (0 is padding), x_min, y_min, x_max, y_max in pixels, and 1 where it is only to be ignored,
    as a crowd is.
    """
    ignored = ops.cast(batch["crowd"], "float32")[..., None]
    return normalise(batch["images"]), ops.concatenate([batch["boxes"], ignored], axis=-1)
