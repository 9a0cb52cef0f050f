"""A SavedModel run by TensorFlow, to be compared with what it was made of."""

from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.inference.runtimes.runtime import Dense, ExportedRuntime
from fcoslite.models.facts import ExportFacts


class SavedModelRuntime(ExportedRuntime):
    """A detector in a SavedModel.

    Args:
        folder: The SavedModel.
        facts: Of it.
    """

    def __init__(self, folder: Path, facts: ExportFacts) -> None:
        import tensorflow as tf

        super().__init__(facts, "TensorFlow", at_once=1)
        self._loaded: Any = tf.saved_model.load(str(folder))  # its functions live as long as it does
        self._run: Any = self._loaded.signatures["serving_default"]

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, H, W, 3] uint8 to boxes and scores."""
        import tensorflow as tf

        outputs = self._run(images=tf.constant(self.filled(images)))
        return Dense(outputs["boxes"].numpy()[:1], outputs["scores"].numpy()[:1])
