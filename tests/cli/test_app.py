"""The command line as its user meets it: help, speed of imports, errors, exit codes."""

import json
import subprocess
import sys

import pytest

from fcoslite.cli.app import run

COMMANDS = ["demo", "check", "extract", "label", "build-records", "train", "finetune", "eval", "webcam"]
COMMANDS += ["runs list", "runs show", "runs plot", "runs sync", "report"]
READERS = ("check", "runs list", "runs show")  # they write nothing


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["train", "--help"], ["webcam", "--help"], ["label", "--help"]]
)
def test_help_and_version_import_nothing_heavy(arguments):
    code = (
        "import sys; from fcoslite.cli.app import run; code = run(sys.argv[1:]); "
        "heavy = {'tensorflow', 'keras', 'cv2', 'mlflow', 'jax', 'matplotlib'} & set(sys.modules); "
        "print('heavy:', sorted(heavy)); sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("heavy: []")


def test_completion_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "fcoslite", "--show-completion", "bash"],
        capture_output=True,
        text=True,
    )
    for name in ("tensorflow", "keras", "cv2", "mlflow"):
        assert f"| {name}\n" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_flag_is_explained(command, capsys):
    assert run([*command.split(), "--help"]) == 0
    text = capsys.readouterr().out
    for flag in ("--json", "--quiet", "--verbose", "--debug", *([] if command in READERS else ["--dry-run"])):
        assert flag in text


def test_module_and_script_are_the_same():
    done = subprocess.run([sys.executable, "-m", "fcoslite", "--version"], capture_output=True, text=True)
    assert done.stdout.startswith("fcoslite 0.")


def _fails(arguments, capsys, code: int) -> str:
    assert run(arguments) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "error:" in captured.err
    assert "hint:" in captured.err
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "trian"),
        (["train", "--chunks", "2"], 2, "--chunks"),
        (["train", "--chunk", "zero"], 2, "--chunk"),
        (["train", "--config", "smok"], 2, "smoke"),
        (["train", "--config", "smoke", "--set", "train.lr_mx=1"], 2, "lr_max"),
        (["train", "--config", "smoke", "--epochs", "0"], 2, "--epochs"),
        (["train", "--config", "smoke"], 1, "records"),
        (["train", "--config", "smoke", "--data", "nowhere"], 1, "nowhere"),
        (["train", "--resume", "train-x-001"], 1, "no run named"),
        (["train", "--resume", "x", "--epochs", "3"], 1, "no run named"),
        (["finetune", "--config", "smoke", "--from", "nothing"], 1, "nothing"),
        (["eval", "--weights", "lite00"], 1, "lite0"),
        (["train", "--init", "efficientnet", "--data", "."], 1, "annotations.json"),
        (["eval", "--annotations", "x.json"], 2, "--images"),
        (["eval", "--annotations", "x.json", "--images", "y"], 1, "x.json"),
        (["eval", "--weights", "nothing.npz"], 1, "nothing.npz"),
        (["webcam", "--source", "nothing.mp4"], 1, "nothing.mp4"),
        (["runs", "show", "train-x-001"], 1, "no run named"),
        (["runs", "plot", "train-x-001"], 1, "no run named"),
        (["runs", "sync", "train-x-001"], 1, "no run named"),
        (["runs", "sink"], 2, "sink"),
        (["report"], 2, "RUN"),
        (["report", "train-x-001"], 1, "no run named"),
        (["report", "x", "--annotations", "x.json"], 2, "--images"),
        (["report", "x", "--annotations", "x.json", "--images", "y"], 1, "x.json"),
    ],
)
def test_wrong_input_is_told_with_a_hint_and_leaves_nothing(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in _fails(arguments, capsys, code)
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_the_traceback(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(["eval", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_check_tells_the_presets_and_the_tier(capsys):
    assert run(["check", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    lite = document["presets"]["lite"]
    assert (lite["parameters"], lite["backbone_parameters"]) == (3_255_082, 2_885_024)
    assert lite["gmacs"] == 16.022
    assert document["presets"]["r50"]["classes"] == 80
    assert document["tier"] in {"cpu", *(f"vram-{size}gb" for size in (2, 4, 6, 8, 12, 24, 80))}
    for key in ("versions", "backend", "devices", "tier_reason", "gpu", "free_disk_gb", "cameras", "display"):
        assert key in document
    assert run(["check"]) == 0
    assert "3,255,082 parameters" in capsys.readouterr().out
