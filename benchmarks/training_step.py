"""A training step of `lite` at 512 pixels, effective batch 4, float32, no augmentation, against the plain loop.

Ours is what `fit` runs, with micro-batches of 4, 2 and 1 image. The loss of every kind of step is first compared with
the plain loop's on the same images.

Run: python -m benchmarks.training_step [--quick] [--out FOLDER]
"""

import argparse
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from benchmarks import plain_loop
from benchmarks.random_batches import SIZE, random_batch
from benchmarks.table import Must, Row, race, run_stage
from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.models.detector import build_detector
from fcoslite.training.model import TrainingModel, build_training_model

EFFECTIVE_BATCH = 4
BOXES = 20
NO_AUGMENTATION = [f"augment.{name}=0" for name in ("flip_probability", "brightness", "noise")]


def settings_for(batch_size: int) -> Settings:
    """The settings of the config `mission`, for micro-batches of that size."""
    sets = [f"compute.batch_size={batch_size}", f"compute.accumulation={EFFECTIVE_BATCH // batch_size}"]
    values = {"model.classes": ["person"], "model.image_size": SIZE, "compute.precision": "float32"}
    return load_settings("mission", [*sets, *NO_AUGMENTATION], values)


def our_model(batch_size: int) -> TrainingModel:
    settings = settings_for(batch_size)
    detector = build_detector(settings.model, seed=0)
    return build_training_model(detector, settings, settings.train, steps=100_000)


def our_update(model: TrainingModel, whole: dict[str, np.ndarray], batch_size: int) -> Callable[[], float]:
    """A function that makes one update of EFFECTIVE_BATCH images and returns the mean loss of its micro-batches."""
    batches = tf.data.Dataset.from_tensor_slices(whole).batch(batch_size, drop_remainder=True).repeat()
    # ready before the clock runs: reading is a stage of its own
    iterator = iter(batches.map(lambda batch: (batch,)).prefetch(EFFECTIVE_BATCH))
    model.make_train_function()

    step = model.train_function
    assert step is not None

    def update() -> float:
        model.reset_metrics()
        for _ in range(EFFECTIVE_BATCH // batch_size):
            logs = step(iterator)
        return float(logs["loss"])

    return update


def plain_loss(network: keras.Model, images: np.ndarray, boxes: np.ndarray, batch_size: int) -> float:
    """The plain loop's loss, a mean over micro-batches."""
    found = []
    for start in range(0, len(images), batch_size):
        part = slice(start, start + batch_size)
        outputs = network(images[part].astype(np.float32) / 255.0, training=True)
        targets = [plain_loop.assign_image(each, SIZE, 1) for each in boxes[part]]
        found.append(float(plain_loop.losses(outputs, targets, SIZE)))
    return float(np.mean(found))


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Images a second."""
    whole = random_batch(EFFECTIVE_BATCH, BOXES)
    images, boxes = whole["images"], whole["boxes"]
    network = plain_loop.plain_network(build_detector(settings_for(EFFECTIVE_BATCH).model, seed=0).network)
    updates = {}
    for batch_size in (4, 2, 1):
        updates[batch_size] = our_update(our_model(batch_size), whole, batch_size)
        ours, plain = updates[batch_size](), plain_loss(network, images, boxes, batch_size)
        np.testing.assert_allclose(ours, plain, rtol=1e-4, err_msg=f"loss, micro-batches of {batch_size}")
    optimizer = keras.optimizers.AdamW(5e-5, weight_decay=5e-3, global_clipnorm=10.0)
    optimizer.build(network.trainable_variables)
    contestants: dict[str, Callable[[], object]] = {str(size): update for size, update in updates.items()}
    contestants["plain"] = lambda: plain_loop.train_step(network, optimizer, images, list(boxes))
    result = race(contestants, 2 if arguments.quick else 5)
    for size in updates:
        yield Row(
            stage="training step",
            what=f"`lite` at {SIZE}, micro-batches of {size}",
            unit="images/s",
            **result.rates(str(size), EFFECTIVE_BATCH, reference="plain"),
            reference_is="plain loop",
            must=Must("ratio", "≥", 2) if size == EFFECTIVE_BATCH else None,
        )


if __name__ == "__main__":
    run_stage(measure, __doc__)
