"""Flags that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on stdout.")]
DryRunFlag = Annotated[
    bool, typer.Option("--dry-run", help="Check the input, print the plan and stop; nothing is written.")
]
QuietFlag = Annotated[bool, typer.Option("--quiet", "-q", help="Show only warnings, errors and the result.")]
VerboseFlag = Annotated[bool, typer.Option("--verbose", "-v", help="Show what the library does in detail.")]
DebugFlag = Annotated[bool, typer.Option("--debug", help="Show the Python traceback of an error.")]

MaxSkippedOption = Annotated[
    str,
    typer.Option(
        "--max-skipped",
        metavar="N|PERCENT%",
        help="Most images that may be left out because their file is missing, damaged, too large or of another size: "
        "a count, or a share of all. skipped.jsonl lists them; more are an error.",
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
        help="Override any setting, e.g. train.lr_max=1e-4. May be given several times.",
        show_default="none",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option("--seed", metavar="N", min=0, help="Random seed.", show_default="the config's, 0"),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option(
        "--records",
        metavar="DIR",
        help="Folder of TFRecord shards with their manifest.json.",
        show_default="workspace.records: records",
    ),
]
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
        help="Packaged weights, a .npz file, or a run by path or name.",
        show_default="the newest run in ./runs, else lite0",
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
