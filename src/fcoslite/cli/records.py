"""`fcoslite records`: verify a set, merge the shares of one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import MaxSkippedOption, to_place, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal

app = typer.Typer(help="Look after a set of records.", no_args_is_help=True)
_SHOWN = 20


@app.command("verify")
@with_terminal
def verify_command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            help="Folder of TFRecord shards with their manifest.json.",
            show_default="workspace.records: records",
        ),
    ] = None,
    deep: Annotated[
        bool,
        typer.Option(
            "--deep", help="Read everything: compare the checksum of every shard, parse and decode every record."
        ),
    ] = False,
    *,
    terminal: "Terminal",
) -> None:
    """Check that the shards of a manifest are there and of its sizes; with --deep, that every record is whole.

    Ends with exit code 1 if records are bad, and names them. Writes nothing.
    """
    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.data.records.verify import verify_records
    from fcoslite.errors import DataError

    found = verify_records(folder or Path(WorkspaceSettings().records), deep, terminal.progress)
    document = {
        "folder": str(found.folder),
        "deep": found.deep,
        "shards": found.shards,
        "records": found.records,
        "bad_records": found.bad_records,
        "faults": [
            {"shard": fault.shard, "first": fault.records[0], "last": fault.records[-1], "problem": fault.problem}
            for fault in found.faults
        ],
    }

    rows = [
        ["folder", str(found.folder)],
        ["shards", f"{found.shards:,}, {'read' if deep else 'looked at; --deep reads them'}"],
        ["records", f"{found.records:,}, {found.bad_records:,} of them bad"],
        *(["bad", str(fault)] for fault in found.faults[:_SHOWN]),
    ]
    if len(found.faults) > _SHOWN:
        rows.append(["", f"and {len(found.faults) - _SHOWN} more; --json lists all"])
    terminal.result(document, lambda: terminal.table(["", ""], rows, header=False))
    if found.faults:
        raise DataError(
            f"{found.bad_records} of {found.records} records in {found.folder} cannot be used",
            "copy those shards again, build the records again with `fcoslite build-records --overwrite`, or train and "
            "evaluate without them: --skip-bad-records",
        )


@app.command("merge")
@with_terminal
def merge_command(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="FOLDER",
            parser=to_place,
            help="Folder, or address, that was the --out of `fcoslite build-records --shard`.",
            show_default="workspace.records: records",
        ),
    ] = None,
    max_skipped: MaxSkippedOption = "1%",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace former records in FOLDER.")] = False,
    *,
    terminal: "Terminal",
) -> None:
    """Make one set of records of the shares that `build-records --shard` has written; names what is missing.

    Byte for byte what one `build-records` would have written. Nothing appears in the folder before it is complete.
    """
    from dataclasses import asdict

    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.data.records.merge import merge_records

    result = merge_records(folder or Path(WorkspaceSettings().records), max_skipped, overwrite)
    rows = [
        ["classes", ", ".join(result.class_names)],
        ["records", f"{result.images:,}"],
        ["boxes", f"{result.boxes:,}"],
        ["skipped images", f"{result.skipped_images:,}{' (skipped.jsonl)' if result.skipped_images else ''}"],
        ["shards", f"{result.shards:,}"],
        ["size", f"{result.size_bytes / 1e6:,.1f} MB"],
        ["written to", str(result.out)],
    ]
    terminal.result(asdict(result), lambda: terminal.table(["", ""], rows, header=False))
