"""The LiteRT engine: .tflite files, on phones, small boards and other processors."""

import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fcoslite.errors import FcosliteError, WeightsError
from fcoslite.fcos.locations import locations_of
from fcoslite.inference.runtimes.runtime import Dense, ExportedRuntime
from fcoslite.models.facts import FACTS_FILE, KEY, ExportFacts, read_facts
from fcoslite.storage.native_path import native_path

_LONGEST = 100_000  # bytes of the facts


class LiteRtRuntime(ExportedRuntime):
    """A detector that `fcoslite export` has written for LiteRT.

    Args:
        path: The .tflite file.
        threads: For the work on one image.
        at_once: Images that are to be given at the same time.

    Raises:
        WeightsError: The file cannot be run, or is not one of ours.
        FcosliteError: The package ai-edge-litert is not installed.
    """

    def __init__(self, path: Path, threads: int, at_once: int = 1) -> None:
        super().__init__(read_litert_facts(path), "LiteRT, CPU", at_once)
        self._path, self._threads = path, threads
        self._local = threading.local()
        self._runner()  # here, so that what is wrong with the file is told at once

    def __call__(self, images: np.ndarray) -> Dense:
        """Letterboxed images [1, H, W, 3] uint8 to boxes and scores."""
        outputs = self._runner()(images=self.filled(images))
        if self.facts.decoded:
            return Dense(outputs["boxes"][:1], outputs["scores"][:1])
        return decode_arrays({name: values[:1] for name, values in outputs.items()}, self.facts)

    def _runner(self) -> Any:
        """That of this thread: an interpreter is for one at a time."""
        if not hasattr(self._local, "runner"):
            interpreter = _interpreter(self._path, self._threads)
            self._local.runner = interpreter.get_signature_runner()
            _check_ports(self._local.runner, self.facts, self._path)
        return self._local.runner


def read_litert_facts(path: Path) -> ExportFacts:
    """What a LiteRT file says of itself.

    Raises:
        WeightsError: It cannot be read, or is not one of ours.
    """
    if not path.is_file():
        raise WeightsError(f"no file at {path}", "check the path")
    document = ""
    try:
        with zipfile.ZipFile(path) as appended, appended.open(FACTS_FILE) as file:
            document = file.read(_LONGEST).decode()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError, NotImplementedError, RuntimeError):
        pass  # then it says nothing
    return read_facts({KEY: document}, path)


def decode_arrays(outputs: dict[str, np.ndarray], facts: ExportFacts) -> Dense:
    """The network's own outputs as boxes and scores: `fcos.decode.decode` in NumPy."""
    locations = locations_of(facts.image_size, facts.strides)
    scores = _sigmoid(outputs["class_logits"])
    if "quality_logits" in outputs:
        scores = scores * _sigmoid(outputs["quality_logits"])
    distances = outputs["distances"] * locations.strides[:, None]
    low, high = locations.points - distances[..., :2], locations.points + distances[..., 2:]
    return Dense(np.concatenate([low, high], axis=-1), scores)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * logits)))  # without an overflow


def _interpreter(path: Path, threads: int) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        hint = 'pip install "fcoslite[litert]"'
        raise FcosliteError("the package ai-edge-litert is not installed", hint) from None
    try:
        with native_path(path) as text:
            interpreter = Interpreter(text, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter
    except (ValueError, RuntimeError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(f"{path} cannot be run: {reason[0][:300]}", "is it a whole file?") from None


def _check_ports(runner: Any, facts: ExportFacts, path: Path) -> None:
    size, batch = facts.image_size, facts.batch or 1
    given = {name: tuple(port["shape"]) for name, port in runner.get_input_details().items()}
    names = {"boxes", "scores"} if facts.decoded else {"class_logits", "distances"}
    missing = names - runner.get_output_details().keys()
    if given != {"images": (batch, size, size, 3)} or missing:
        raise WeightsError(f"{path} has not the input and outputs that it tells of", "export it again")
