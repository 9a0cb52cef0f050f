"""Old checkpoints give the outputs they gave. `nox -s addons-parity` makes the reference and runs this."""

import os
from pathlib import Path

import keras
import numpy as np
import pytest

from fcoslite.models.original_checkpoint import import_checkpoint
from fcoslite.models.weights import load_detector

REFERENCE = os.environ.get("FCOSLITE_PARITY_REFERENCE")

pytestmark = pytest.mark.skipif(
    REFERENCE is None, reason="needs what parity/mission_model.py writes: nox -s addons-parity"
)


@pytest.mark.parametrize("layout", ["checkpoint", "weights"])
def test_an_imported_checkpoint_gives_the_outputs_of_tensorflow_addons(layout: str, tmp_path: Path) -> None:
    assert REFERENCE is not None
    imported = import_checkpoint(Path(REFERENCE, layout, "model"), tmp_path / "imported.npz")
    saved, _ = load_detector(tmp_path / "imported.npz")
    with np.load(Path(REFERENCE, "reference.npz")) as reference:
        for detector in (imported, saved):
            outputs = detector.network(reference["images"], training=False)
            worst = {
                name: float(np.abs(keras.ops.convert_to_numpy(value) - reference[name]).max())
                for name, value in outputs.items()
            }
            print(f"{layout}: largest absolute differences {worst}")
            assert set(worst) == {"class_logits", "distances", "quality_logits"}
            assert max(worst.values()) <= 1e-4, worst
