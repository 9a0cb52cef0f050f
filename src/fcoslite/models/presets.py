"""The detectors we ship, as plain data, and the numbers that define one."""

from dataclasses import dataclass, replace
from itertools import pairwise

from fcoslite.config.settings import ModelSettings
from fcoslite.errors import ConfigError

COCO_CLASSES = tuple(
    (  # noqa: SIM905
        "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,traffic light,fire hydrant,"
        "stop sign,parking meter,bench,bird,cat,dog,horse,sheep,cow,elephant,bear,zebra,giraffe,"
        "backpack,umbrella,handbag,tie,suitcase,frisbee,skis,snowboard,sports ball,kite,"
        "baseball bat,baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,fork,"
        "knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,hot dog,pizza,donut,cake,"
        "chair,couch,potted plant,bed,dining table,toilet,tv,laptop,mouse,remote,keyboard,"
        "cell phone,microwave,oven,toaster,sink,refrigerator,book,clock,vase,scissors,teddy bear,"
        "hair drier,toothbrush"
    ).split(",")
)

# fields of `Architecture` that are settings of the same name
_SETTINGS = (
    "backbone",
    "strides",
    "neck_channels",
    "head_channels",
    "head_depth",
    "distance_bins",
    "assignment",
    "quality",
)

_COARSEST_FEATURES = 32  # stride of the last map of every backbone


@dataclass(frozen=True)
class Architecture:
    """Everything that shapes a detector except its classes and image size.

    Attributes:
        backbone: Name of a row of `models.backbones.BACKBONES`.
        strides: Pixels between neighbouring locations, one per level, each twice the one before.
        norms: `running` or `frozen`, see `models.layers.NormedConv`; used by backbones that know both.
        neck: `normalised` (norm and activation after every step), `plain` (convolutions with bias)
            or `separable` (depthwise-separable, batch normalisation).
        neck_channels: Channels of every pyramid level.
        head_channels: Channels of the head's towers.
        head_separable: Whether the towers' convolutions are depthwise-separable.
        head_depth: 3x3 convolutions a tower.
        head_groups: Groups of the towers' GroupNormalization; separable towers have batch normalisation.
        head_activation: Activation of the towers.
        prior: Class probability everywhere at the start.
        distance_bias: Start of the regression bias.
        distance_scale: Start of each level's learned factor, before exp.
        distance_bins: A distance is the mean of a distribution over 0, 1, 2, ... strides, so many of them (arXiv
            2006.04388); None: exp of one number, which the two above are about.
        quality: What the second score of a location learns: `centerness`, `iou`, or `none` where there is none.
        quality_bias: Start of its bias.
        assignment: `area`, `ranges`, `atss` or `task_aligned`, see `fcoslite.fcos.targets`.
        level_limits: One less than levels. `area`: largest box area of each level, square pixels. `ranges`:
            largest distance to a side of the box, pixels. The others use none.
        centre_radius: Centre sampling radius in strides; used by `ranges`.
        classes: Class names where no data names them.
    """

    backbone: str
    norms: str
    strides: tuple[int, ...]
    neck: str
    neck_channels: int
    head_channels: int
    head_separable: bool
    head_depth: int
    head_groups: int
    head_activation: str
    prior: float
    distance_bias: float
    distance_scale: float
    distance_bins: int | None
    quality: str
    quality_bias: float
    assignment: str
    level_limits: tuple[float, ...]
    centre_radius: float
    classes: tuple[str, ...]


PRESETS = {
    # the original detector, see docs/original.md
    "lite": Architecture(
        backbone="bottleneck",
        norms="running",
        strides=(4, 8, 16, 32),
        neck="normalised",
        neck_channels=128,
        head_channels=64,
        head_separable=False,
        head_depth=4,
        head_groups=16,
        head_activation="swish",
        prior=0.05,
        distance_bias=-4.605170185988092,  # -log 100
        distance_scale=0.1,
        distance_bins=None,
        quality="centerness",
        quality_bias=-2.0,
        assignment="area",
        level_limits=(4096.0, 16384.0, 65536.0),
        centre_radius=1.5,
        classes=("person",),
    ),
    # for small data and a laptop without GPU: a pretrained EfficientNet-Lite0, everything after it slim
    "lite0": Architecture(
        backbone="efficientnet_lite0",
        norms="frozen",
        strides=(8, 16, 32, 64),
        neck="separable",
        neck_channels=128,
        head_channels=128,
        head_separable=True,
        head_depth=3,
        head_groups=16,
        head_activation="relu",
        prior=0.01,
        distance_bias=1.0,  # e strides: a box of about five strides, which is what a level's boxes start from
        distance_scale=1.0,
        distance_bins=None,
        quality="iou",
        quality_bias=0.0,
        assignment="atss",
        level_limits=(),
        centre_radius=1.5,
        classes=("person",),
    ),
    # FCOS, arXiv 1904.01355: ResNet-50, P3-P7, ranges of section 3.2, prior of section 4
    "r50": Architecture(
        backbone="resnet50",
        norms="running",  # as in Keras' ResNet-50; another backbone in its place starts at random unless told
        strides=(8, 16, 32, 64, 128),
        neck="plain",
        neck_channels=256,
        head_channels=256,
        head_separable=False,
        head_depth=4,
        head_groups=32,
        head_activation="relu",
        prior=0.01,
        distance_bias=0.0,
        distance_scale=1.0,
        distance_bins=None,
        quality="centerness",
        quality_bias=0.0,
        assignment="ranges",
        level_limits=(64.0, 128.0, 256.0, 512.0),
        centre_radius=1.5,
        classes=COCO_CLASSES,
    ),
}


@dataclass(frozen=True)
class Size:
    """How large a preset is, with its own classes at SIZE_PIXELS; told without building it.

    Attributes:
        parameters: In all.
        backbone_parameters: Of backbone and neck.
        gmacs: Multiply-accumulates of the convolutions for one image, 1e9.
    """

    parameters: int
    backbone_parameters: int
    gmacs: float


SIZE_PIXELS = 512
SIZES = {
    "lite": Size(3_255_082, 2_885_024, 16.022),
    "lite0": Size(3_250_730, 3_132_448, 2.619),
    "r50": Size(32_200_922, 27_456_384, 50.166),
}


def architecture(settings: ModelSettings) -> Architecture:
    """The preset with the settings laid over it.

    Raises:
        ConfigError: The strides, the limits or the image size do not fit together.
    """
    preset = PRESETS[settings.preset]
    given = {name: getattr(settings, name) for name in _SETTINGS}
    chosen = {name: value for name, value in given.items() if value is not None}
    if settings.backbone_norms is not None:
        chosen["norms"] = settings.backbone_norms
    if {"strides", "assignment"} & chosen.keys():
        strides = chosen.get("strides", preset.strides)
        rule = chosen.get("assignment", preset.assignment)
        # `area` and `ranges` hand a level the boxes of 8 to 16 strides (P2: 64 pixels square, P3: up to 64 or 128)
        sides = [stride * (16 if rule == "area" else 8) for stride in strides[:-1]]
        chosen["level_limits"] = tuple(float(side**2 if rule == "area" else side) for side in sides)
    result = replace(preset, **chosen)
    _check(result, settings.image_size)
    return result


def free_step(strides: tuple[int, ...]) -> int:
    """What the sides of an image must be multiples of, pixels: the coarsest map that is enlarged has this stride."""
    return min(_COARSEST_FEATURES, strides[-1])


def _check(architecture: Architecture, image_size: int) -> None:
    strides = architecture.strides
    doubling = all(b == 2 * a for a, b in pairwise(strides))
    if not strides or strides[0] not in (4, 8) or not doubling:
        raise ConfigError(
            f"model.strides {list(strides)} do not make a pyramid",
            "start at 4 or 8, each twice the one before",
        )
    if image_size % strides[-1]:
        lower = image_size // strides[-1] * strides[-1]
        near = " or ".join(str(size) for size in (lower, lower + strides[-1]) if size)
        raise ConfigError(
            f"model.image_size {image_size} is no multiple of the largest stride {strides[-1]}",
            f"take {near}",
        )
    if architecture.neck == "normalised" and architecture.neck_channels % 32:
        raise ConfigError("model.neck_channels must be a multiple of 32", "its norms have 32 groups")
    if not architecture.head_separable and architecture.head_channels % architecture.head_groups:
        groups = architecture.head_groups
        raise ConfigError(f"model.head_channels must be a multiple of {groups}", f"its norms have {groups} groups")
