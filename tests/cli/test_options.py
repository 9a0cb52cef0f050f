"""The flags of all commands are given to each by a decorator."""

import json
from typing import TYPE_CHECKING, Annotated

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from fcoslite.cli.app import app
from fcoslite.cli.options import DryRunFlag, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal

SHARED = ["--json", "--quiet", "--verbose", "--debug"]


@with_terminal
def command(
    name: Annotated[str, typer.Option("--name")] = "x",
    *,
    terminal: "Terminal",
    dry_run: DryRunFlag = False,
) -> None:
    """Say a name."""
    terminal.result({"name": name, "dry_run": dry_run, "quiet": terminal.quiet})


def flags(one: object) -> list[str]:
    return [parameter.opts[0] for parameter in one.params if parameter.opts[0].startswith("--")]  # type: ignore[attr-defined]


def run(*arguments: str) -> str:
    small = typer.Typer()
    small.command()(command)
    done = CliRunner().invoke(small, arguments)
    assert done.exit_code == 0
    return done.stdout


def test_the_flags_make_the_terminal() -> None:
    assert json.loads(run("--json", "--name", "y", "-q")) == {"name": "y", "dry_run": False, "quiet": True}
    assert json.loads(run("--json", "--debug", "-v", "--dry-run")) == {"name": "x", "dry_run": True, "quiet": False}
    assert run("--name", "y").split() == ["name", "y", "dry_run", "False", "quiet", "False"]


def test_json_stands_where_the_terminal_does_and_the_others_last() -> None:
    small = typer.Typer(add_completion=False)
    small.command()(command)
    assert flags(get_command(small)) == ["--name", "--json", "--dry-run", "--quiet", "--verbose", "--debug"]
    assert get_command(small).help == "Say a name."


def commands() -> list[tuple[str, object]]:
    found = []
    for name, one in get_command(app).commands.items():  # type: ignore[attr-defined]
        found += [(f"{name} {inner}", two) for inner, two in getattr(one, "commands", {"": one}).items()]
    return found


@pytest.mark.parametrize(("name", "one"), commands(), ids=[name for name, _ in commands()])
def test_every_command_has_them(name: str, one: object) -> None:
    listed = flags(one)
    assert [flag for flag in listed if flag in SHARED] == SHARED
