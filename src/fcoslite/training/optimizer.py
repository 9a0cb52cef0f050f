"""AdamW with gradient accumulation, global-norm clipping and a smaller learning rate for the backbone."""

from typing import Any

import keras
from keras import ops

from fcoslite.config import ScheduleSettings
from fcoslite.training.schedule import WarmupCosine


class AdamW(keras.optimizers.Adam):
    """AdamW (arXiv 1711.05101) whose step and decay are scaled by a factor a variable.

    Keras' own AdamW decays every variable by the global learning rate; with a factor of 0.1 for the backbone the
    mission's separate optimizer decays it by a tenth as well, and so does this one.

    Args:
        head_prefix: Variables whose path starts so learn at the full rate.
        body_factor: Factor of all others.
        decay: Decoupled weight decay.
        options: Of `keras.optimizers.Adam`.
    """

    def __init__(self, head_prefix: str, body_factor: float, decay: float, **options: Any) -> None:
        super().__init__(**options)
        self._head_prefix = head_prefix
        self._body_factor = body_factor
        self._decay = decay
        self._factors: list[float] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Create the moments and note every variable's factor."""
        super().build(variables)
        # update_step gets raw backend variables without a path on TensorFlow: look the factor up by index
        self._factors = [
            1.0 if variable.path.startswith(self._head_prefix) else self._body_factor for variable in variables
        ]

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Decay, then Adam's step, both at the variable's own rate."""
        factor = self._factors[self._get_variable_index(variable)]
        rate = ops.cast(learning_rate, variable.dtype) * factor
        self.assign_sub(variable, ops.multiply(variable, rate * self._decay))
        super().update_step(gradient, variable, rate)


def build_optimizer(settings: ScheduleSettings, accumulation: int, total_steps: int) -> keras.optimizers.Optimizer:
    """The optimizer of a phase.

    Clipping acts on the global norm of the averaged gradients of `accumulation` batches.
    """
    return AdamW(
        head_prefix="head_",
        body_factor=settings.backbone_lr_factor,
        decay=settings.weight_decay,
        learning_rate=WarmupCosine(settings, total_steps),
        global_clipnorm=settings.clip_norm,
        gradient_accumulation_steps=accumulation if accumulation > 1 else None,
    )
