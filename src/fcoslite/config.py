"""The settings tree: frozen, checked, read from YAML, overridden by `a.b=value`.

A config file may open with `extends: NAME_OR_FILE`; its keys are laid over the named one's. Packaged configs
(`mission`, `cpu`, `vram-4gb`, ...) are found by name from anywhere.
"""

import types
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, ValidationError, field_validator

from fcoslite.errors import ConfigError, closest


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class ModelSettings(_Node):
    """Which detector. Everything left at null is the preset's own."""

    preset: Literal["lite", "lite0", "r50"] = "lite"
    classes: tuple[str, ...] | None = Field(None, description="class names; null: those of the data")
    image_size: int = Field(512, ge=32, le=4096, description="pixels; a multiple of the largest stride")
    backbone: Literal["bottleneck", "efficientnet_lite0", "resnet50"] | None = None
    backbone_weights: str | None = Field(
        None, description="a local file or installed weights to start the backbone from; never downloaded"
    )
    backbone_norms: Literal["running", "frozen"] | None = Field(
        None, description="batch normalisation of efficientnet_lite0: statistics gathered in training, or kept"
    )
    strides: tuple[int, ...] | None = Field(None, description="pixels, one a level, each twice the one before")
    neck_channels: int | None = Field(None, ge=8)
    head_channels: int | None = Field(None, ge=8)
    head_depth: int | None = Field(None, ge=0, le=8, description="convolutions a tower")
    assignment: Literal["area", "ranges", "atss", "task_aligned"] | None = None
    quality: Literal["centerness", "iou", "none"] | None = Field(
        None, description="what the second score of a location learns; none: there is no second score"
    )


class LossSettings(_Node):
    """Class loss, box loss and quality loss."""

    classes: Literal["focal", "quality_focal"] = Field(
        "focal", description="quality_focal: a positive location learns its box's IoU as class score"
    )
    focal_alpha: float = Field(0.25, ge=0, le=1)
    focal_gamma: float = Field(2.0, ge=0)
    box: Literal["giou", "iou"] = "giou"
    box_weight: float = Field(1.0, ge=0)
    quality_weight: float = Field(1.0, ge=0)


class AugmentSettings(_Node):
    """Augmentation of training batches, on the accelerator."""

    flip_probability: float = Field(0.5, ge=0, le=1)
    brightness: float = Field(0.1, ge=0, le=1, description="largest shift; pixel values are in [0, 1]")
    brightness_probability: float = Field(0.5, ge=0, le=1)
    scale: tuple[PositiveFloat, PositiveFloat] = Field(
        (1.0, 1.0), description="range of a random zoom; the part that does not fit is cut off at random"
    )
    mosaic: float = Field(0.0, ge=0, le=1, description="share of a batch that is put together from four images")
    mosaic_off_epochs: int = Field(0, ge=0, description="last epochs, without mosaic")
    contrast: float = Field(0.0, ge=0, lt=1, description="largest relative change")
    saturation: float = Field(0.0, ge=0, le=1, description="largest relative change")
    noise: float = Field(0.01, ge=0, le=1, description="standard deviation; pixel values are in [0, 1]")
    noise_probability: float = Field(0.5, ge=0, le=1)

    @field_validator("scale")
    @classmethod
    def _in_order(cls, scale: tuple[float, float]) -> tuple[float, float]:
        if scale[0] > scale[1]:
            raise ValueError("the smaller zoom comes first")
        return scale


class DataSettings(_Node):
    """How records are split and read."""

    validation_records: int = Field(
        1200, ge=0, description="the first records, never trained on; at most a fifth of the set"
    )
    chunk_records: int = Field(
        10_000, ge=1, description="records a chunk; a set that fits in one chunk is cut into four"
    )
    shuffle_buffer: int = Field(512, ge=1, description="encoded records shuffled at a time, in memory")


class ComputeSettings(_Node):
    """What the machine can hold."""

    batch_size: int = Field(4, ge=1, description="images a step")
    accumulation: int = Field(8, ge=1, description="steps whose gradients are averaged into one update")
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "auto"
    compile: Literal["auto", "xla", "graph"] = "auto"
    memory_limit_mb: int | None = Field(None, ge=256, description="GPU memory to take, MiB; null: as needed")
    workers: int = Field(2, ge=1, description="threads that decode images")
    prefetch: int = Field(1, ge=0, description="batches prepared ahead")


class ScheduleSettings(_Node):
    """Epochs, learning rate and regularisation of one training phase."""

    epochs: int = Field(30, ge=1)
    steps_per_epoch: int | None = Field(None, ge=1, description="batches an epoch; null: one pass over the data")
    lr_start: float = Field(2.5e-7, ge=0)
    lr_max: float = Field(5e-5, gt=0)
    lr_min: float = Field(2.5e-7, ge=0)
    warmup_steps: int = Field(5000, ge=0, description="batches; at most a tenth of all")
    backbone_lr_factor: float = Field(1.0, ge=0, description="learning rate of the backbone / of the heads")
    neck_lr_factor: float = Field(1.0, ge=0, description="learning rate of the neck / of the heads")
    weight_decay: float = Field(5e-3, ge=0)
    clip_norm: float = Field(10.0, gt=0, description="global norm of the averaged gradients")
    ema: float = Field(0.0, ge=0, lt=1, description="momentum of the averaged weights that are kept; 0: no average")
    early_stopping_epochs: int = Field(7, ge=1, description="validations without a better loss")
    validate_every: int = Field(1, ge=1, description="epochs")


class FinetuneSettings(ScheduleSettings):
    """The fine-tuning phase: constant, small, ten times smaller for backbone and neck."""

    epochs: int = Field(10, ge=1)
    lr_start: float = Field(1e-5, ge=0)
    lr_max: float = Field(1e-5, gt=0)
    lr_min: float = Field(1e-5, ge=0)
    warmup_steps: int = Field(0, ge=0)
    backbone_lr_factor: float = Field(0.1, ge=0)
    neck_lr_factor: float = Field(0.1, ge=0)


class DetectSettings(_Node):
    """From network outputs to boxes."""

    score: float = Field(0.05, ge=0, le=1, description="boxes below are dropped")
    iou: float = Field(0.75, ge=0, le=1, description="NMS drops a box that overlaps a better one by more")
    pre_filter: float = Field(0.001, ge=0, le=1, description="scores below never reach NMS")
    top_k: int = Field(1000, ge=1, description="best candidates a level that reach NMS")
    max_detections: int = Field(100, ge=1, description="boxes an image")


class WebcamSettings(DetectSettings):
    """Detection for the eye: fewer, surer boxes."""

    score: float = Field(0.2, ge=0, le=1)
    iou: float = Field(0.3, ge=0, le=1)


# where `extract` writes and `build-records` reads when no flag says otherwise
DATA_FOLDER = "data/person"


class WorkspaceSettings(_Node):
    """Where training reads and writes when no flag says otherwise, relative to the current folder."""

    records: str = "records"
    runs: str = "runs"
    mlflow_uri: str = "sqlite:///mlflow.db"


class Settings(_Node):
    """All settings of a run."""

    name: str = Field("mission", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="part of the run's name")
    seed: int = Field(0, ge=0, lt=2**31)
    checkpoint_minutes: float = Field(10.0, gt=0)
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
        """Every setting by its `section.key`."""
        return _flat(self.model_dump(mode="json"))


def packaged_configs() -> list[str]:
    """Names of the configs installed with the package."""
    folder = resources.files("fcoslite") / "configs"
    return sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml"))


def load_settings(
    config: str | Path | None = None, overrides: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Settings:
    """Read a config and lay overrides over it.

    Args:
        config: A file, the name of a packaged config, or None for the defaults.
        overrides: `section.key=value`, the value in YAML.
        values: By `section.key`, taken as they are, and last.

    Raises:
        ConfigError: The file, a key or a value is not usable.
    """
    tree = _read_tree(str(config), seen=()) if config is not None else {}
    for override in overrides:
        tree = _merge(tree, _parse_override(override))
    for key, value in (values or {}).items():
        tree = _merge(tree, _nest(key, value))
    return make_settings(tree, origin=str(config or "settings"))


def make_settings(tree: Mapping[str, Any], origin: str) -> Settings:
    """Check a plain tree of settings; `origin` is named in errors.

    Raises:
        ConfigError: A key or a value is not usable.
    """
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, origin) from None


def _read_tree(config: str, seen: tuple[str, ...]) -> dict[str, Any]:
    if config in seen:
        raise ConfigError(f"config '{config}' extends itself", f"chain: {' -> '.join([*seen, config])}")
    path = Path(config)
    if path.is_file():
        text = _read_text(path)
    elif config.removesuffix(".yaml") in packaged_configs():
        name = config.removesuffix(".yaml") + ".yaml"
        text = (resources.files("fcoslite") / "configs" / name).read_text("utf-8")
    else:
        hint = closest(config, packaged_configs()) or "packaged: " + ", ".join(packaged_configs())
        raise ConfigError(f"no config file or packaged config named '{config}'", hint)
    try:
        tree = yaml.safe_load(text) or {}
    except yaml.YAMLError as error:
        raise ConfigError(f"{config} is not valid YAML: {error}", "check the indentation at that line") from None
    if not isinstance(tree, dict):
        raise ConfigError(f"{config} holds no settings", "a config is a tree of `key: value` lines")
    parent = tree.pop("extends", None)
    if parent is None:
        return tree
    beside = path.parent / str(parent)
    base = str(beside) if path.is_file() and beside.is_file() else str(parent)
    return _merge(_read_tree(base, (*seen, config)), tree)


def _read_text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read config {path}: {error}", "a config is a UTF-8 text file") from None


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _parse_override(override: str) -> dict[str, Any]:
    key, separator, text = override.partition("=")
    if not separator or not key.strip():
        raise ConfigError(f"'{override}' is not an override", "write it as section.key=value")
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"cannot read the value of '{override}'", "values are written as in YAML") from None
    if isinstance(value, str):
        value = _number_or_text(value)
    return _nest(key.strip(), value)


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    assert isinstance(value, dict)
    return value


def _number_or_text(text: str) -> float | str:
    # YAML 1.1 reads 1e-4 as a string; everyone means the number
    try:
        return float(text)
    except ValueError:
        return text


def _explain(error: ValidationError, origin: str) -> ConfigError:
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    if first["type"] == "extra_forbidden":
        choices = _known_keys(path[:-1])
        hint = closest(path[-1], choices) or "known: " + ", ".join(choices)
        return ConfigError(f"{origin}: unknown setting '{key}'", hint)
    return ConfigError(f"{origin}: {key}: {first['msg']} (it is {first['input']!r})", "see docs/configuration.md")


def _known_keys(path: list[str]) -> list[str]:
    node: Any = Settings
    for part in path:
        field = getattr(node, "model_fields", {}).get(part)
        node = field.annotation if field else None
        if get_origin(node) in (Union, types.UnionType):
            node = get_args(node)[0]
    return list(getattr(node, "model_fields", {}))
