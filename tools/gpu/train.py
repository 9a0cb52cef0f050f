"""Train a detector on a borrowed GPU for so many seconds, from slices of photographs, with a teacher beside it.

    KERAS_BACKEND=jax python tools/gpu/train.py RUN --config lite0 --slices DIR --teacher X.onnx:rtmdet --seconds 1200

RUN gets log.txt, state.npz (every 20 s; the same command goes on from it, in another process if need be) and
weights.npz (the averaged weights, an ordinary weights file). The rate of learning follows the clock, not the steps:
however fast the card is, training ends when the time is up. One compiled step draws the views, degrades them, asks the
teacher, assigns, differentiates and updates; `fit` of Keras would cost 12 ms a step more.
"""

import argparse
import dataclasses
import json
import math
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.45")  # two trainings share a card

import depthwise
import jax
import jax.numpy as jnp
import keras
import numpy as np
import views
from photographs import Photographs

from fcoslite.config.load import load_settings
from fcoslite.config.settings import LossSettings, Settings
from fcoslite.fcos.ground_truth import to_probability
from fcoslite.fcos.losses import Losses, detection_losses
from fcoslite.models.detector import Detector, build_detector, loss_network
from fcoslite.models.header import model_settings
from fcoslite.models.weights import load_backbone, load_weights, save_weights
from fcoslite.training.optimizer import AdamW
from fcoslite.training.teacher import Teach, find_teacher, load_teacher

SHARES = {"own": 0.12, "flickr8k": 0.32, "humanv2": 0.30, "lspet": 0.14, "neg-a": 0.08, "neg-b": 0.04}
LAST_SHARES = {"own": 0.45, "flickr8k": 0.25, "humanv2": 0.18, "lspet": 0.05, "neg-a": 0.05, "neg-b": 0.02}
_SIDE = 448  # of a photograph in memory
_OF_DISTANCES = ("head_distances/", "head_s")  # the last convolution, and the factors of exp
_PARTS = tuple(part.name for part in dataclasses.fields(Losses))


def ground_truth(boxes: jax.Array, settings: LossSettings) -> jax.Array:
    """Boxes of `views.place` as `fcos.ground_truth` has them: what is not padding is a person, and may be doubted."""
    score, crowd = boxes[..., 4:5], boxes[..., 5:]
    doubt = jnp.where(crowd > 0, 1.0, 1.0 - to_probability(score, settings.score_table))
    person = (score >= max(settings.least_score, 1e-6)).astype(jnp.float32)
    return jnp.concatenate([person, boxes[..., :4], doubt], axis=-1)


class _Clock(keras.optimizers.schedules.LearningRateSchedule):
    """The rate that the step was called with."""

    rate: jax.Array

    def __call__(self, step: Any) -> jax.Array:
        return self.rate


class Step:
    """The compiled training step, and the state that it moves on.

    Attributes:
        state: Trainable and other variables of the network, and the optimizer's, as arrays.
    """

    def __init__(self, detector: Detector, settings: Settings, teach: Teach) -> None:
        self.detector = detector
        self.network = network = loss_network(detector)
        clock, train = _Clock(), settings.train
        self.optimizer = AdamW(
            factors={"head_": 1.0, "neck_": train.neck_lr_factor, "": train.backbone_lr_factor},
            decay=train.weight_decay,
            learning_rate=clock,
            clip_norm=train.clip_norm,
            ema=train.ema,
        )
        self.optimizer.build(network.trainable_variables)
        variables = (network.trainable_variables, network.non_trainable_variables, self.optimizer.variables)
        self.state = [[jnp.array(variable.value, copy=True) for variable in group] for group in variables]
        size, zoom, optimizer = detector.image_size, settings.augment.scale, self.optimizer

        def step(state: Any, batch: Any, key: jax.Array, learning_rate: jax.Array, mosaic: jax.Array) -> Any:
            trainable, others, moments = state
            first, second = jax.random.split(key)
            clean, boxes = views.place(
                first, batch["pixels"], batch["extent"], batch["stretched"], batch["boxes"], size, mosaic, zoom
            )
            taught, truth = teach(clean), ground_truth(boxes, settings.loss)
            images = views.degrade(second, clean, jnp.asarray(1.0))

            def loss(trainable: Any) -> Any:
                outputs, changed = network.stateless_call(trainable, others, images, training=True)
                parts = detection_losses(outputs, truth, detector, settings.loss, taught)
                return parts.total, (dataclasses.astuple(parts), changed)

            (_, (parts, changed)), gradients = jax.value_and_grad(loss, has_aux=True)(trainable)
            clock.rate = learning_rate
            trainable, moments = optimizer.stateless_apply(moments, gradients, trainable)
            return [list(trainable), list(changed), list(moments)], jnp.stack(parts)

        self._step = jax.jit(step, donate_argnums=0)

    def __call__(self, batch: Any, key: jax.Array, learning_rate: float, mosaic: float) -> jax.Array:
        """One update; returns the parts of the loss, without waiting for them."""
        self.state, parts = self._step(self.state, batch, key, jnp.float32(learning_rate), jnp.float32(mosaic))
        return parts

    def save(self, path: Path, **facts: float) -> None:
        """Write the state."""
        arrays = {f"{i}/{j}": np.asarray(a) for i, group in enumerate(self.state) for j, a in enumerate(group)}
        partial = path.with_suffix(".partial.npz")
        arrays |= {f"fact/{name}": np.asarray(value) for name, value in facts.items()}
        np.savez(partial, **arrays)  # type: ignore[arg-type]  # the stub takes them for flags
        partial.replace(path)

    def load(self, path: Path) -> dict[str, float]:
        """Read it, and the facts it was saved with."""
        with np.load(path) as stored:
            self.state = [
                [jnp.asarray(stored[f"{i}/{j}"]) for j in range(len(group))] for i, group in enumerate(self.state)
            ]
            return {name[5:]: float(stored[name]) for name in stored.files if name.startswith("fact/")}

    def save_weights(self, path: Path, **facts: Any) -> None:
        """Write the averaged weights as an ordinary weights file."""
        network = self.network
        for variable, value in zip(self.optimizer.variables, self.state[2], strict=True):
            variable.assign(np.asarray(value))
        for variable, average in zip(network.trainable_variables, self.optimizer.of_variables("average"), strict=True):
            variable.assign(average)
        for variable, value in zip(network.non_trainable_variables, self.state[1], strict=True):
            variable.assign(np.asarray(value))
        save_weights(self.detector, path, facts)


def learning_rate(done: float, settings: Settings) -> float:
    """By the share of the time that is over: a linear start in the first 3 %, then half a cosine."""
    low, high, end = settings.train.lr_start, settings.train.lr_max, settings.train.lr_min
    if done < 0.03:
        return low + (high - low) * done / 0.03
    return end + 0.5 * (high - end) * (1.0 + math.cos(math.pi * min((done - 0.03) / 0.97, 1.0)))


def main() -> None:
    """Train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--config", required=True, help="YAML of tools/gpu/, without its ending")
    parser.add_argument("--slices", type=Path, required=True)
    parser.add_argument("--teacher", required=True, help="as `fcoslite train` takes it")
    parser.add_argument("--start", type=Path, help="weights to begin with; another kind of distances is learned anew")
    parser.add_argument("--backbone", type=Path, help="weights whose backbone to begin with")
    parser.add_argument("--seconds", type=float, required=True, help="until the end, from the first start on")
    parser.add_argument("--steps", type=int, help="end after so many, to try it out")
    parser.add_argument("--depthwise", choices=("grouped", "shifted"), default="grouped", help="see depthwise.py")
    parser.add_argument("--capacity", type=int, default=40_000, help="most photographs in memory")
    parser.add_argument("--set", action="append", default=[], help="a setting of the config")
    options = parser.parse_args()

    options.run.mkdir(parents=True, exist_ok=True)
    log = (options.run / "log.txt").open("a")
    begun = time.perf_counter()

    def say(line: str) -> None:
        print(f"{time.perf_counter() - begun:7.1f} s  {line}", file=log, flush=True)

    settings = load_settings(str(Path(__file__).parent / f"{options.config}.yaml"), options.set)
    say(f"{jax.devices()}, JAX {jax.__version__}, Keras {keras.__version__}, {settings.compute.precision}")
    depthwise.use(options.depthwise)
    detector = build_detector(settings.model, settings.compute.precision, seed=settings.seed)
    if options.backbone:
        load_backbone(detector, options.backbone)
    if options.start:
        same = model_settings(options.start).distance_bins == detector.settings.distance_bins
        load_weights(detector, options.start, anew=() if same else _OF_DISTANCES)
    found = find_teacher(options.teacher, options.run)
    step = Step(detector, settings, load_teacher(found, detector.settings, settings.compute.precision))
    state = options.run / "state.npz"
    before, number = 0.0, 0  # seconds and steps of earlier processes
    if state.exists():
        facts = step.load(state)
        before, number = facts["seconds"], int(facts["number"])
        say(f"going on at step {number}, after {before:.0f} s")

    photographs = Photographs(options.slices, _SIDE, options.capacity, os.cpu_count() or 2, say)
    while not photographs.count:
        photographs.take_new()
        time.sleep(0.5)
    photographs.watch()
    done = before / options.seconds
    batch_size = settings.compute.batch_size
    batches = photographs.batches(batch_size, lambda: LAST_SHARES if done > 0.8 else SHARES, seed=number)
    key = jax.random.key(settings.seed + 7)
    parts: list[jax.Array] = []
    last_said = last_saved = time.perf_counter()
    first = True
    while done < 1.0 and number != options.steps:
        batch = next(batches)
        mosaic = settings.augment.mosaic if done < 0.7 else 0.0
        parts.append(step(batch, jax.random.fold_in(key, number), learning_rate(done, settings), mosaic))
        number += 1
        if first:
            jax.block_until_ready(parts)
            say(f"compiled, first loss {float(parts[0][0]):.3f}")
            parts, last_said, first = [], time.perf_counter(), False
            continue
        if len(parts) > 4:
            jax.block_until_ready(parts[-4])  # no more than so many steps ahead
        done = (before + time.perf_counter() - begun) / options.seconds
        if number % 50 == 0 or number == options.steps:
            mean = np.mean(np.asarray(jnp.stack(parts)), axis=0)
            rate = len(parts) * batch_size / (time.perf_counter() - last_said)
            text = " ".join(f"{name} {value:.4f}" for name, value in zip(_PARTS, mean, strict=True))
            text += f" rate {learning_rate(done, settings):.2e}"
            say(f"step {number} ({100 * done:.1f} %) {text} {rate:.0f} images/s")
            parts, last_said = [], time.perf_counter()
            if not np.isfinite(mean).all():
                raise SystemExit("the loss is not finite")
        if time.perf_counter() - last_saved > 20 or done >= 1.0 or number == options.steps:
            step.save(state, seconds=done * options.seconds, number=number)
            step.save_weights(options.run / "weights.npz", step=number, images=number * batch_size)
            last_saved = time.perf_counter()
    say(f"done: {number} steps, {number * batch_size} views")
    (options.run / "done.json").write_text(json.dumps({"steps": number, "views": number * batch_size}))


if __name__ == "__main__":
    main()
