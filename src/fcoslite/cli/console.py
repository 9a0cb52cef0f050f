"""The only place that prints: results to stdout, everything else to stderr."""

import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.progress import Task as RichTask
from rich.table import Table
from rich.text import Text

from fcoslite.errors import FcosliteError
from fcoslite.progress import Advance, logged_progress
from fcoslite.runs.figures import is_figure
from fcoslite.storage.line_file import STDOUT, LineFile
from fcoslite.text import printable, to_json


class _Stderr:
    """The standard error as it is at the time; what it does not take is dropped.

    A full disk, or a pipe that nobody reads any more, must not end the work that the message tells of.
    """

    @property
    def _file(self) -> IO[str]:
        return _plain_stderr.file

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._file.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


_plain_stderr = Console(stderr=True)
_stderr = Console(file=cast(IO[str], _Stderr()))


def _shows_bars() -> bool:
    # FORCE_COLOR makes Rich take the log file of a CI for a terminal, and on TERM=dumb it draws nothing
    try:
        return _stderr.is_interactive and _stderr.file.isatty()
    except (OSError, ValueError):  # it was closed
        return False


class _RateColumn(TextColumn):
    def __init__(self) -> None:
        super().__init__("")

    def render(self, task: RichTask) -> Text:
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} {task.fields['unit']}/s" if speed else "", style="progress.data.speed")


class _MessageHandler(logging.Handler):
    """Messages above a running progress bar, in one line however narrow the terminal or the pipe."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "bold red" if record.levelno >= logging.ERROR else "yellow" if record.levelno >= logging.WARNING else ""
        _stderr.print(Text(printable(record.getMessage()), style=style), soft_wrap=True)


class Terminal:
    """What one command shows.

    Args:
        as_json: Print the result as one JSON document.
        quiet: Only errors and the result.
        verbose: Also the library's debug messages.
    """

    def __init__(self, as_json: bool = False, quiet: bool = False, verbose: bool = False) -> None:
        self.as_json = as_json
        self.quiet = quiet
        logger = logging.getLogger("fcoslite")
        logger.setLevel(logging.DEBUG if verbose else logging.INFO)
        logger.propagate = False
        for handler in list(logger.handlers):
            logger.removeHandler(handler)
        handler = _MessageHandler()
        handler.setLevel(logging.WARNING if quiet else logging.DEBUG)
        logger.addHandler(handler)

    @contextmanager
    def progress(self, title: str, total: int | None, unit: str) -> Iterator[Advance]:
        """Show a bar with rate and time left; elsewhere than on a terminal say a line a minute, unless --quiet.

        The lines are messages of the log, so that a run's run.log has them, with --quiet, too.
        """
        if self.quiet or not _shows_bars():
            with logged_progress(title, total, unit) as advance:
                yield advance
            return
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _RateColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=_stderr, transient=True) as bar:
            task = bar.add_task(title, total=total, unit=unit, note="")

            def advance(amount: int = 1, note: str = "") -> None:
                bar.advance(task, amount)
                if note:
                    bar.update(task, note=note)

            yield advance

    def note(self, text: str) -> None:
        """Say something in passing, to stderr."""
        logging.getLogger("fcoslite").info(text)

    def announce(self, text: str) -> None:
        """Say what the user cannot do without, to stderr, with --quiet, too."""
        _stderr.print(Text(text), soft_wrap=True)

    def result(self, document: Mapping[str, Any], render: Callable[[], None] | None = None) -> None:
        """Print the result: `document` with --json, else by calling `render`, else as two columns."""
        if self.as_json:
            LineFile(STDOUT).write(to_json(document, indent=2, default=str) + "\n")
        elif render is not None:
            render()
        else:
            self.table(["", ""], [[str(key), _plain(value)] for key, value in document.items()], header=False)

    def text(self, text: str) -> None:
        """Print lines to stdout as they are, to be pasted somewhere."""
        console = Console()
        for line in text.splitlines():
            console.print(Text(printable(line)), soft_wrap=True)

    def table(
        self, columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = "", header: bool = True
    ) -> None:
        """Print a table to stdout."""
        # a pipe has no width of its own: do not fold a table that a program will read
        console = Console(width=None if sys.stdout.isatty() else 200)
        if title:
            console.print(Text(printable(title), style="bold"), soft_wrap=True)
        table = Table(show_header=header, box=None, pad_edge=False)
        for index, column in enumerate(columns):
            table.add_column(column, style="bold" if index == 0 else "", overflow="fold")
        for row in rows:
            table.add_row(*[Text(printable(cell)) for cell in row])
        console.print(table)


def _plain(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}" if is_figure(value) else "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_plain(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(_plain(item) for item in value)
    return str(value)


def show_error(error: FcosliteError) -> None:
    """Print `error: ...` and `hint: ...` to stderr."""
    _stderr.print(Text.assemble(("error: ", "bold red"), error.message), soft_wrap=True)
    if error.hint:
        _stderr.print(Text.assemble(("hint: ", "bold"), error.hint), soft_wrap=True)
