"""Files in the layouts of other projects, run as their readers do, to be compared with what they were made of."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fcoslite.inference.runtimes.exported import LITERT, OPENVINO
from fcoslite.inference.runtimes.runtime import Dense, ExportedRuntime
from fcoslite.models.facts import ExportFacts

Run = Callable[[np.ndarray], Sequence[np.ndarray]]  # an input to the outputs, in the file's order


class LayoutRuntime(ExportedRuntime):
    """A file of `export.yolo` or `export.ssd`; of the latter the boxes that it has left are the locations.

    Args:
        path: The file.
        facts: Of it.
        two_scores: The file's scores are the roots of ours.
    """

    def __init__(self, path: Path, facts: ExportFacts, two_scores: bool) -> None:
        super().__init__(facts, path.suffix, at_once=1)
        self._run = _open(path)
        self._power = 2 if two_scores else 1

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, S, S, 3] uint8 to boxes and scores."""
        if self.facts.layout == "ssd":
            corners, numbers, scores, count = self._run(images)
            boxes = corners[..., [1, 0, 3, 2]] * np.float32(self.image_size)
            of_class = np.arange(len(self.class_names)) == numbers[..., None]
            found = np.arange(numbers.shape[1]) < int(count[0])
            scores = np.where(of_class & found[:, None], scores[..., None], np.float32(0))
        else:
            pixels = self.filled(images).transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
            rows = self._run(pixels)[0][:1].transpose(0, 2, 1)  # (1, N, 4 + C)
            centre, extent, scores = rows[..., :2], rows[..., 2:4], rows[..., 4:]
            boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=-1)
        return Dense(boxes, scores**self._power)


def _open(path: Path) -> Run:
    if path.suffix == LITERT:
        from fcoslite.inference.runtimes.litert import open_interpreter

        interpreter = open_interpreter(path, threads=1)
        [given], made = interpreter.get_input_details(), interpreter.get_output_details()

        def run(images: np.ndarray) -> list[np.ndarray]:
            interpreter.set_tensor(given["index"], images)
            interpreter.invoke()
            return [interpreter.get_tensor(output["index"]) for output in made]

        return run
    if path.suffix == OPENVINO:
        from fcoslite.inference.runtimes.openvino import open_network

        return open_network(path)
    from fcoslite.inference.runtimes.onnx import OnnxNetwork

    network = OnnxNetwork(path, threads=1)
    return lambda images: list(network(images).values())
