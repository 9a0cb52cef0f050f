"""What a network sees of a photograph in training: cut, stretched, put together, and taken by a bad camera.

Everything is drawn and computed on the accelerator. Geometry first (`place`): each view is a sum of up to four
photographs, each resampled by two matrices, so that zoom, shift, aspect, flip and mosaic are one and the same thing.
Then what a camera does to it (`degrade`): the teacher sees the view before, the student after.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

PAD = 114.0 / 255.0
MOST_BOXES = 96  # of a view
_VISIBLE = 0.3  # a box of which less is left is neither a person nor background
_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601


def place(
    key: jax.Array, images: jax.Array, extent: jax.Array, stretched: jax.Array, boxes: jax.Array, size: int,
    mosaic: jax.Array, zoom: tuple[float, float],
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    """Views of a batch of photographs.

    Args:
        key: Of the random numbers.
        images: [B, S, S, 3] uint8, each in the upper left corner.
        extent: [B, 2] width and height of the photographs in it, pixels.
        stretched: [B] 1 where a photograph was squeezed to a square.
        boxes: [B, M, 6] x_min, y_min, x_max, y_max, score (0 is padding), crowd.
        size: Side of a view, T.
        mosaic: Share of views that are put together from four photographs.
        zoom: Range of the factor by which a photograph is larger than its place.

    Returns:
        Views [B, T, T, 3] in [0, 1], and boxes [B, MOST_BOXES, 6] in their pixels.
    """
    batch, source = images.shape[:2]
    keys = jax.random.split(key, 8)
    is_mosaic = jax.random.uniform(keys[0], (batch,)) < mosaic
    middle = jax.random.uniform(keys[1], (batch, 2), minval=0.3, maxval=0.7) * size
    order = jnp.stack([jnp.roll(jnp.arange(batch), -shift) for shift in (0, 1, 3, 7)], axis=1)  # (B, 4)
    order = jnp.where(is_mosaic[:, None], order, order[:, :1])

    log_zoom = jax.random.uniform(keys[2], (batch, 4), minval=np.log(zoom[0]), maxval=np.log(zoom[1]))
    aspect = jax.random.uniform(keys[3], (batch, 4), minval=-1.0, maxval=1.0)
    shift = jax.random.uniform(keys[4], (batch, 4, 2))
    flip = jax.random.uniform(keys[5], (batch, 4)) < 0.5

    views = jnp.full((batch, size, size, 3), PAD)
    placed = []
    for tile in range(4):
        chosen = order[:, tile]
        wide = extent[chosen]  # (B, 2)
        # the region of the view that this photograph fills
        low = jnp.where(is_mosaic[:, None], jnp.stack([middle[:, 0] * (tile % 2), middle[:, 1] * (tile // 2)], 1), 0.0)
        ends = [middle[:, 0] if tile % 2 == 0 else size, middle[:, 1] if tile // 2 == 0 else size]
        high = jnp.stack([jnp.broadcast_to(end, (batch,)) for end in ends], axis=1)
        alone = size if tile == 0 else 0  # nothing is left for the other three
        high = jnp.where(is_mosaic[:, None], high, alone)
        room = jnp.where(is_mosaic, 0.8, 1.0) * size
        scale = room / jnp.max(wide, axis=1) * jnp.exp(log_zoom[:, tile])
        bend = jnp.where(stretched[chosen] > 0, 0.288, 0.1) * aspect[:, tile]  # 0.75 to 1.33
        step = scale[:, None] * jnp.exp(jnp.stack([bend, -bend], axis=1) / 2)  # (B, 2)
        start = low + shift[:, tile] * (high - low - wide * step)

        across = [
            _matrix(start[:, axis], step[:, axis], wide[:, axis], low[:, axis], high[:, axis],
                    flip[:, tile] if axis == 0 else None, size, source)
            for axis in (0, 1)
        ]  # fmt: skip
        pixels = images[chosen].astype(jnp.bfloat16) / 255.0 - PAD
        columns = jnp.einsum("btw,bhwc->bhtc", across[0].astype(jnp.bfloat16), pixels)
        views = views + jnp.einsum("bth,bhwc->btwc", across[1].astype(jnp.bfloat16), columns).astype(jnp.float32)
        placed.append(_move(boxes[chosen], start, step, wide, low, high, flip[:, tile]))
    return jnp.clip(views, 0.0, 1.0), _most(jnp.concatenate(placed, axis=1))


def _matrix(
    start: jax.Array, step: jax.Array, wide: jax.Array, low: jax.Array, high: jax.Array, flip: Any,
    size: int, source: int,
) -> jax.Array:  # fmt: skip
    """[B, T, S]: how each line of the view weighs those of the photograph, a triangle that widens as it shrinks."""
    to = jnp.arange(size, dtype=jnp.float32) + 0.5
    inside = (to > low[:, None]) & (to < high[:, None])
    place = (to - start[:, None]) / step[:, None]  # (B, T), lines of the photograph
    if flip is not None:
        place = jnp.where(flip[:, None], wide[:, None] - place, place)
    reach = jnp.maximum(1.0 / step, 1.0)[:, None, None]
    line = jnp.arange(source, dtype=jnp.float32) + 0.5
    weight = jnp.maximum(1.0 - jnp.abs(line - place[..., None]) / reach, 0.0) * (line < wide[:, None, None])
    weight = weight / jnp.maximum(jnp.sum(weight, axis=-1, keepdims=True), 1e-6)
    inside = inside & (place > 0) & (place < wide[:, None])
    return weight * inside[..., None]


def _move(
    boxes: jax.Array, start: jax.Array, step: jax.Array, wide: jax.Array, low: jax.Array, high: jax.Array,
    flip: jax.Array,
) -> jax.Array:  # fmt: skip
    """The boxes of one tile in the view; what is cut off too far is to be ignored, what is outside is padding."""
    x_min, y_min, x_max, y_max, score, crowd = jnp.moveaxis(boxes, -1, 0)
    width = wide[:, :1]
    x_min, x_max = (
        jnp.where(flip[:, None], width - x_max, x_min),
        jnp.where(flip[:, None], width - x_min, x_max),
    )
    corners = [
        start[:, axis : axis + 1] + value * step[:, axis : axis + 1]
        for value, axis in ((x_min, 0), (y_min, 1), (x_max, 0), (y_max, 1))
    ]
    cut = [
        jnp.clip(value, low[:, axis : axis + 1], jnp.maximum(high, low)[:, axis : axis + 1])
        for value, axis in zip(corners, (0, 1, 0, 1), strict=True)
    ]
    whole = (corners[2] - corners[0]) * (corners[3] - corners[1])
    seen = (cut[2] - cut[0]) * (cut[3] - cut[1])
    score = jnp.where(seen > 1.0, score, 0.0)
    crowd = jnp.where(seen > _VISIBLE * whole, crowd, 1.0)
    return jnp.stack([*cut, score, crowd], axis=-1)


def _most(boxes: jax.Array) -> jax.Array:
    """The MOST_BOXES rows of greatest score, padding last."""
    _, index = jax.lax.top_k(boxes[..., 4], MOST_BOXES)
    return jnp.take_along_axis(boxes, index[..., None], axis=1)


def degrade(key: jax.Array, views: jax.Array, strength: jax.Array) -> jax.Array:
    """Colours of every view shift a little; six of sixteen views are grey, dark, by night, noisy, moved or in fog.

    Which they are is a matter of their place in the batch, whose order is random. Two, one in the dark and one by day,
    get few bits.

    Args:
        key: Of the random numbers.
        views: [B, T, T, 3] in [0, 1]; B and T are multiples of 16.
        strength: From 0, nothing is changed, to 1.
    """
    keys = iter(jax.random.split(key, 32))
    batch = views.shape[0]

    def draw(low: float, high: float, count: int = batch) -> jax.Array:
        return jax.random.uniform(next(keys), (count, 1, 1, 1), minval=low, maxval=high)

    def grey(images: jax.Array) -> jax.Array:
        return jnp.sum(images * _GREY, axis=-1, keepdims=True)

    x = views + draw(-0.12, 0.12) * strength
    mean = jnp.mean(x, axis=(1, 2, 3), keepdims=True)
    x = mean + (x - mean) * (1.0 + draw(-0.3, 0.3) * strength)
    x = grey(x) + (x - grey(x)) * (1.0 + draw(-0.5, 0.5) * strength)
    x = jnp.clip(x, 0.0, 1.0)

    some = batch // 16

    def normal(like: jax.Array) -> jax.Array:
        return jax.random.normal(next(keys), like.shape)

    def in_grey(images: jax.Array) -> jax.Array:
        return jnp.broadcast_to(grey(images), images.shape)

    def in_the_dark(images: jax.Array) -> jax.Array:
        # photons and read-out noise at little light, then the gain that makes a picture of it
        light = images**2.2 * jnp.exp(draw(np.log(0.03), np.log(0.4), some))
        spread = jnp.sqrt(light * draw(0.0008, 0.003, some) + draw(0.002, 0.005, some) ** 2)
        gain = draw(0.25, 0.6, some) / jnp.maximum(jnp.mean(light, axis=(1, 2, 3), keepdims=True) * 3.0, 0.01)
        seen = (light + normal(light) * spread) * jnp.minimum(gain, 30.0)
        return jnp.clip(seen, 1e-6, 1.0) ** (1 / 2.2)

    def by_night(images: jax.Array) -> jax.Array:
        side = (jnp.arange(images.shape[1]) + 0.5) / images.shape[1]
        x0, y0 = draw(0.35, 0.65, some)[..., 0], draw(0.35, 0.65, some)[..., 0]
        away = (side[None, None, :] - x0) ** 2 + (side[None, :, None] - y0) ** 2
        lamp = jnp.exp(-draw(0.5, 4.5, some)[..., 0] * away)[..., None] * draw(0.6, 1.1, some)
        light = grey(images) ** draw(1.0, 1.6, some) * lamp
        return jnp.broadcast_to(light + normal(light) * draw(0.01, 0.08, some), images.shape)

    def with_noise(images: jax.Array) -> jax.Array:
        return images + normal(images) * draw(0.03, 0.14, some)

    def moved(images: jax.Array) -> jax.Array:
        return _blur(images, draw(3.0, 14.0, some), draw(0.0, np.pi, some), draw(0.0, 0.6, some))

    def blurred_or_in_fog(images: jax.Array) -> jax.Array:
        clear = draw(0.25, 0.9, some)
        soft = _blur(images, jnp.zeros((some, 1, 1, 1)), jnp.zeros((some, 1, 1, 1)), draw(0.7, 2.4, some))
        in_fog = images * clear + draw(0.7, 1.0, some) * (1.0 - clear)
        return jnp.where(draw(0.0, 1.0, some) < 0.5, soft, in_fog)

    for number, change in enumerate((in_grey, in_the_dark, by_night, with_noise, moved, blurred_or_in_fog)):
        part = x[number::16]
        changed = part + (jnp.clip(change(part), 0.0, 1.0) - part) * jnp.minimum(strength, 1.0)
        x = x.at[number::16].set(changed)
    for number in (1, 6):  # one in the dark, one by day
        x = x.at[number::16].set(_few_bits(x[number::16], draw(1.0, 8.0, some)))
    return x


def _blur(images: jax.Array, length: jax.Array, angle: jax.Array, deviation: jax.Array) -> jax.Array:
    """Moved by `length` pixels along `angle`, and out of focus by `deviation`; both as a product of spectra."""
    side = images.shape[1]
    fy = jnp.fft.fftfreq(side)[None, :, None, None]
    fx = jnp.fft.rfftfreq(side)[None, None, :, None]
    along = fx * jnp.cos(angle) + fy * jnp.sin(angle)
    transfer = jnp.sinc(along * length) * jnp.exp(-2.0 * (np.pi * deviation) ** 2 * (fx**2 + fy**2))
    spectrum = jnp.fft.rfft2(images, axes=(1, 2)) * transfer
    return jnp.fft.irfft2(spectrum, s=images.shape[1:3], axes=(1, 2))


# ITU-T T.81, annex K: how coarsely each frequency of an 8 x 8 block may be told at quality 50
_LUMA = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
], np.float32).reshape(8, 8)  # fmt: skip
_CHROMA = np.full((8, 8), 99.0, np.float32)
_CHROMA[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_COSINES = np.array(
    [[np.sqrt((1 if k == 0 else 2) / 8) * np.cos(np.pi * (2 * n + 1) * k / 16) for n in range(8)] for k in range(8)],
    np.float32,
)
_TO_YCC = np.array([_GREY, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)


def _few_bits(images: jax.Array, coarseness: jax.Array) -> jax.Array:
    """What JPEG leaves: blocks of 8 x 8 whose frequencies are rounded to multiples of `coarseness` times the tables."""
    batch, side = images.shape[:2]
    ycc = jnp.einsum("bhwc,kc->bkhw", images * 255.0, _TO_YCC) - np.array([128.0, 0, 0])[:, None, None]
    blocks = ycc.reshape(batch, 3, side // 8, 8, side // 8, 8)
    table = jnp.asarray(np.stack([_LUMA, _CHROMA, _CHROMA]))[:, None, :, None, :] * coarseness[..., None, None]
    frequencies = jnp.einsum("ki,bchiwj,lj->bchkwl", _COSINES, blocks, _COSINES)
    rounded = jnp.round(frequencies / table) * table
    back = jnp.einsum("ki,bchkwl,lj->bchiwj", _COSINES, rounded, _COSINES).reshape(batch, 3, side, side)
    rgb = jnp.einsum("bkhw,ck->bhwc", back + np.array([128.0, 0, 0])[:, None, None], np.linalg.inv(_TO_YCC))
    return jnp.clip(rgb / 255.0, 0.0, 1.0)
