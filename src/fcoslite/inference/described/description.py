"""What has to be known of an ONNX file to detect with it: a small YAML file, frozen and checked."""

import re
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fcoslite.config.explain import explain
from fcoslite.config.plain_yaml import LONGEST, read_yaml
from fcoslite.errors import ConfigError, WeightsError, closest

_HINT = "docs/labelling.md#descriptions-of-onnx-files tells what a description holds"

_Channel = Annotated[int, Field(ge=0, le=100_000)]
_Triple = tuple[float, float, float]


class _Node(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class InputDescription(_Node):
    """How a picture is given to the network: a letterboxed square, a batch of one."""

    layout: Literal["nchw", "nhwc"]
    channels: Literal["rgb", "bgr"]
    dtype: Literal["float32", "uint8"] = "float32"
    mean: _Triple = Field((0.0, 0.0, 0.0), description="subtracted from 0 to 255, in the order of the channels")
    std: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]] = Field(
        (1.0, 1.0, 1.0), description="divided by, after that"
    )
    letterbox: Literal["top-left", "centred"]
    pad: int = Field(114, ge=0, le=255, description="grey of the padding")

    @model_validator(mode="after")
    def _bytes_are_bytes(self) -> "InputDescription":
        if self.dtype == "uint8" and (any(self.mean) or self.std != (1.0, 1.0, 1.0)):
            raise ValueError("uint8 is given as it is: leave mean and std out")
        return self


class DenseOutputs(_Node):
    """A score and a box for every point of some grids, the network's own outputs."""

    layout: Literal["nhwc", "nchw", "rows"] = Field(
        description="one output per stride, [1, H, W, C] or [1, C, H, W]; or one for all, [1, points, C]"
    )
    strides: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(min_length=1, max_length=8)
    first_point: float = Field(0.0, ge=0, le=1, description="of each grid, in strides: 0 or 0.5")
    score_channel: _Channel = Field(description="of the first class")
    objectness_channel: _Channel | None = Field(None, description="a factor of all classes' scores")
    activation: Literal["sigmoid", "none"] = Field(description="from channels to scores")
    box_channel: _Channel = Field(description="of the first of four")
    box: Literal["sides-pixels", "sides-strides", "yolox", "centre-pixels"] = Field(
        description="distances from the point to left, top, right, bottom; YOLOX's offset of the centre and logarithm "
        "of width and height, in strides; centre, width and height"
    )


class BoxOutputs(_Node):
    """Boxes that are decoded already: rows x_min, y_min, x_max, y_max, score in pixels of the letterboxed square."""

    rows: str = Field(min_length=1, max_length=200, description="the output [1, K, 5 or more]")
    classes: str | None = Field(None, description="the output [1, K] of class numbers; null: column 5 of the rows")
    count: str | None = Field(None, description="the output [1] of valid rows; null: those that score")


class Description(_Node):
    """How to detect with an ONNX file."""

    classes: dict[Annotated[str, Field(min_length=1, max_length=100)], _Channel] = Field(
        min_length=1, max_length=2000, description="classes to detect, and their numbers in the file"
    )
    input: InputDescription
    dense: DenseOutputs | None = None
    boxes: BoxOutputs | None = None
    nms_iou: float = Field(0.6, gt=0, le=1, description="a box that overlaps a better one by more is dropped")

    @model_validator(mode="after")
    def _one_form_of_outputs(self) -> "Description":
        if (self.dense is None) == (self.boxes is None):
            raise ValueError("it has either a section `dense` or a section `boxes`")
        return self


def packaged_descriptions() -> dict[str, Path]:
    """Descriptions installed with the package, by name."""
    folder = Path(str(resources.files("fcoslite"))) / "inference" / "described" / "descriptions"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


class Described(NamedTuple):
    """An ONNX file, its description, and how that was named; None: it lies beside the file."""

    path: Path
    description: Description
    named: str | None


def find_described(text: str) -> Described | None:
    """The ONNX file that FILE.onnx or FILE.onnx:DESCRIPTION names, and its description; None: it names none.

    Raises:
        WeightsError: There is no such file.
        ConfigError: There is no such description, or it cannot be used.
    """
    match = re.fullmatch(r"(.+\.onnx)(?::(.+))?", text, re.IGNORECASE)
    if match is None:
        return None
    path = Path(match[1])
    if not path.is_file():
        raise WeightsError(f"no ONNX file at {path}", "check the path")
    return Described(path, read_description(find_description(path, match[2])), match[2])


def find_description(model: Path, named: str | None) -> Path:
    """The description of an ONNX file.

    Args:
        model: The ONNX file.
        named: A file or the name of a packaged description; None: the .yaml beside the file.

    Raises:
        ConfigError: There is none.
    """
    packaged = packaged_descriptions()
    if named is None:
        beside = model.with_suffix(".yaml")
        if not beside.is_file():
            hint = f"write {beside.name} beside it, or name one: {model}:FILE.yaml, or :NAME of {', '.join(packaged)}"
            raise ConfigError(f"{model} has no description", hint)
        return beside
    if named in packaged:
        return packaged[named]
    if Path(named).is_file():
        return Path(named)
    hint = closest(named, list(packaged)) or f"a YAML file, or one of {', '.join(packaged)}"
    raise ConfigError(f"no description named '{named[:200]}'", hint)


def read_description(path: Path) -> Description:
    """Read and check a description.

    Raises:
        ConfigError: The file, a key or a value cannot be used.
    """
    try:
        with path.open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read description {path}: {error}", "it is a UTF-8 text file") from None
    tree = read_yaml(text, str(path))
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} holds no description", _HINT)
    try:
        return Description.model_validate(tree)
    except ValidationError as error:
        raise explain(error, str(path), _schema(), _HINT) from None


@cache
def _schema() -> dict[str, Any]:
    return Description.model_json_schema()
