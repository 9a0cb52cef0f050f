import json
from pathlib import Path

import pytest

from fcoslite.cli.app import run


@pytest.fixture(autouse=True)
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def flags(demo_data: Path) -> list[str]:
    return [
        "extract",
        "--annotations",
        str(demo_data / "annotations.json"),
        "--images",
        str(demo_data / "images"),
    ]


def test_defaults_write_the_workspace(demo_data: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*flags(demo_data), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["class_names"] == ["person"] and document["boxes"] > document["images"] > 0
    assert (workspace / "data" / "person" / "annotations.json").is_file()
    assert len(list((workspace / "data" / "person" / "images").iterdir())) == document["images"]


def test_classes_by_comma_and_by_repetition(
    demo_data: Path, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [*flags(demo_data), "--classes", "dog, car", "--classes", "person", "--dry-run", "--json"]
    assert run(arguments) == 0
    assert json.loads(capsys.readouterr().out)["class_names"] == ["dog", "car", "person"]
    assert list(workspace.iterdir()) == []


def test_a_class_with_a_comma_in_its_name(demo_data: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads((demo_data / "annotations.json").read_text("utf-8"))
    for category in document["categories"]:
        if category["name"] == "person":
            category["name"] = "person, standing"
    (workspace / "renamed.json").write_text(json.dumps(document))
    arguments = [*flags(demo_data), "--annotations", "renamed.json", "--dry-run", "--json", "--classes"]
    for choice, names in (
        (["person, standing"], ["person, standing"]),
        (["dog,car", "--classes", "person, standing"], ["dog", "car", "person, standing"]),
    ):
        assert run([*arguments, *choice]) == 0
        assert json.loads(capsys.readouterr().out)["class_names"] == names
    assert run([*arguments, "person"]) == 2
    assert "it has: 'person, standing', bicycle, " in capsys.readouterr().err


def test_images_that_cannot_be_used(demo_data: Path, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (demo_data / "images").iterdir():
        (workspace / path.name).write_bytes(path.read_bytes())
    broken = workspace / "000000000086.jpg"
    broken.write_bytes(broken.read_bytes()[:1000])
    arguments = [*flags(demo_data), "--images", "."]
    assert run([*arguments, "--dry-run"]) == 1
    assert "more than --max-skipped 1% allows" in capsys.readouterr().err
    assert run([*arguments, "--dry-run", "--max-skipped", "1"]) == 0
    assert "1 (skipped.jsonl)" in capsys.readouterr().out
    assert run([*arguments, "--max-skipped", "10%", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["skipped_images"] == 1


def test_table(demo_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([*flags(demo_data), "--link", "symlink", "--limit", "4", "--negatives", "0.5"]) == 0
    out = capsys.readouterr().out
    assert "6, 2 of them without a box" in out and "data/person" in out.replace("\\", "/")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--classes", "persn"], 2, "did you mean 'person'?"),
        (["--annotations", "absent.json"], 1, "absent.json"),
        (["--images", "absent"], 1, "no images folder at absent"),
        (["--images", "."], 1, "26 of 26 images cannot be used"),
        (["--max-skipped", "few"], 2, "max-skipped is 'few'"),
        (["--limit", "0"], 2, "--limit"),
        (["--link", "magic"], 2, "--link"),
        (["--negatives", "-1"], 2, "--negatives"),
    ],
)
def test_errors_say_what_to_do_and_leave_nothing(
    demo_data: Path,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    assert run([*flags(demo_data), *arguments]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error: " in captured.err and "hint: " in captured.err and message in captured.err
    assert list(workspace.iterdir()) == []
