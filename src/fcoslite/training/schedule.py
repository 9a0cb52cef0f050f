"""The learning rate over the steps of a run."""

import math
from typing import Any

import keras
from keras import ops

from fcoslite.config.settings import ScheduleSettings


class WarmupCosine(keras.optimizers.schedules.LearningRateSchedule):
    """Linear from `lr_start` to `lr_max`, then a half cosine down to `lr_min` at the last step.

    Steps are batches, not optimizer updates, as in the original detector. Short runs warm up for a tenth of their
    steps at most.
    """

    def __init__(self, settings: ScheduleSettings, total_steps: int) -> None:
        self.settings = settings
        self.total_steps = total_steps
        self.warmup_steps = min(settings.warmup_steps, total_steps // 10)

    def __call__(self, step: Any) -> Any:
        """The learning rate of a batch, counted from 0."""
        low, high, end = self.settings.lr_start, self.settings.lr_max, self.settings.lr_min
        step = ops.cast(step, "float32")
        warm = low + (high - low) / max(1, self.warmup_steps) * step
        decay = (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps)
        cosine = end + 0.5 * (high - end) * (1.0 + ops.cos(math.pi * ops.clip(decay, 0.0, 1.0)))
        return ops.where(step < self.warmup_steps, warm, cosine)
