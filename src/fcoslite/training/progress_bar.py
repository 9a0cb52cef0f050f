"""A bar that moves as training does."""

from typing import Any

import keras

from fcoslite.progress import Advance


class ShowProgress(keras.callbacks.Callback):
    """Moves a progress bar by images, with the running loss beside it."""

    def __init__(self, advance: Advance, batch_size: int, epochs: int) -> None:
        super().__init__()
        self.advance = advance
        self.batch_size = batch_size
        self.epochs = epochs
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Note the epoch."""
        self._epoch = epoch + 1

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Move on by one batch."""
        # reading the loss waits for the accelerator: now and then is enough
        loss = f"epoch {self._epoch}/{self.epochs} loss {float(logs['loss']):.3f}" if logs and batch % 10 == 0 else ""
        self.advance(self.batch_size, note=loss)
