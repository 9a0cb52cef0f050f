"""`fcoslite build-records`: letterboxed TFRecord shards from an extracted data set."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import AddressOption, DryRunFlag, MaxSkippedOption, to_place, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


class Encoding(StrEnum):
    """How images are compressed in records."""

    png = "png"
    jpeg = "jpeg"


class Engine(StrEnum):
    """What builds records."""

    local = "local"
    ray = "ray"


DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        "-d",
        metavar="DIR",
        parser=to_place,
        help="Folder with annotations.json and images/, as `fcoslite extract` writes it, or its address.",
        show_default="data/person",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        parser=to_place,
        help="Folder to write, or its address, such as s3://bucket/records.",
        show_default="workspace.records: records",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="Take at most N images, the first of the seeded order.",
        show_default="all",
    ),
]
SizeOption = Annotated[
    int,
    typer.Option("--size", metavar="PIXELS", help="Side of the square, letterboxed images; a multiple of 32."),
]
EncodingOption = Annotated[
    Encoding,
    typer.Option("--encoding", help="png loses nothing; jpeg (quality 95) takes a quarter of the space."),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        min=1,
        help="Threads, or processes of a cluster, that read and encode images; the records do not depend on it.",
        show_default="one a CPU",
    ),
]
OrderSeedOption = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Random seed of the records' order.")]
ShardOption = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Write only the I-th of N shares of the files, counted from 0, for `fcoslite records merge`.",
        show_default="all, finished",
    ),
]
EngineOption = Annotated[
    Engine,
    typer.Option("--engine", help="Threads of this process, or processes of a Ray cluster (extra `ray`)."),
]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace former records in --out.")]


@with_terminal
def command(
    data: DataOption = None,
    out: OutOption = None,
    limit: LimitOption = None,
    size: SizeOption = 512,
    encoding: EncodingOption = Encoding.png,
    workers: WorkersOption = None,
    overwrite: OverwriteFlag = False,
    seed: OrderSeedOption = 0,
    max_skipped: MaxSkippedOption = "1%",
    shard: ShardOption = None,
    engine: EngineOption = Engine.local,
    address: AddressOption = None,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Letterbox the images of a data set into TFRecord shards, shuffled once, with a manifest.json.

    The same input and seed give the same bytes. Nothing appears in the output folder before it is complete; if stopped
    or killed, the same command goes on where it was.

    --shard is for schedulers that start a command many times: each with an I of its own, and the same --out on a disk
    that all see. `fcoslite records merge` then makes one set of it, byte for byte that of a single command.
    """
    from dataclasses import asdict

    from fcoslite.config.settings import DATA_FOLDER, WorkspaceSettings
    from fcoslite.data.records.build import build_records
    from fcoslite.data.records.shards import Share

    result = build_records(
        data or Path(DATA_FOLDER),
        out or Path(WorkspaceSettings().records),
        limit=limit,
        image_size=size,
        encoding=encoding.value,
        workers=workers,
        seed=seed,
        max_skipped=max_skipped,
        overwrite=overwrite,
        dry_run=dry_run,
        progress=terminal.progress,
        share=Share.parse(shard) if shard else None,
        engine=engine.value,
        address=address,
    )
    document = {**asdict(result), "image_size": size, "encoding": encoding.value, "shard": shard, "dry_run": dry_run}
    free = "" if result.free_bytes is None else f"; {result.free_bytes / 1e9:,.1f} GB were free"
    rows = [
        ["classes", ", ".join(result.class_names)],
        ["records", f"{result.images:,} of {size}x{size} pixels, {encoding.value}"],
        ["boxes", f"{result.boxes:,}"],
        ["skipped images", f"{result.skipped_images:,}{' (skipped.jsonl)' if result.skipped_images else ''}"],
        ["shards", f"{result.shards:,}"],
        [
            "estimated size" if dry_run else "size",
            f"{result.size_bytes / 1e6:,.1f} MB{free}",
        ],
        ["would write" if dry_run else "written to", str(result.out)],
    ]
    if shard:
        rows.append(["share", f"{shard}; when all are written: fcoslite records merge {result.out}"])
    terminal.result(document, lambda: terminal.table(["", ""], rows, header=False))
