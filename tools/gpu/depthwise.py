"""Two ways to compute a depthwise convolution on a GPU, and which of them is faster there.

XLA hands grouped convolutions to cuDNN, whose gradients of depthwise ones can be many times slower than the memory
they move. Written as a sum of shifted products, the whole of it becomes a few fused passes.

    python tools/gpu/depthwise.py        prints `grouped` or `shifted`
"""

import os
import sys
import time
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras


def shifted(x: jax.Array, kernel: jax.Array, strides: int = 1, padding: str = "same", **_: Any) -> jax.Array:
    """Depthwise convolution: x [B, H, W, C], kernel [h, w, C, 1] -> with "same", [B, H / strides, W / strides, C]."""
    x, kernel = jnp.asarray(x), jnp.asarray(kernel)
    rows, columns = kernel.shape[:2]
    strides = strides if isinstance(strides, int) else strides[0]
    cut = (0, 0) if padding == "same" else (rows - 1, columns - 1)
    height, width = (-(-(side - less) // strides) for side, less in zip(x.shape[1:3], cut, strict=True))
    pads = []
    for side, out, taps in ((x.shape[1], height, rows), (x.shape[2], width, columns)):
        missing = max((out - 1) * strides + taps - side, 0)
        pads.append((missing // 2, missing - missing // 2))
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    total = jnp.float32(0.0)
    for i in range(rows):
        for j in range(columns):
            part = padded[:, i : i + (height - 1) * strides + 1 : strides, j : j + (width - 1) * strides + 1 : strides]
            total = total + part.astype(jnp.float32) * kernel[i, j, :, 0].astype(jnp.float32)
    return total.astype(x.dtype)


# batch 32 of EfficientNet-Lite0 at 384: side, channels, kernel, stride
_LAYERS = ((192, 96, 3, 2), (96, 144, 5, 2), (48, 240, 3, 2), (24, 480, 5, 1), (12, 1152, 5, 1), (48, 128, 3, 1))


def use(name: str) -> None:
    """Have Keras and the teacher compute depthwise convolutions as `grouped` or `shifted`."""
    grouped = keras.ops.depthwise_conv

    def by_size(x: jax.Array, kernel: jax.Array, strides: int = 1, padding: str = "same") -> jax.Array:
        # cuDNN is slow at large maps only; and XLA compiles 25 products and their gradients for minutes
        convolve = shifted if x.shape[1] >= 128 and kernel.shape[0] == 3 else grouped
        return convolve(x, kernel, strides=strides, padding=padding)

    if name == "shifted":
        keras.ops.depthwise_conv = by_size


def main() -> None:
    """Print the name of what is faster on layers of an EfficientNet, forward and backward; to stderr how fast."""
    if jax.default_backend() == "cpu":  # a rehearsal, which these layers' gradients would take longer than all else
        print("grouped")
        return
    ways = {"grouped": keras.ops.depthwise_conv, "shifted": shifted}
    seconds = dict.fromkeys(ways, 0.0)
    for side, channels, taps, stride in _LAYERS:
        x = jax.random.normal(jax.random.key(0), (32, side, side, channels), jnp.bfloat16)
        kernel = jax.random.normal(jax.random.key(1), (taps, taps, channels, 1), jnp.bfloat16)
        for name, convolve in ways.items():

            def loss(x: jax.Array, kernel: jax.Array, convolve: Any = convolve, stride: int = stride) -> jax.Array:
                return jnp.sum(jnp.square(convolve(x, kernel, strides=stride, padding="same").astype(jnp.float32)))

            both = jax.jit(jax.grad(loss, argnums=(0, 1)))
            jax.block_until_ready(both(x, kernel))
            begun = time.perf_counter()
            for _ in range(10):
                result = both(x, kernel)
            jax.block_until_ready(result)
            took = (time.perf_counter() - begun) / 10
            seconds[name] += took
            layer = f"{side} x {side} x {channels}, {taps} x {taps} / {stride}"
            print(f"{layer}: {name} {1e3 * took:.2f} ms", file=sys.stderr, flush=True)
    print(min(seconds, key=lambda name: seconds[name]))


if __name__ == "__main__":
    main()
