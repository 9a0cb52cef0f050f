"""The settings tree: frozen and checked."""

from itertools import pairwise
from math import inf
from typing import Annotated, Any, ClassVar, Literal, Self
from unicodedata import category

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from fcoslite.text import without_user

_MANY = 1_000_000_000  # what no run can reach, and every counter can hold
_MOST_EPOCHS = 1_000_000


def _without_controls(text: str) -> str:
    if any(category(character) == "Cc" for character in text):
        raise ValueError("it has control characters")
    return text


_Line = Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_without_controls)]  # a class, a path


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: object) -> object:
        # no setting is one, and Python takes `yes` for 1
        if isinstance(value, bool):
            raise ValueError("yes and no are no values here")
        return value


class ModelSettings(_Node):
    """Which detector. Everything left at null is the preset's own."""

    preset: Literal["lite", "lite0", "r50"] = "lite"
    classes: tuple[_Line, ...] | None = Field(
        None, min_length=1, max_length=2000, description="class names; null: those of the data"
    )
    image_size: int = Field(512, ge=32, le=4096, description="pixels; a multiple of the largest stride")
    backbone: Literal["bottleneck", "efficientnet_lite0", "resnet50", "resnext50"] | None = None
    backbone_weights: _Line | None = Field(
        None, description="a local file or installed weights to start the backbone from; never downloaded"
    )
    backbone_norms: Literal["running", "frozen"] | None = Field(
        None, description="batch normalisation of a backbone that knows both: statistics gathered in training, or kept"
    )
    strides: tuple[Annotated[int, Field(ge=4, le=4096)], ...] | None = Field(
        None, min_length=1, max_length=8, description="pixels, one per level, each twice the one before"
    )
    neck_channels: int | None = Field(None, ge=8, le=1024)
    head_channels: int | None = Field(None, ge=8, le=1024)
    head_depth: int | None = Field(None, ge=0, le=8, description="convolutions per tower")
    distance_bins: int | None = Field(
        None,
        ge=2,
        le=64,
        description="a distance is the mean of a distribution over so many strides, from 0; null: exp",
    )
    assignment: Literal["area", "ranges", "atss", "task_aligned"] | None = None
    quality: Literal["centerness", "iou", "none"] | None = Field(
        None, description="what the second score of a location learns; none: there is no second score"
    )


_Open = Annotated[float, Field(gt=0, lt=1)]


class LossSettings(_Node):
    """Class loss, box loss and quality loss."""

    classes: Literal["focal", "quality_focal"] = Field(
        "focal", description="quality_focal: a positive location learns its box's IoU as class score"
    )
    focal_alpha: float = Field(0.25, ge=0, le=1)
    focal_gamma: float = Field(2.0, ge=0, le=100)
    box: Literal["giou", "iou"] = "giou"
    box_weight: float = Field(1.0, ge=0, le=1_000_000)
    quality_weight: float = Field(1.0, ge=0, le=1_000_000)
    teacher_weight: float = Field(1.0, ge=0, le=1_000_000, description="of what a teacher says, where there is one")
    least_score: float = Field(0.25, ge=0, le=1, description="labelled boxes of lower scores are left out")
    score_table: tuple[tuple[_Open, _Open], ...] = Field(
        ((0.25, 0.25), (0.35, 0.5), (0.45, 0.78), (0.55, 0.95), (0.65, 0.99)),
        max_length=100,
        description="pairs of a labelled box's score and how probably it is right; linear in between, 1 is 1",
    )

    @field_validator("score_table")
    @classmethod
    def _rising(cls, table: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        if any(high[0] <= low[0] or high[1] < low[1] for low, high in pairwise(table)):
            raise ValueError("scores must rise, and probabilities not fall")
        return table


_Zoom = Annotated[float, Field(ge=0.01, le=100)]


class AugmentSettings(_Node):
    """Augmentation of training batches, on the accelerator."""

    flip_probability: float = Field(0.5, ge=0, le=1)
    brightness: float = Field(
        0.1, ge=0, le=1, description="largest shift, in half of the images; pixel values are in [0, 1]"
    )
    scale: tuple[_Zoom, _Zoom] = Field(
        (1.0, 1.0), description="range of a random zoom; the part that does not fit is cut off at random"
    )
    mosaic: float = Field(0.0, ge=0, le=1, description="share of a batch that is put together from four images")
    mosaic_off_epochs: int = Field(0, ge=0, le=_MANY, description="last epochs, without mosaic")
    contrast: float = Field(0.0, ge=0, lt=1, description="largest relative change")
    saturation: float = Field(0.0, ge=0, le=1, description="largest relative change")
    noise: float = Field(
        0.01, ge=0, le=1, description="standard deviation, in half of the images; pixel values are in [0, 1]"
    )
    conditions: float = Field(
        0.0, ge=0, le=1, description="share of the images taken by a bad camera: grey, dark, noisy, blurred, compressed"
    )

    @field_validator("scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("the smaller zoom comes first")
        return scale


class DataSettings(_Node):
    """How records are split and read."""

    validation_records: int = Field(
        1200, ge=0, le=_MANY, description="the first records, never trained on; at most a fifth of the set"
    )
    chunk_records: int = Field(
        10_000, ge=1, le=_MANY, description="records per chunk; a set that fits in one chunk is cut into four"
    )
    shuffle_buffer: int = Field(512, ge=1, le=_MANY, description="records shuffled at a time")
    cache_gb: float = Field(20, gt=0, le=_MANY, description="local copies of records at an address, GB (10^9 bytes)")


class ComputeSettings(_Node):
    """What the machine can hold."""

    batch_size: int = Field(4, ge=1, le=4096, description="images per step")
    accumulation: int = Field(8, ge=1, le=4096, description="steps whose gradients are averaged into one update")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    compile: Literal["auto", "xla", "graph"] = "auto"
    memory_limit_mb: int | None = Field(None, ge=256, le=_MANY, description="GPU memory to take, MiB; null: as needed")
    workers: int = Field(2, ge=1, le=1024, description="threads that decode images")
    prefetch: int = Field(1, ge=0, le=1024, description="batches prepared ahead")


class ScheduleSettings(_Node):
    """Epochs, learning rate and regularisation of one training phase."""

    epochs: int = Field(30, ge=1, le=_MOST_EPOCHS)
    steps_per_epoch: int | None = Field(
        None, ge=1, le=_MANY, description="batches per epoch; null: one pass over the data"
    )
    lr_start: float = Field(2.5e-7, ge=0, le=1000)
    lr_max: float = Field(5e-5, gt=0, le=1000)
    lr_min: float = Field(2.5e-7, ge=0, le=1000)
    warmup_steps: int = Field(5000, ge=0, le=_MANY, description="batches; at most a tenth of all")
    backbone_lr_factor: float = Field(1.0, ge=0, le=1000, description="learning rate of the backbone / of the heads")
    neck_lr_factor: float = Field(1.0, ge=0, le=1000, description="learning rate of the neck / of the heads")
    weight_decay: float = Field(5e-3, ge=0, le=1000)
    clip_norm: float = Field(10.0, gt=0, le=1_000_000, description="global norm of the averaged gradients")
    ema: float = Field(0.0, ge=0, lt=1, description="momentum of the averaged weights that are kept; 0: no average")
    early_stopping_epochs: int | None = Field(
        7, ge=1, le=_MOST_EPOCHS, description="validations without a better loss; null: all epochs are trained"
    )
    validate_every: int = Field(1, ge=1, le=_MOST_EPOCHS, description="epochs")

    @property
    def patience(self) -> float:
        """Validations without a better loss before training stops."""
        return inf if self.early_stopping_epochs is None else self.early_stopping_epochs


class FinetuneSettings(ScheduleSettings):
    """The fine-tuning phase: constant, small, ten times smaller for backbone and neck."""

    epochs: int = Field(10, ge=1, le=_MOST_EPOCHS)
    lr_start: float = Field(1e-5, ge=0, le=1000)
    lr_max: float = Field(1e-5, gt=0, le=1000)
    lr_min: float = Field(1e-5, ge=0, le=1000)
    warmup_steps: int = Field(0, ge=0, le=_MANY)
    backbone_lr_factor: float = Field(0.1, ge=0, le=1000)
    neck_lr_factor: float = Field(0.1, ge=0, le=1000)
    keep: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] | None = Field(
        None,
        description="share of the weights from before in what is kept at the end; auto: chosen; null: auto for frames "
        "of a camera, else nothing is averaged",
    )


class DetectSettings(_Node):
    """From network outputs to boxes."""

    score: float = Field(0.05, ge=0, le=1, description="boxes below are dropped")
    iou: float = Field(0.75, ge=0, le=1, description="NMS drops a box that overlaps a better one by more")
    max_detections: int = Field(100, ge=1, le=10_000, description="boxes per image")

    def with_given(self, *, score: float | None, iou: float | None) -> Self:
        """The same with those thresholds that were given."""
        given = {name: value for name, value in (("score", score), ("iou", iou)) if value is not None}
        return self.model_copy(update=given)


class WebcamSettings(DetectSettings):
    """Detection for the eye: fewer, surer boxes."""

    score: float = Field(0.2, ge=0, le=1)
    iou: float = Field(0.3, ge=0, le=1)
    max_detections: ClassVar[int] = 100  # type: ignore[misc]  # a setting of evaluation only


# where `extract` writes and `build-records` reads when no flag says otherwise
DATA_FOLDER = "data/person"


class WorkspaceSettings(_Node):
    """Where training reads and writes when no flag says otherwise, relative to the current folder."""

    records: _Line = "records"
    runs: _Line = "runs"
    mlflow_uri: _Line = "sqlite:///mlflow.db"


class Settings(_Node):
    """All settings of a run."""

    name: str = Field(
        "mission",
        min_length=1,
        max_length=100,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="part of the run's name",
    )
    seed: int = Field(0, ge=0, lt=2**31)
    checkpoint_minutes: float = Field(10.0, gt=0, le=1_000_000)
    model: ModelSettings = ModelSettings()
    loss: LossSettings = LossSettings()
    augment: AugmentSettings = AugmentSettings()
    data: DataSettings = DataSettings()
    compute: ComputeSettings = ComputeSettings()
    train: ScheduleSettings = ScheduleSettings()
    finetune: FinetuneSettings = FinetuneSettings()
    evaluate: DetectSettings = DetectSettings()
    webcam: WebcamSettings = WebcamSettings()
    workspace: WorkspaceSettings = WorkspaceSettings()

    def to_yaml(self) -> str:
        """The whole tree as YAML."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)

    def flat(self) -> dict[str, Any]:
        """The values by `section.key`, as they may be shown: of an address without user and password."""
        tree = self.model_dump(mode="json")
        tree["workspace"]["mlflow_uri"] = without_user(self.workspace.mlflow_uri)
        sections = {key: value if isinstance(value, dict) else {"": value} for key, value in tree.items()}
        return {f"{name}.{key}".rstrip("."): value for name, part in sections.items() for key, value in part.items()}
