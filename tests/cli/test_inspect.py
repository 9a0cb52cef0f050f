"""`fcoslite inspect`, as its user meets it."""

import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run as command
from tests.damaged_set import write_damaged_set


@pytest.fixture(scope="module")
def damaged(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("damaged") / "set"
    write_damaged_set(demo_data, folder)
    return folder


def test_the_table_tells_what_is_there(demo_data, capsys):
    assert command(["inspect", str(demo_data), "--classes", "person,dog"]) == 0
    captured = capsys.readouterr()
    rows = {line.split("  ")[0]: line.split() for line in captured.out.splitlines() if line}
    assert rows["images"][1:3] == ["32,", "6"]
    assert rows["person"] == ["person", "60", "21", "12", "27", "2", "26"]
    assert rows["dog"] == ["dog", "2", "0", "1", "1", "0", "2"]
    assert "32 opened, 0 cannot be used" in captured.out and captured.err == ""


def test_faults_are_told_and_fail_only_where_asked(damaged, capsys):
    assert command(["inspect", str(damaged), "--quiet"]) == 0
    told = capsys.readouterr().out
    for text in ("41 opened, 4 cannot be used", "missing.jpg: missing", "2 photographs", "leak.jpg (train, val)"):
        assert text in told
    assert command(["inspect", str(damaged), "--json", "--strict"]) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out)["faults"][2] == "2 photographs are in more than one split"
    assert "4 images cannot be used" in captured.err


def test_a_good_set_is_good_if_asked_strictly(demo_data, capsys):
    assert command(["inspect", str(demo_data), "--strict", "--limit", "3", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["files"]["opened"] == 3


def test_the_plan_opens_and_writes_nothing(damaged, tmp_path, capsys):
    out = tmp_path / "page.html"
    assert command(["inspect", str(damaged), "--out", str(out), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images_to_open"] == 41
    assert not out.exists()


def test_a_page_is_written_over_only_if_asked(demo_data, tmp_path, capsys):
    out = tmp_path / "page.html"
    out.write_text("old")
    arguments = ["inspect", str(demo_data), "--limit", "2", "--out", str(out)]
    assert command(arguments) == 1
    assert "--overwrite" in capsys.readouterr().err and out.read_text() == "old"
    assert command([*arguments, "--overwrite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(out)
    assert "What is in" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no data set at nowhere"),
        (["{data}", "--out", "page.txt"], ".html"),
        (["{data}", "--classes", "persom"], "did you mean 'person'?"),
        (["{data}", "--split", "val"], "no split 'val'"),
        (["{data}", "--no-files", "--limit", "3"], "exclude each other"),
    ],
)
def test_mistakes(arguments, told, demo_data, capsys):
    assert command(["inspect", *(argument.format(data=demo_data) for argument in arguments)]) in (1, 2)
    assert told in capsys.readouterr().err


def test_several_files_in_a_folder_are_a_question(demo_data, tmp_path, capsys):
    for name in ("one.json", "two.json"):
        (tmp_path / name).write_bytes((demo_data / "annotations.json").read_bytes())
    assert command(["inspect", str(tmp_path)]) == 1
    assert "in place of the folder" in capsys.readouterr().err
    arguments = ["inspect", str(tmp_path / "one.json"), "--images", str(demo_data / "images"), "--json"]
    assert command(arguments) == 0
    assert json.loads(capsys.readouterr().out)["files"]["unusable"] == []
