"""Keras' own export of a graph, in silence and with the input that all our files have."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np


def keras_export(graph: keras.Model, path: Path, format: str, size: int, batch: int | None, **options: Any) -> None:
    """Export a graph whose input is `images`, [B, S, S, 3] uint8.

    Args:
        graph: Takes letterboxed images.
        path: To write.
        format: A name of `keras.Model.export`.
        size: S, pixels.
        batch: B; None: any.
        options: Of that format.
    """
    graph(np.zeros((1, size, size, 3), np.uint8))
    # without a signature the bytes would become float32
    signature = [keras.InputSpec(shape=(batch, size, size, 3), dtype="uint8", name="images")]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        graph.export(str(path), format=format, input_signature=signature, verbose=False, **options)
