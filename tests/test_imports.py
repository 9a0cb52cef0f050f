"""Imports point one way, so that any part can be read without what is built on it."""

import ast
from pathlib import Path

import pytest

import fcoslite

ROOT = Path(fcoslite.__file__).parent
BASE = {"errors", "progress", "backend", "files", "locks"}
GEOMETRY = {"boxes", "letterbox", "detections", "config"} | BASE
MAY_IMPORT = {
    "errors": set(),
    "progress": set(),
    "backend": {"errors"},
    "files": {"locks"},
    "locks": {"errors"},
    "log_file": set(),
    "detections": set(),
    "letterbox": set(),
    "boxes": set(),
    "plain_yaml": {"errors"},
    "setting_errors": {"errors"},
    "config": {"errors", "plain_yaml", "setting_errors"},
    "console": {"errors", "progress"},
    "runs": {"config", "errors", "files"},
    "starting_points": {"config", "errors", "runs"},
    "overview": {"config", "errors", "locks", "runs"},
    "data": GEOMETRY,
    "models": {"config", "errors", "files", "boxes"},
    "smallest_box": {"boxes", "models"},
    "cheapest_box": {"boxes", "models"},
    "assignment": {"boxes", "cheapest_box", "models", "smallest_box"},
    "losses": {"assignment", "boxes", "config", "models"},
    "postprocess": {"boxes", "config", "detections", "letterbox"},
    "evaluation": {"data", "losses", "models", "postprocess", "runs", "starting_points"} | GEOMETRY,
    "inference": {"data", "models", "postprocess", "runs", "starting_points"} | GEOMETRY,
    "training": {"data", "evaluation", "log_file", "losses", "models", "overview", "runs", "starting_points"}
    | GEOMETRY,
}
TOP = {"cli", "demo", "system", "__init__", "__main__"}  # may import anything


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names = [node.module]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("fcoslite.")}
    return found


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_one_way(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if part in TOP:
        return
    assert _imported(path) <= MAY_IMPORT[part] | {part}


@pytest.mark.parametrize("folder", ["models", "training"])
def test_the_network_never_names_a_backend(folder):
    paths = [
        *(ROOT / folder).glob("*.py"),
        *(ROOT / f"{name}.py" for name in ("assignment", "cheapest_box", "losses", "postprocess", "smallest_box")),
    ]
    for path in paths:
        tree = ast.parse(path.read_text("utf-8"))
        top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        names = {alias.name.split(".")[0] for node in top if isinstance(node, ast.Import) for alias in node.names}
        names |= {str(node.module).split(".")[0] for node in top if isinstance(node, ast.ImportFrom)}
        assert not names & {"tensorflow", "jax"}, path.name
