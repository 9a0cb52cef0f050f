"""What README and docs/ say is so: commands run, examples work, links lead somewhere, tables are complete.

docs/tour.md is run from its first block to its last, as a reader would, in one workspace: the end-to-end run of
all six commands on real photographs.
"""

import ast
import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml
from pydantic import BaseModel
from typer.main import get_command

from fcoslite.cli.app import app
from fcoslite.config.load import load_settings
from fcoslite.config.settings import Settings
from fcoslite.evaluation.coco_metrics import COCO_FIGURES
from fcoslite.export.program_configuration import frigate_configuration, scrypted_configuration
from fcoslite.geometry.overlaps import pairwise_iou
from fcoslite.inference.detector import Detector

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*(ROOT / f"{name}.md" for name in ("README", "CHANGELOG", "CONTRIBUTING")), *sorted(DOCS.rglob("*.md"))]
PACKAGE = ROOT / "src" / "fcoslite"

Block = tuple[str, str]  # language, text


def blocks(page: Path) -> list[Block]:
    return re.findall(r"^```(\w+)[^\n]*\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)


def command_lines(page: Path) -> list[str]:
    return [line for language, text in blocks(page) if language == "sh" for line in text.splitlines()]


def examples(page: Path) -> str:
    """The page's Python blocks, one program."""
    return "\n".join(text for language, text in blocks(page) if language == "python")


# --- the tour


@pytest.fixture(scope="module")
def tour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The workspace that is left once every command of the tour has been run."""
    folder = tmp_path_factory.mktemp("tour")
    for language, text in blocks(DOCS / "tour.md"):
        if language == "yaml":
            (folder / "tour.yaml").write_text(text, "utf-8")
        elif language == "sh":
            for line in text.splitlines():
                run_line(line, folder)
    return folder


def run_line(line: str, folder: Path) -> None:
    words = shlex.split(line)
    program = {"fcoslite": ["-m", "fcoslite"], "python": []}[words[0]]
    # a display would open windows; the tour's command for it says --no-window, the environment makes sure
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    done = subprocess.run(
        [sys.executable, *program, *words[1:]], cwd=folder, env=environment, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"


def promised(page: Path) -> Iterator[str]:
    """The files in the page's listings: a folder's name, then what is in it, indented."""
    for language, text in blocks(page):
        first, *rest = text.splitlines()
        if language == "text" and re.fullmatch(r"\S+/", first):
            yield from (first + line.split()[0] for line in rest)


def test_the_tour_leaves_the_files_it_promises(tour: Path) -> None:
    files = list(promised(DOCS / "tour.md"))
    assert len(files) > 12
    for name in files:
        path = tour / name
        assert path.is_dir() if name.endswith("/") else path.stat().st_size > 0, name
    for picture in ("runs/train-tour-001/curves.png", "eval/precision_recall.png", "eval/sizes.png"):
        assert cv2.imread(str(tour / picture)).std() > 5, picture
    assert sorted(path.name for path in (tour / "runs/train-tour-001/checkpoints").glob("*.npz"))[:2] == [
        "best.npz",
        "last.npz",
    ]


def test_the_tour_reports_what_was_trained(tour: Path) -> None:
    text = (tour / "report.html").read_text("utf-8")
    for name in ("train-tour-001", "finetune-tour-001"):
        lines = (tour / "runs" / name / "metrics.jsonl").read_text("utf-8").splitlines()
        last = json.loads(lines[-1])
        assert f"<title>{name}: loss, epoch {last['epoch']}: {last['loss']:.5g}</title>" in text
    assert "the runs&#39; own validation images: 2 images" in text and "data:image/jpeg;base64," in text


def test_the_tour_takes_the_images_it_says(tour: Path) -> None:
    document = json.loads((tour / "data/person/annotations.json").read_text("utf-8"))
    with_box = {annotation["image_id"] for annotation in document["annotations"]}
    assert (len(document["images"]), len(with_box)) == (10, 8)
    assert {category["name"] for category in document["categories"]} == {"person"}
    manifest = json.loads((tour / "records/manifest.json").read_text("utf-8"))
    assert (manifest["count"], manifest["image_size"]) == (10, 96)


def test_the_tour_learns_something(tour: Path) -> None:
    lines = [json.loads(line) for line in (tour / "runs/train-tour-001/metrics.jsonl").read_text("utf-8").splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert lines[-1]["loss"] < 0.9 * lines[0]["loss"]
    assert "val_ap" in lines[-1]
    facts = json.loads((tour / "runs/finetune-tour-001/run.json").read_text("utf-8"))
    assert Path(facts["start_from"]) == (tour / "runs/train-tour-001/checkpoints/best.npz").resolve()
    assert json.loads((tour / "eval/metrics.json").read_text("utf-8"))["metrics"]["ap50"] > 0.01


@pytest.mark.parametrize("page", ["tour.md", "evaluation.md"])
def test_pycocotools_computes_the_same_figures(tour: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tour)
    names: dict[str, Any] = {}
    exec(compile(examples(DOCS / page), page, "exec"), names)
    metrics = json.loads((tour / "eval/metrics.json").read_text("utf-8"))["metrics"]
    assert names["scores"].stats == pytest.approx([metrics[figure] for figure in COCO_FIGURES], abs=1e-9)


def test_the_tour_draws_what_it_detects(tour: Path) -> None:
    lines = [json.loads(line) for line in (tour / "drawn.jsonl").read_text("utf-8").splitlines()]
    originals = sorted(path.name for path in (tour / "data/person/images").iterdir())
    assert [line["name"] for line in lines] == originals == sorted(path.name for path in (tour / "drawn").iterdir())
    assert any(line["detections"] for line in lines)
    for line in lines:
        before = cv2.imread(str(tour / "data/person/images" / line["name"]), cv2.IMREAD_COLOR).astype(int)
        after = cv2.imread(str(tour / "drawn" / line["name"]), cv2.IMREAD_COLOR).astype(int)
        changed = np.abs(after - before).max(axis=-1) > 80  # beyond what JPEG does
        assert changed.mean() > 0.001 if line["detections"] else changed.mean() < 0.001, line["name"]
        for x, y, width, height in (found["bbox"] for found in line["detections"]):
            assert min(x, y) >= 0 and x + width <= before.shape[1] + 0.1 and y + height <= before.shape[0] + 0.1


def test_the_examples_in_python_run(tour: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tour)
    names: dict[str, Any] = {}
    exec(compile(examples(DOCS / "python.md"), "python.md", "exec"), names)
    assert names["detections"].boxes_xyxy.shape == (len(names["detections"]), 4)
    assert names["batch"]["images"].shape == (4, 96, 96, 3)
    assert (tour / "drawn.png").is_file() and (tour / "scores" / "metrics.json").is_file()


def test_what_the_page_on_export_reads_is_what_we_find(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The program that needs nothing of ours, and the few lines of the page on detecting, on the same photograph."""
    shutil.copy(PACKAGE / "weights" / "lite0.onnx", tmp_path)
    shutil.copytree(PACKAGE / "demo" / "photographs", tmp_path / "coco")
    monkeypatch.chdir(tmp_path)
    exec(compile(examples(DOCS / "export.md"), "export.md", "exec"), theirs := {"__name__": "__main__"})
    exec(compile(examples(DOCS / "detecting.md"), "detecting.md", "exec"), ours := {})
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("person ")]
    assert len(rows) == len(ours["found"]) >= 2
    for photograph in sorted((tmp_path / "coco" / "images").iterdir())[:6]:
        read, found = theirs["detect"](cv2.imread(str(photograph))), ours["detector"].detect(photograph)
        assert [score for _, score, _ in read] == pytest.approx(found.scores.tolist(), abs=1e-4)
        height, width = cv2.imread(str(photograph)).shape[:2]
        boxes = np.array([box for _, _, box in read]).reshape(-1, 4)
        np.testing.assert_allclose(np.clip(boxes, 0, [width, height] * 2), found.boxes_xyxy, atol=0.1)


@pytest.mark.parametrize(("page", "layout"), [("opencv", "yolo"), ("raspberry-pi", "ssd")])
def test_what_the_pages_of_readers_read_is_what_we_find(
    page: str, layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of the page, then its program; that of OpenCV lets no boxes vote, that of the Pi sees less."""
    shutil.copytree(PACKAGE / "demo" / "photographs", tmp_path / "coco")
    monkeypatch.chdir(tmp_path)
    [line, *_] = command_lines(DOCS / "readers" / f"{page}.md")
    assert f"--layout {layout}" in line
    run_line(line, tmp_path)
    exec(compile(examples(DOCS / "readers" / f"{page}.md"), page, "exec"), theirs := {})
    ours = Detector("lite0")
    agreed = total = 0
    for photograph in sorted((tmp_path / "coco" / "images").iterdir())[:6]:
        found = ours.detect(photograph)
        read = np.array(theirs["detect"](cv2.imread(str(photograph)))).reshape(-1, 6)
        total += max(len(found), len(read))
        if len(read):
            agreed += int(
                (pairwise_iou(found.boxes_xyxy, read[:, :4], np.zeros(len(read), bool)) > 0.8).any(axis=1).sum()
            )
    assert total >= 5 and agreed > 0.7 * total


def test_what_is_pasted_is_what_export_prints() -> None:
    [(_, text)] = [block for block in blocks(DOCS / "readers" / "frigate.md") if block[0] == "yml"]
    files = ("onnx", "person.onnx", "person-labels.txt")
    assert text == frigate_configuration(*files, 384, ["person"], math.sqrt(0.35), "yolo")
    [(_, text)] = [block for block in blocks(DOCS / "readers" / "scrypted.md") if block[0] == "json"]
    assert text == scrypted_configuration(["person.onnx"], 384, ["person"])


def test_the_lines_of_the_readme_detect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photograph = PACKAGE / "demo" / "photographs" / "images" / "000000000165.jpg"
    shutil.copy(photograph, tmp_path / "photograph.jpg")
    monkeypatch.chdir(tmp_path)
    exec(compile(examples(ROOT / "README.md"), "README.md", "exec"), {})
    assert re.search(r"^\[\[ *[0-9]", capsys.readouterr().out)  # a row of the boxes at least


# --- every other command


def parse(arguments: list[str]) -> None:
    """Check a command's flags, their values and the settings they name, without running it."""
    name, *rest = arguments
    command: Any = get_command(app)
    assert name in command.commands, f"there is no command {name}"
    command = command.commands[name]
    if hasattr(command, "commands"):  # a group, such as runs
        name, *rest = rest
        assert name in command.commands, f"there is no command {name}"
        command = command.commands[name]
    values = command.make_context(name, list(rest)).params
    config = values.get("config")
    load_settings(None if config == "auto" else config, values.get("overrides") or [])


def fcoslite_arguments(line: str) -> Iterator[list[str]]:
    for part in line.split("&&"):
        words = [word for word in shlex.split(part) if not re.fullmatch(r"[A-Z_]+=\S*", word)]
        if words and Path(words[0]).name == "fcoslite":
            yield words[1:]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "tour.md"], ids=lambda page: page.stem)
def test_commands_exist_with_these_flags_and_values(page: Path) -> None:
    for line in command_lines(page):
        for arguments in fcoslite_arguments(line):
            parse(arguments)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_what_is_said_of_commands_in_passing_is_so(page: Path) -> None:
    commands: list[Any] = list(get_command(app).commands.values())  # type: ignore[attr-defined]
    commands += [command for group in commands for command in getattr(group, "commands", {}).values()]
    flags = {flag for command in commands for option in command.params for flag in option.opts}
    for code in re.findall(r"`([^`]+)`", prose(page)):
        if re.match(r"fcoslite [\w-]+ -", code):
            parse(shlex.split(code)[1:])
        elif code.startswith("--"):
            assert code.split()[0] in {*flags, "--help", "--group", "--no-deps"}, (
                code
            )  # --group and --no-deps are pip's


def test_every_command_has_a_section() -> None:
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    headings = re.findall(r"^## (\S+)$", (DOCS / "commands.md").read_text("utf-8"), re.MULTILINE)
    assert headings == list(commands)


def test_scripts_for_clusters_run_commands_that_exist() -> None:
    """In what starts Ray, SLURM's scripts, and what Kubernetes is told."""
    page = blocks(DOCS / "scale.md")
    [manifest] = [yaml.safe_load(text) for language, text in page if language == "yml"]
    cluster = manifest["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    assert len(pods) == 2
    for pod in pods:
        [container], [volume] = pod["containers"], pod["volumes"]
        assert [mount["name"] for mount in container["volumeMounts"]] == [volume["name"]]
    shell, flag, script = shlex.split(manifest["spec"]["entrypoint"])
    assert (shell, flag) == ("sh", "-c")
    lines = [line for language, text in page if language == "bash" for line in text.splitlines()]
    commands = [
        found[1] for line in [*lines, script] if (found := re.search(r"\bfcoslite ((train|build-records) .*)", line))
    ]
    assert len(commands) >= 7
    for command in commands:
        parse(shlex.split(command))


def test_a_wrong_flag_value_or_setting_would_be_noticed() -> None:
    for wrong in (
        ["train", "--chunks", "2"],
        ["build-records", "--encoding", "gif"],
        ["convert", "a", "--to", "kitti", "--out", "b"],
        ["train", "--set", "train.lr=1"],
    ):
        with pytest.raises(Exception, match=r"chunks|gif|kitti|train\.lr"):
            parse(wrong)


# --- settings


def leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, field in model.model_fields.items():
        default = field.get_default()
        if isinstance(default, BaseModel):
            yield from leaves(type(default), f"{prefix}{key}.")
        else:
            yield prefix + key, json.loads(json.dumps(default))  # as YAML has it, tuples as lists


def test_every_setting_is_in_the_table_with_its_default() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| `([^`]+)` \| (.+) \|$", text, re.MULTILINE)
    documented = {key: yaml.safe_load(default) for key, default, _ in rows}
    assert len(documented) == len(rows), "a setting has two rows"
    assert documented == dict(leaves(Settings))


def test_every_packaged_config_is_in_the_table() -> None:
    text = (DOCS / "configuration.md").read_text("utf-8")
    rows = re.findall(r"^\| `([\w-]+)` \| .+ \| (\d+) \| (\d+) × (\d+) \| (\d+) \|$", text, re.MULTILINE)
    written = {name: tuple(map(int, numbers)) for name, *numbers in rows}
    actual = {}
    for path in (ROOT / "src/fcoslite/config/packaged").glob("*.yaml"):
        settings = load_settings(path)
        compute = settings.compute
        sizes = (settings.model.image_size, compute.batch_size, compute.accumulation, compute.workers)
        actual[path.stem] = sizes
    assert written == actual


def test_configs_in_the_text_can_be_used(tmp_path: Path) -> None:
    found = [text for page in PAGES for language, text in blocks(page) if language == "yaml"]
    assert len(found) >= 2
    for text in found:
        (tmp_path / "config.yaml").write_text(text, "utf-8")
        load_settings(tmp_path / "config.yaml")


# --- architecture


def test_every_room_is_in_the_table() -> None:
    rooms = re.findall(r"^\| `(\w+)/` \|", (DOCS / "architecture.md").read_text("utf-8"), re.MULTILINE)
    folders = {path.parent.name for path in PACKAGE.glob("*/*") if path.parent.name != "__pycache__"}
    assert sorted(rooms) == sorted(folders)


def test_the_walks_pass_what_exists() -> None:
    text = (DOCS / "architecture.md").read_text("utf-8")
    walked = re.findall(r"^\| `([\w/]+\.py)` \| `([\w.]+)` \|", text, re.MULTILINE)
    assert len(walked) > 20
    for name, path in walked:
        body: list[ast.stmt] = ast.parse((PACKAGE / name).read_text("utf-8")).body
        for part in path.split("."):
            found = [node for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == part]
            assert found, f"{name} has no {path}"
            body = found[0].body
    for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
        assert (PACKAGE / name).is_file() or (ROOT / name).is_file(), name


# --- examples, links and the README's commands


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_examples_import_what_exists(page: Path) -> None:
    """Examples that need what we do not have here (an old checkpoint) are at least importable and Python."""
    tree = ast.parse(examples(page))
    tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    exec(compile(tree, page.name, "exec"), {})


def anchors(page: Path) -> set[str]:
    """As Python-Markdown and GitHub make them of headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_and_pictures_lead_somewhere(page: Path) -> None:
    text = prose(page)
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'src="([^"]+)"', text)]:
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.is_file(), f"{page.name}: {target}"
        if anchor:
            assert anchor in anchors(path), f"{page.name}: {target}"


def test_continuous_integration_runs_the_command_of_the_readme() -> None:
    """Both lines start from nothing but Python, and .ci/run takes the second from the README itself."""
    lines = [line for line in command_lines(ROOT / "README.md") if line.startswith("python3 -m venv")]
    demo, tests = lines
    two_at_a_time = ".venv/bin/python -m pytest --numprocesses 2 --dist worksteal"
    for line, end in ((demo, ".venv/bin/fcoslite demo"), (tests, two_at_a_time)):
        steps = line.split(" && ")
        assert steps[0] == "python3 -m venv .venv" and steps[-1] == end
        assert all(step.startswith(".venv/bin/") for step in steps[1:])
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    pattern = re.search(r"grep -E '(.+)' README\.md", script)
    assert pattern and "set -euo pipefail" in script
    found = [line for line in (ROOT / "README.md").read_text("utf-8").splitlines() if re.search(pattern[1], line)]
    assert found == [tests]
