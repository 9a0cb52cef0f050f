"""Flags that commands share: those of all of them, as a decorator, and those of several, as types."""

import inspect
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


def _make_terminal(
    json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library does in detail.")] = False,
    # errors come from before a command, too: app.run finds it among the arguments
    debug: Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")] = False,
) -> "Terminal":
    from fcoslite.cli.console import Terminal

    return Terminal(json, quiet, verbose)


def to_place(text: str) -> Path:
    """What an option that also takes addresses is parsed by."""
    from fcoslite.storage.places import place

    return place(text)


def with_terminal(function: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags of all commands, and their outcome as its `terminal`.

    In the help, --json stands where `terminal` stands among the command's parameters, the others after all of them.
    """
    first, *others = flags = list(inspect.signature(_make_terminal).parameters.values())
    own = inspect.signature(function).parameters.values()
    shown = [*(first if parameter.name == "terminal" else parameter for parameter in own), *others]

    @wraps(function)
    def command(**values: Any) -> None:
        terminal = _make_terminal(**{flag.name: values.pop(flag.name) for flag in flags})
        function(**values, terminal=terminal)

    # what typer reads
    keywords = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in shown]
    command.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in shown}
    return command


def named_data(data: Path | None, annotations: Path | None, images: Path | None) -> Path:
    """The data set that a command was given: by --data, or by --annotations and --images.

    Raises:
        ConfigError: None, both, or half of one.
    """
    from fcoslite.errors import ConfigError

    if data is not None and annotations is not None:
        raise ConfigError("--data and --annotations exclude each other", "give one of them")
    if data is None and annotations is None:
        raise ConfigError("no data set is named", "give --data FOLDER, or --annotations FILE and --images FOLDER")
    if annotations is not None and images is None:
        raise ConfigError("--annotations and --images go together", "give both, or --data FOLDER")
    named = data or annotations
    assert named is not None
    return named


AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="ADDRESS",
        help="Ray cluster: auto, ray://HOST:10001, or HOST:6379.",
        show_default="RAY_ADDRESS, or processes on this machine",
    ),
]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Check the input, print the plan and stop; nothing is written.")
]

OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Write over what is there.")]

MaxSkippedOption = Annotated[
    str,
    typer.Option(
        "--max-skipped",
        metavar="N|PERCENT%",
        help="Most images that may be left out because their file is missing, damaged, too large or of another size: "
        "a count, or a share of all. skipped.jsonl lists them; more are an error.",
    ),
]


ImagesOption = Annotated[
    Path | None,
    typer.Option(
        "--images", "-i", metavar="DIR", help="Folder of the images.", show_default="where the format has them"
    ),
]


class Format(StrEnum):
    """Formats of data sets."""

    coco = "coco"
    yolo = "yolo"
    voc = "voc"
    createml = "createml"
    folder = "folder"


FormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Format of the data set.", show_default="recognised by what is there"),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", metavar="train|val|test", help="Part of the data set to take.", show_default="all"),
]


class Boxes(StrEnum):
    """What the numbers of a COCO box are."""

    xywh = "xywh"
    xyxy = "xyxy"
    fractions = "fractions"


BoxesOption = Annotated[
    Boxes,
    typer.Option(
        "--boxes",
        help="What the numbers of a box of COCO are: x y width height, x1 y1 x2 y2, or x y width height as fractions "
        "of the image. VOC and CreateML may have fractions, too.",
    ),
]
ConfigOption = Annotated[
    str,
    typer.Option(
        "--config",
        "-c",
        metavar="NAME|FILE",
        help="A YAML file or a packaged config (mission, cpu, smoke, vram-4gb, ...); "
        "'auto' picks one by the GPU's memory.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a setting that the command uses, e.g. data.validation_records=0. May be given several times.",
        show_default="none",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Random seed.", show_default="the config's, 0"),
]


def records_option(show_default: str) -> Any:
    """`--records` of a command, with its own default."""
    return typer.Option(
        "--records",
        metavar="DIR",
        parser=to_place,
        help="Folder of TFRecord shards with their manifest.json, or its address, such as s3://bucket/records.",
        show_default=show_default,
    )


RecordsOption = Annotated[Path | None, records_option("workspace.records: records")]
SkipBadRecordsFlag = Annotated[
    bool,
    typer.Option(
        "--skip-bad-records",
        help="Go without damaged or missing records, or images of a folder, and count them, instead of refusing them.",
    ),
]
WeightsOption = Annotated[
    str | None,
    typer.Option(
        "--weights",
        "-w",
        metavar="lite0|lite|FILE|RUN",
        help="Packaged weights, a .npz file, an exported one, or a run by path or name.",
        show_default="the newest run in ./runs, else lite0",
    ),
]
IouOption = Annotated[
    float | None,
    typer.Option(
        "--iou",
        min=0,
        max=1,
        help="NMS drops a box that overlaps a better one by more (IoU, 0 to 1).",
        show_default="webcam.iou of the weights",
    ),
]
ScoreOption = Annotated[
    float | None,
    typer.Option(
        "--score",
        min=0,
        max=1,
        help="Boxes below are dropped (0 to 1). The number drawn is its cube root.",
        show_default="webcam.score of the weights",
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="auto|keras|onnx|openvino|litert",
        help="What runs the network: Keras (on a GPU if there is one), ONNX Runtime, OpenVINO or LiteRT (on the CPU).",
    ),
]
EventsOption = Annotated[
    Path | None,
    typer.Option(
        "--events",
        metavar="FILE",
        help="Add a JSON line for each person who was inside the zone, and save a picture in a folder beside; - is "
        "stdout. Tracks.",
        show_default="nothing",
    ),
]
MqttOption = Annotated[
    str | None,
    typer.Option(
        "--mqtt",
        metavar="mqtt[s]://HOST[:PORT]",
        help="Tell a broker, and Home Assistant, whether a person is there, how many, and each event. Tracks. User and "
        "password are in FCOSLITE_MQTT_USER and FCOSLITE_MQTT_PASSWORD, or in the file of --mqtt-login.",
        show_default="nothing",
    ),
]
ZoneOption = Annotated[
    str | None,
    typer.Option(
        "--zone",
        metavar="X,Y,X,Y,...",
        help="Of --events and --mqtt: the corners of the part of the picture in which a person's feet count, in pixels "
        "or, all in 0 to 1, as parts of its sides.",
        show_default="all of it",
    ),
]
MinSecondsOption = Annotated[
    float | None,
    typer.Option(
        "--min-seconds",
        metavar="SECONDS",
        min=0,
        max=3600,
        help="Of --events and --mqtt: who is inside for less does not count.",
        show_default="1",
    ),
]
CameraOption = Annotated[
    str | None,
    typer.Option(
        "--camera",
        metavar="NAME",
        help="Of --events and --mqtt: what to call the camera.",
        show_default="after the source, without user and password",
    ),
]
MqttLoginOption = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-login", metavar="FILE", help="Its first line is user:password.", show_default="the environment"
    ),
]
MqttCaOption = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-ca",
        metavar="FILE",
        help="Of mqtts: the certificate (PEM) of the authority that signed the broker's.",
        show_default="those that the system trusts",
    ),
]
MqttSpoolOption = Annotated[
    Path | None,
    typer.Option(
        "--mqtt-spool", metavar="DIR", help="Where events wait for a broker that is away.", show_default="./mqtt-spool"
    ),
]
MlflowOption = Annotated[
    str | None,
    typer.Option(
        "--mlflow-uri",
        metavar="URI",
        help="MLflow tracking server or database.",
        show_default="workspace.mlflow_uri: sqlite:///mlflow.db",
    ),
]
HostOption = Annotated[
    str,
    typer.Option(
        "--host", metavar="HOST", help="Where the page in the browser listens. 0.0.0.0 is open to the network."
    ),
]
PortOption = Annotated[
    int,
    typer.Option(
        "--port", metavar="N", min=0, max=65535, help="Port of the page in the browser; 0 takes any that is free."
    ),
]
