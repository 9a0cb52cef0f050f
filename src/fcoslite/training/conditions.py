"""Pictures as a bad camera takes them, on the accelerator: an augmentation.

`evaluation/conditions.py` measures with similar ones, of one strength each. Here every image has a strength of its own,
and lengths grow with the image, because a network sees it scaled.
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from fcoslite.geometry.boxes import Tensor
from fcoslite.machine.backend import in_one_pass

DRAWS = 6  # random numbers that the kind with the most of them needs

_GREY = np.array([0.299, 0.587, 0.114], np.float32)  # luma of ITU-R BT.601
_GAMMA = 2.2  # pixel values are light to the power of 1 / 2.2
_READ_OUT = 1.6  # standard deviation of a sensor's own noise, electrons
_LENGTH = (0.01, 0.05)  # of motion, sides of the image
_RADIUS = (0.004, 0.012)  # of what is out of focus, likewise
_GOLDEN_ANGLE = np.pi * (3 - 5**0.5)

# ITU-T T.81, annex K: the steps in which the frequencies of a block of 8 x 8 are told
_LUMA_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ],
    np.float32,
)
_CHROMA_STEPS = np.full((8, 8), 99, np.float32)
_CHROMA_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_TO_YCC = np.array([_GREY, [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32)  # of JFIF
_TO_RGB = np.linalg.inv(_TO_YCC)


def _cosines() -> np.ndarray:
    """The discrete cosine transform of a block, [64, 64]: a row for each frequency."""
    frequency, place = np.mgrid[0:8, 0:8]
    line = np.cos(np.pi * (2 * place + 1) * frequency / 16) * np.where(frequency, 0.5, 8**-0.5)
    return np.kron(line, line).astype(np.float32)


_COSINES = _cosines()


def _even(draw: Tensor, low: float, high: float) -> Tensor:
    """From `low` to `high`, for a number drawn from [0, 1)."""
    return low + draw * (high - low)


def _even_in_log(draw: Tensor, low: float, high: float) -> Tensor:
    """From `low` to `high`, as likely to be halved as to be doubled."""
    return ops.exp(_even(draw, float(np.log(low)), float(np.log(high))))


def as_it_is(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """A good camera's."""
    return image


def grey(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Without colours."""
    return ops.repeat(_luma(image), 3, axis=-1)


def dark(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """12 to 200 photons for a white pixel, the noise of so few and of the sensor, and gain that makes up for some."""
    photons = _even_in_log(draws[0], 12.0, 200.0)
    light = _power(image, _GAMMA)
    spread = ops.sqrt(light / photons + (_READ_OUT / photons) ** 2)
    seen = (light + normal * spread) * _even_in_log(draws[1], 0.2, 0.7)
    return _power(ops.clip(seen, 0.0, 1.0), 1 / _GAMMA)


def night(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Grey under an infrared lamp, which falls off to the rim, and noisy."""
    side = (np.arange(image.shape[0], dtype=np.float32) + 0.5) / image.shape[0]
    away = (side[None] - _even(draws[0], 0.35, 0.65)) ** 2 + (side[:, None] - _even(draws[1], 0.35, 0.65)) ** 2
    lamp = _even(draws[2], 0.6, 1.1) * ops.exp(-_even(draws[3], 0.5, 4.5) * away)
    light = _power(_luma(image), _even(draws[4], 1.0, 1.6)) * lamp[..., None]
    return ops.repeat(light + normal[..., :1] * _even(draws[5], 0.01, 0.08), 3, axis=-1)


def noise(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Gaussian noise."""
    return image + normal * _even(draws[0], 0.03, 0.14)


def motion(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """The camera moved along a line while the shutter was open."""
    side = image.shape[0]
    most = _LENGTH[1] * side
    length, angle = _even(draws[0], *_LENGTH) * side, draws[1] * np.pi
    along = np.linspace(-0.5, 0.5, 1 + int(np.ceil(most)), dtype=np.float32) * length
    return _mean_of_shifted(image, ops.stack([along * ops.sin(angle), along * ops.cos(angle)], axis=1), most / 2)


def defocus(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Each point becomes a disc."""
    side = image.shape[0]
    number = np.arange(24, dtype=np.float32)  # points on a spiral cover a disc evenly
    unit = np.sqrt((number + 0.5) / 24) * np.stack([np.sin(number * _GOLDEN_ANGLE), np.cos(number * _GOLDEN_ANGLE)])
    radius = _even(draws[0], *_RADIUS) * side
    return _mean_of_shifted(image, unit.T.astype(np.float32) * radius, _RADIUS[1] * side)


def lowres(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Each pixel the mean of a square of 1.5 to 5 pixels, and interpolated to the former size."""
    factor = _even_in_log(draws[0], 1.5, 5.0)
    side = image.shape[0]
    line = np.arange(side, dtype=np.float32)
    cell = np.arange(np.ceil(side / 1.5) + 1, dtype=np.float32)
    start, stop = cell[:, None] * factor, (cell[:, None] + 1) * factor
    shrink = ops.maximum(ops.minimum(line + 1, stop) - ops.maximum(line, start), 0.0)  # (cells, S)
    shrink = shrink / ops.maximum(ops.sum(shrink, axis=1, keepdims=True), 1e-6)
    place = ops.clip((line + 0.5) / factor - 0.5, 0.0, side / factor - 1)
    grow = ops.maximum(1.0 - ops.abs(place[:, None] - cell), 0.0)  # (S, cells)
    weights = ops.matmul(grow, shrink)
    for _ in range(2):  # the rows, then the columns
        image = ops.reshape(ops.matmul(weights, ops.reshape(image, (side, side * 3))), (side, side, 3))
        image = ops.transpose(image, (1, 0, 2))
    return image


def jpeg(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """What is left of it after JPEG of quality 6 to 50."""
    return compress(image, _even_in_log(draws[0], 1.0, 8.0))


def fog(image: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Light from elsewhere on all of it."""
    clear = _even(draws[0], 0.25, 0.9)
    return image * clear + _even(draws[1], 0.7, 1.0) * (1.0 - clear)


KINDS: tuple[Callable[[Tensor, Tensor, Tensor], Tensor], ...] = (
    as_it_is, grey, dark, night, noise, motion, defocus, lowres, jpeg, fog,
)  # fmt: skip


# how often each of `KINDS` but the first is drawn, beside the others: what costs more people is shown more often
_TIMES = np.array([1, 2, 3, 1, 3, 1, 2, 2, 1], np.float32)
_PART_ENDS = np.cumsum(_TIMES) / np.sum(_TIMES)


def draw_kinds(drawn: Tensor, share: float) -> Tensor:
    """Places in `KINDS`, int32, for numbers drawn from [0, 1): that share is changed, each kind `_TIMES` as often."""
    ends = np.array([0.0, *_PART_ENDS[:-1]], np.float32) * share
    changed = ops.sum(ops.cast(drawn[:, None] >= ends, "int32"), axis=1)
    return ops.where(drawn < share, changed, 0)


@in_one_pass
def degrade(images: Tensor, kinds: Tensor, draws: Tensor, normal: Tensor) -> Tensor:
    """Images as bad cameras take them. One after the other, so that nothing is computed but the kind that is drawn.

    Args:
        images: [B, S, S, 3] in [0, 1].
        kinds: [B] int32, places in `KINDS`.
        draws: [B, DRAWS] from [0, 1), which decide how bad.
        normal: [B, S, S, 3], standard normal numbers.

    Returns:
        [B, S, S, 3], clipped to [0, 1].
    """

    def one(taken: tuple[Tensor, Tensor, Tensor, Tensor]) -> Tensor:
        kind, *operands = taken
        return ops.clip(ops.switch(kind, KINDS, *operands), 0.0, 1.0)

    return ops.map(one, (kinds, images, draws, normal))


def compress(image: Tensor, coarseness: Tensor) -> Tensor:
    """What JPEG leaves of an image, its colours at half the resolution.

    Args:
        image: [S, S, 3] in [0, 1].
        coarseness: By how much the steps of annex K are multiplied: 50 / quality, for qualities up to 50.
    """
    side = image.shape[0]
    missing = -side % 16
    whole = ops.pad(image, [[0, missing], [0, missing], [0, 0]], mode="symmetric") if missing else image
    half = whole.shape[0] // 2
    planes = ops.transpose(ops.matmul(whole * 255.0, _TO_YCC.T), (2, 0, 1))
    luma = _coarse(planes[:1] - 128.0, _LUMA_STEPS, coarseness) + 128.0
    chroma = _coarse(ops.mean(ops.reshape(planes[1:], (2, half, 2, half, 2)), (2, 4)), _CHROMA_STEPS, coarseness)
    chroma = ops.repeat(ops.repeat(chroma, 2, axis=1), 2, axis=2)
    rgb = ops.matmul(ops.transpose(ops.concatenate([luma, chroma], axis=0), (1, 2, 0)), _TO_RGB.T)
    return rgb[:side, :side] / 255.0


def _coarse(planes: Tensor, steps: np.ndarray, coarseness: Tensor) -> Tensor:
    """Planes [P, H, W], the frequencies of whose blocks are rounded to multiples of the steps."""
    count, height, width = planes.shape
    steps = ops.clip(steps.ravel() * coarseness, 1.0, 255.0)
    blocks = ops.transpose(ops.reshape(planes, (count, height // 8, 8, width // 8, 8)), (0, 1, 3, 2, 4))
    frequencies = ops.matmul(ops.reshape(blocks, (-1, 64)), _COSINES.T)
    blocks = ops.matmul(ops.round(frequencies / steps) * steps, _COSINES)
    blocks = ops.reshape(blocks, (count, height // 8, width // 8, 8, 8))
    return ops.reshape(ops.transpose(blocks, (0, 1, 3, 2, 4)), (count, height, width))


def _luma(image: Tensor) -> Tensor:
    return ops.sum(image * _GREY, axis=-1, keepdims=True)


def _power(base: Tensor, exponent: Tensor) -> Tensor:
    return ops.exp(exponent * ops.log(ops.maximum(base, 1e-6)))  # XLA's own takes three times as long on a CPU


def _mean_of_shifted(image: Tensor, offsets: Tensor, furthest: float) -> Tensor:
    """The mean of copies of an image [S, S, 3], shifted by `offsets` [N, 2] down and right, to the nearest pixel."""
    reach, side = int(np.ceil(furthest)), image.shape[0]
    padded = ops.pad(image, [[reach, reach], [reach, reach], [0, 0]], mode="symmetric")
    # as one long row, where a shift is one number; in XLA a slice that begins elsewhere each time is compiled each time
    row = ops.reshape(padded, (-1,))
    steps = np.array([padded.shape[1] * 3, 3], np.int32)
    shifts = ops.sum(ops.cast(ops.round(offsets), "int32") * steps, axis=1)
    total = ops.zeros_like(row)
    for number in range(offsets.shape[0]):
        total = total + ops.roll(row, shifts[number])
    inside = slice(reach, reach + side)
    return ops.reshape(total, padded.shape)[inside, inside] / offsets.shape[0]
