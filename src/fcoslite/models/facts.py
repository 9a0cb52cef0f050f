"""What must be known of an exported detector, as it rides in the file's metadata."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fcoslite.config.settings import DetectSettings, WebcamSettings
from fcoslite.errors import WeightsError

KEY = "fcoslite"  # of the metadata
FACTS_FILE = f"{KEY}.json"  # in formats whose metadata are files
SAVED_MODEL_FACTS = f"assets.extra/{FACTS_FILE}"  # where a SavedModel keeps what TensorFlow does not read

Layout = Literal["fcoslite", "yolo", "ssd"]

_LONGEST = 100_000  # characters of the document


class ExportFacts(BaseModel):
    """Facts of a detector in another engine's format; written as one JSON document under `KEY`.

    Its input `images` is [B, H, W, 3] uint8 RGB, letterboxed; its outputs are `boxes` [B, N, 4] (x_min, y_min, x_max,
    y_max in letterboxed pixels) and `scores` [B, N, C]. With `nms` they are those of `export.append_nms`, and where
    they are not `decoded`, those of `Detector.network`. In the `layout` of other projects they are those of
    `export.yolo` and `export.ssd`.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    version: str = Field(max_length=100, description="of fcoslite, which wrote it")
    weights_sha256: str = Field(max_length=64, description="of the weights file that it was made from")
    precision: Literal["float32", "float16", "int8"] = Field(description="of the stored weights")
    classes: tuple[Annotated[str, Field(min_length=1, max_length=1000)], ...] = Field(min_length=1, max_length=10_000)
    class_id_base: Literal[1] = Field(1, description="id in files of the first class")
    layout: Layout = "fcoslite"
    batch: int | None = Field(1, ge=1, le=100_000, description="B; null: any")
    nms: bool = False
    decoded: bool = Field(True, description="false: the outputs are those of the network, in strides and logits")
    strides: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = Field(max_length=10, description="of the locations")
    image_size: int = Field(ge=1, le=16_384, description="S, pixels")
    step: int | None = Field(
        None, ge=1, le=4096, description="H and W may be multiples of it, with H · W at most S · S; null: both are S"
    )
    letterbox: Literal["centred"] = Field("centred", description="the odd pixel at the bottom and right")
    pad: Literal[114] = Field(114, description="grey of the padding")
    evaluate: DetectSettings
    webcam: WebcamSettings

    @model_validator(mode="after")
    def _image_size_fits(self) -> "ExportFacts":
        if self.step is not None and self.image_size % self.step:
            raise ValueError(f"image_size {self.image_size} is no multiple of step {self.step}")
        return self


def read_facts(metadata: Mapping[str, str], path: Path) -> ExportFacts:
    """The facts in a file's metadata.

    Raises:
        WeightsError: The file is no export of ours, of a later version, or laid out for other programs.
    """
    document = metadata.get(KEY, "")
    if not document or len(document) > _LONGEST:
        hint = "`fcoslite export` writes such files; `fcoslite label --by` takes those of other projects"
        raise WeightsError(f"{path} is no detector that fcoslite has exported", hint)
    try:
        facts = ExportFacts.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "its document"
        raise WeightsError(
            f"{path} says of itself what fcoslite cannot read, {where}: {first['msg']}",
            "export it again with this version",
        ) from None
    if facts.layout != "fcoslite":
        hint = "name the weights that it was made of, or export them without --layout"
        raise WeightsError(f"{path} is laid out for other programs ({facts.layout}), which read it", hint)
    return facts
