"""Keras' own export of a graph, in silence and with the input that all our files have."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np


def keras_export(
    graph: keras.Model,
    path: Path,
    format: str,
    size: int,
    batch: int | None,
    dtype: str = "uint8",
    channels_first: bool = False,
    **options: Any,
) -> None:
    """Export a graph whose input is `images`, [B, S, S, 3] uint8 if nothing else is said.

    Args:
        graph: Takes letterboxed images.
        path: To write.
        format: A name of `keras.Model.export`.
        size: S, pixels.
        batch: B; None: any.
        dtype: Of the input.
        channels_first: The input is [B, 3, S, S].
        options: Of that format.
    """
    sides = (3, size, size) if channels_first else (size, size, 3)
    graph(np.zeros((1, *sides), dtype))
    # without a signature the bytes would become float32
    signature = [keras.InputSpec(shape=(batch, *sides), dtype=dtype, name="images")]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        graph.export(str(path), format=format, input_signature=signature, verbose=False, **options)
