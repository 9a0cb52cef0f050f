"""Imports point one way, so that any room can be read without what is built on it, and few rooms need Keras."""

import ast
from pathlib import Path

import pytest

import fcoslite

ROOT = Path(fcoslite.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))

# what each room may import, inside functions, too; it may import itself
MAY_IMPORT = {
    "text": set(),
    "errors": {"text"},
    "progress": set(),
    "config": {"errors", "text"},
    "storage": {"errors", "text"},
    "machine": {"errors"},
    "geometry": {"machine"},
    "detections": {"geometry", "text"},
    "data": {"config", "errors", "geometry", "machine", "progress", "storage", "text"},
    "runs": {"config", "errors", "progress", "storage", "text"},
    "models": {"config", "errors", "storage"},
    "fcos": {"config", "geometry", "models"},
    "export": {"errors", "fcos", "geometry", "models", "storage"},
    "inference": {
        "config",
        "data",
        "detections",
        "errors",
        "export",
        "fcos",
        "geometry",
        "machine",
        "models",
        "progress",
        "runs",
        "storage",
        "text",
    },
    "evaluation": {
        "config",
        "data",
        "detections",
        "errors",
        "export",
        "fcos",
        "geometry",
        "inference",
        "machine",
        "models",
    }
    | {"progress", "runs", "storage", "text"},
    "camera": {"config", "data", "detections", "errors", "evaluation", "geometry", "inference", "progress", "storage"}
    | {"text"},
    "reports": {
        "camera",
        "config",
        "data",
        "detections",
        "errors",
        "evaluation",
        "geometry",
        "inference",
        "progress",
        "runs",
    }
    | {"storage"},
    "labelling": {
        "camera",
        "config",
        "data",
        "detections",
        "errors",
        "geometry",
        "inference",
        "machine",
        "models",
        "progress",
    }
    | {"runs", "storage", "text"},
    "training": {"config", "data", "errors", "evaluation", "fcos", "geometry", "inference", "machine", "models"}
    | {"progress", "runs", "storage"},
    "demo": {
        "config",
        "data",
        "detections",
        "errors",
        "evaluation",
        "inference",
        "models",
        "progress",
        "runs",
        "training",
    },
    "cli": {
        "camera",
        "config",
        "data",
        "demo",
        "errors",
        "evaluation",
        "inference",
        "labelling",
        "machine",
        "models",
        "progress",
    }
    | {"reports", "runs", "storage", "text", "training"},
    "__main__": {"cli"},
    # imports the public names when they are asked for; the others import it for the version
    "__init__": {"config", "data", "detections", "evaluation", "inference", "training"},
}

# rooms and files that may import Keras at their top
WITH_KERAS = {
    "models",
    "fcos",
    "training",
    "export",
    "geometry/boxes.py",
    "geometry/batch_images.py",
    "evaluation/evaluator.py",
    "inference/runtimes/keras.py",
}
# rooms that are imported without Keras, whatever they import in turn
WITHOUT_KERAS = {
    "text",
    "errors",
    "progress",
    "config",
    "storage",
    "machine",
    "detections",
    "data",
    "runs",
    "cli",
    "__main__",
}
WITHOUT_KERAS |= {"__init__", "camera", "labelling", "inference", "reports"}

BACKENDS = {"tensorflow", "jax"}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _room(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _imports(path: Path, top: bool = False) -> set[str]:
    """Dotted names of what a file imports: modules, and names in them; at its top, or inside functions, too."""
    tree = ast.parse(path.read_text("utf-8"))
    found = set()
    for node in tree.body if top else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{_name(path)}: imports are absolute"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _files(names: set[str]) -> set[Path]:
    """The files of the package that are among dotted names, and those of the packages they lie in."""
    found = set()
    for name in names:
        parts = name.split(".")
        if parts[0] != "fcoslite":
            continue
        for end in range(2, len(parts) + 1):
            place = ROOT.joinpath(*parts[1:end])
            found |= {path for path in (place.with_suffix(".py"), place / "__init__.py") if path.is_file()}
    return found


def _packages(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_imports_point_one_way(path):
    rooms = {_room(imported) for imported in _files(_imports(path))}
    assert rooms <= MAY_IMPORT[_room(path)] | {_room(path)}


def test_every_room_of_the_table_is_there():
    assert set(MAY_IMPORT) == {_room(path) for path in FILES}


def test_rooms_do_not_import_each_other():
    below: dict[str, set[str]] = {}
    for room in MAY_IMPORT:  # each stands after what it may import
        assert MAY_IMPORT[room] <= set(below), room
        below[room] = MAY_IMPORT[room]


def test_files_do_not_import_each_other():
    left = {path: _files(_imports(path)) - {path} for path in FILES if path.name != "__init__.py"}
    while ready := [path for path, imported in left.items() if not imported & set(left)]:
        for path in ready:
            del left[path]
    assert not left, f"a circle among {sorted(map(_name, left))}"


@pytest.mark.parametrize("path", FILES, ids=_name)
def test_few_files_import_keras_at_their_top(path):
    if "keras" in _packages(_imports(path, top=True)):
        assert {_room(path), _name(path)} & WITH_KERAS


@pytest.mark.parametrize(
    "path", [path for path in FILES if _room(path) in WITHOUT_KERAS and _name(path) not in WITH_KERAS], ids=_name
)
def test_most_rooms_are_imported_without_keras(path):
    seen, reached = set(), {path}
    while reached:
        names = {name for file in reached for name in _imports(file, top=True)}
        assert "keras" not in _packages(names)
        seen |= reached
        reached = _files(names) - seen


@pytest.mark.parametrize(
    "path", [path for path in FILES if _room(path) in {"models", "fcos", "geometry", "training"}], ids=_name
)
def test_the_network_never_names_a_backend(path):
    assert not _packages(_imports(path, top=True)) & BACKENDS
