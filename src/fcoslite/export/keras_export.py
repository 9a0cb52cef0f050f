"""Keras' own export of a graph, in silence and with the input that all our files have."""

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np

from fcoslite.models.detector import Detector


def keras_export(
    graph: keras.Model, path: Path, format: str, detector: Detector, batch: int | None, **options: Any
) -> None:
    """Export a graph whose input is `images`, [B, H, W, 3] uint8; H and W are free where those of the detector are.

    Args:
        graph: Takes letterboxed images.
        path: To write.
        format: A name of `keras.Model.export`.
        detector: Of the graph.
        batch: B; None: any.
        options: Of that format.
    """
    size = detector.image_size
    graph(np.zeros((1, size, size, 3), np.uint8))
    # without a signature the bytes would become float32
    shape = (batch, *detector.network.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="uint8", name="images")]
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        graph.export(str(path), format=format, input_signature=signature, verbose=False, **options)
