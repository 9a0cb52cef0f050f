"""What a runtime is: a loaded network, and the facts that its outputs cannot be read without."""

from typing import NamedTuple, Protocol

import numpy as np

from fcoslite.models.facts import ExportFacts


class Dense(NamedTuple):
    """What every location of a batch says, see `fcos.decode.decode`.

    Attributes:
        boxes_xyxy: [B, N, 4] float32, letterboxed pixels.
        scores: [B, N, C] float32.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray


class Runtime(Protocol):
    """A network on an engine."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """By channel; the class id in files is channel + 1."""

    @property
    def image_size(self) -> int:
        """Side of the letterboxed image, pixels."""

    @property
    def step(self) -> int:
        """What the sides of the letterboxed image may be multiples of, pixels, see `Letterbox.fitting`."""

    @property
    def device(self) -> str:
        """What runs it, and on what, for people."""

    @property
    def at_once(self) -> int:
        """Images that it is best given at the same time, from threads."""

    def __call__(self, images: np.ndarray) -> Dense:
        """Run it on letterboxed images [1, H, W, 3] uint8, RGB."""


class ExportedRuntime:
    """What the runtimes of exported files have in common: a file says itself what it is.

    Args:
        facts: What it says.
        device: Engine and device.
        at_once: Images that are to be given at the same time.

    Attributes:
        facts: As given.
        class_names: By channel.
        image_size: Pixels.
        step: Pixels.
        device: As given.
        at_once: As given.
    """

    def __init__(self, facts: ExportFacts, device: str, at_once: int) -> None:
        self.facts = facts
        self.class_names = facts.classes
        self.image_size = facts.image_size
        self.step = facts.step or facts.image_size
        self.device = device
        self.at_once = at_once

    def filled(self, images: np.ndarray) -> np.ndarray:
        """Images [1, H, W, 3] as many times as a file for batches of more wants them."""
        return np.repeat(images, self.facts.batch or 1, axis=0)
