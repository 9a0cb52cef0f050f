"""The `fcoslite` command: registers the subcommands and turns every error into `error:` + `hint:`."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fcoslite.cli import (
    build_records,
    check,
    collect,
    convert,
    demo,
    detect,
    evaluate,
    export,
    extract,
    inspect,
    label,
    records,
    report,
    review,
    runs,
    train,
    webcam,
)
from fcoslite.cli.standard_streams import NoReaderError, flush_stdout, prepare_streams
from fcoslite.errors import FcosliteError

app = typer.Typer(
    name="fcoslite",
    help="Train your own lightweight anchor-free person detector (FCOS) on a small machine.",
    epilog="A first look, on embedded photographs: fcoslite demo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.command)
app.command("check")(check.command)
app.command("inspect")(inspect.command)
app.command("extract")(extract.command)
app.command("convert")(convert.command)
app.command("collect")(collect.command)
app.command("label")(label.command)
app.command("review")(review.command)
app.command("build-records")(build_records.command)
app.add_typer(records.app, name="records")
app.command("train")(train.train_command)
app.command("finetune")(train.finetune_command)
app.command("eval")(evaluate.command)
app.command("export")(export.command)
app.command("detect")(detect.command)
app.command("webcam")(webcam.command)
app.add_typer(runs.app, name="runs")
app.command("report")(report.command)


def _print_version(value: bool) -> None:
    if value:
        from fcoslite import __version__

        typer.echo(f"fcoslite {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code: 0 fine, 1 error, 2 usage, 130 interrupted, 143 terminated."""
    arguments = sys.argv[1:] if arguments is None else arguments
    prepare_streams()
    code = run(arguments)
    try:
        flush_stdout()
    except FcosliteError as error:
        code = code or _fail(error, error.exit_code, arguments)
    except NoReaderError:
        code = code or 1
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    # TensorFlow's C++ start-up chatter would drown every message of ours; set to 0 to see it
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    # and OpenCV's about images that we report ourselves
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    try:
        code = int(app(list(arguments), standalone_mode=False) or 0)
        # typer turns Ctrl-C into this code without a word
        return _fail(FcosliteError("interrupted"), code, arguments) if code == 130 else code
    except FcosliteError as error:
        return _fail(error, error.exit_code, arguments)
    except KeyboardInterrupt:
        return _fail(FcosliteError("interrupted"), 130, arguments)
    except NoReaderError:
        return 1
    except Exception as error:
        if hasattr(error, "format_message"):  # typer's usage errors, whichever click it brings
            message = error.format_message()
            # without a command it has printed the help, and there is nothing to add
            return _fail(FcosliteError(message, "try the command with --help"), 2, arguments) if message else 2
        if isinstance(error, OSError):
            return _fail(FcosliteError(str(error), "check the path, its permissions and the disk"), 1, arguments)
        hint = _FAILURES.get(type(error).__name__, "this is a bug; --debug shows where")
        text = str(error).strip().splitlines()
        return _fail(FcosliteError(f"{type(error).__name__}: {text[0] if text else ''}", hint), 1, arguments)


# what a machine does, by the name of the exception: importing TensorFlow for its classes would take seconds
_FAILURES = {
    "ResourceExhaustedError": "out of memory: take the config of a smaller GPU, or halve compute.batch_size",
    "XlaRuntimeError": "if it is out of memory: take the config of a smaller GPU, or halve compute.batch_size",
    "MemoryError": "out of memory: halve compute.batch_size",
    "DataLossError": "a record is damaged: `fcoslite records verify --deep` names it; --skip-bad-records skips it",
}


def _fail(error: FcosliteError, code: int, arguments: Sequence[str]) -> int:
    from fcoslite.cli.console import show_error

    if "--debug" in arguments:
        import traceback

        traceback.print_exc()
    show_error(error)
    return code
