"""Training steps of `lite` at 512 pixels on a GPU: precisions and batches, against the card's peak and the plain loop.

The card's peak is what it does in products of large bfloat16 matrices, measured in the same run. A training step counts
as three forward passes. What is timed is `fit`, with images that come from host memory.

Most of the time goes into compiling, so every kind says what it found as soon as it is compiled. The plain loop comes
last: on JAX it is thousands of small programs, compiled one by one.

Run: KERAS_BACKEND=jax python -m benchmarks.gpu_training [--quick] [--no-plain] [--out FOLDER]
"""

import argparse
import itertools
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial

import keras
import numpy as np
from keras import ops

from benchmarks import plain_loop
from benchmarks.random_batches import SIZE, random_batch
from benchmarks.table import Must, Row, finish_stage, race, stage_parser
from fcoslite.config.load import load_settings
from fcoslite.machine.backend import sees_gpu
from fcoslite.models.detector import build_detector, count_macs
from fcoslite.training.model import build_training_model

BOXES = 20
PRECISIONS = ("mixed_float16", "mixed_bfloat16", "float32")
BATCHES = (4, 16, 64)
PLAIN_BATCH = 4
_LIKE_PLAIN = ("float32", PLAIN_BATCH)
_IMAGES_A_TURN = 256
_SIDE = 8192  # of the matrices
_PRODUCTS = 20


def our_fit(precision: str, batch_size: int) -> Callable[[int], float]:
    """A function that trains `lite` on so many batches, without augmentation, and returns their mean loss."""
    sets = [f"compute.batch_size={batch_size}", "compute.accumulation=1", f"compute.precision={precision}"]
    sets += [f"augment.{name}=0" for name in ("flip_probability", "brightness", "noise")]
    settings = load_settings("mission", sets, {"model.classes": ["person"], "model.image_size": SIZE})
    detector = build_detector(settings.model, precision, seed=0)
    model = build_training_model(detector, settings, settings.train, steps=100_000)
    batch = random_batch(batch_size, BOXES)

    def fit(steps: int) -> float:
        endless = ((batch,) for _ in itertools.count())
        [loss] = model.fit(endless, steps_per_epoch=steps, verbose=0, shuffle=False).history["loss"]
        return float(loss)

    return fit


def plain_update() -> Callable[[], float]:
    """A function that makes one update of the plain loop and returns the loss before it."""
    settings = load_settings("mission", values={"model.classes": ["person"], "model.image_size": SIZE})
    network = plain_loop.plain_network(build_detector(settings.model, seed=0).network)
    optimizer = keras.optimizers.AdamW(5e-5, weight_decay=5e-3, global_clipnorm=10.0)
    optimizer.build(network.trainable_variables)
    batch = random_batch(PLAIN_BATCH, BOXES)
    return lambda: plain_loop.train_step(network, optimizer, batch["images"], list(batch["boxes"]))


def matrix_products() -> Callable[[], object]:
    """A function that multiplies large matrices of bfloat16."""
    rng = np.random.default_rng(0)
    first, second = (ops.cast(rng.normal(size=(_SIDE, _SIDE)).astype(np.float32), "bfloat16") for _ in range(2))

    def multiply() -> object:
        products = [ops.matmul(first, second) for _ in range(_PRODUCTS)]
        return float(products[-1][0, 0])  # waits for all of them

    return multiply


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Images a second."""
    if not sees_gpu():
        raise SystemExit(f"no GPU that Keras can use on {keras.backend.backend()}")
    kinds = list(itertools.product(PRECISIONS, BATCHES))
    if arguments.quick:
        kinds = [kind for kind in kinds if kind[0] == PRECISIONS[0] or kind[1] == 16 or kind == _LIKE_PLAIN]
    steps = {batch: max(4, _IMAGES_A_TURN // batch) for batch in BATCHES}
    contestants: dict[str, Callable[[], object]] = {"peak": matrix_products()}
    losses = {}
    for kind in kinds:
        fit = our_fit(*kind)
        loss, seconds = _timed(partial(fit, 1))
        contestants[str(kind)] = turn = partial(fit, steps[kind[1]])
        rate = steps[kind[1]] * kind[1] / _timed(turn)[1]
        _say(f"{kind}: compiled in {seconds:.0f} s, loss {loss:.4f}, {rate:.0f} images/s")
        if kind[1] == PLAIN_BATCH:
            losses[kind] = loss
    if arguments.plain:
        plain = contestants["plain"] = plain_update()
        plain_loss, seconds = _timed(plain)
        _say(f"plain loop: compiled in {seconds:.0f} s, loss {plain_loss:.4f}")
        for kind, loss in losses.items():  # convolutions of float32 are made of shorter numbers on a GPU, too
            np.testing.assert_allclose(loss, plain_loss, rtol=0.01, err_msg=str(kind))
    result = race(contestants, 2 if arguments.quick else 5)

    network = build_detector(load_settings("mission", values={"model.image_size": SIZE}).model).network
    peak = 2 * _SIDE**3 * _PRODUCTS / result.median("peak")  # FLOP/s
    limit = peak / (3 * 2 * count_macs(network))
    plain_rate = PLAIN_BATCH / result.median("plain") if arguments.plain else None
    for precision, batch in kinds:
        rate = steps[batch] * batch / result.median(str((precision, batch)))
        yield Row(
            stage="training on a GPU",
            what=f"`lite` at {SIZE}, {precision}, batches of {batch}",
            unit="images/s",
            ours=rate,
            reference=plain_rate,
            reference_is=f"plain loop, float32, batches of {PLAIN_BATCH}",
            ratio=rate / plain_rate if plain_rate else None,
            limit=limit,
            limit_is=f"bfloat16 products of matrices, {1e-12 * peak:,.0f} TFLOP/s",
            fraction=rate / limit,
            must=Must("ratio", "≥", 10) if plain_rate and (precision, batch) == _LIKE_PLAIN else None,
        )


def _timed(function: Callable[[], float]) -> tuple[float, float]:
    """What it returns, and seconds."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> None:
    """Print the table."""
    parser = stage_parser(__doc__)
    parser.add_argument("--no-plain", dest="plain", action="store_false", help="without the plain loop")
    arguments = parser.parse_args()
    finish_stage(measure(arguments), arguments.out)


if __name__ == "__main__":
    main()
