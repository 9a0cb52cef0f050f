"""Keras' own export of a graph, in silence and with the input that all our files have."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

_EXAMPLE = 256  # pixels, a multiple of the step of every detector


def keras_export(
    graph: keras.Model,
    path: Path,
    format: str,
    sides: tuple[int | None, int | None],
    batch: int | None,
    dtype: str = "uint8",
    channels_first: bool = False,
    **options: Any,
) -> None:
    """Export a graph whose input is `images`, [B, H, W, 3] uint8 if nothing else is said.

    Args:
        graph: Takes letterboxed images.
        path: To write.
        format: A name of `keras.Model.export`.
        sides: H and W, pixels; None: any that the graph takes.
        batch: B; None: any.
        dtype: Of the input.
        channels_first: The input is [B, 3, H, W].
        options: Of that format.
    """
    shape = (3, *sides) if channels_first else (*sides, 3)
    graph(np.zeros([1, *(side or _EXAMPLE for side in shape)], dtype))
    # without a signature the bytes would become float32
    signature = [keras.InputSpec(shape=(batch, *shape), dtype=dtype, name="images")]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        graph.export(str(path), format=format, input_signature=signature, verbose=False, **options)
