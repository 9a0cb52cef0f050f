"""What the package offers by itself: few names, imported when they are asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fcoslite

HEAVY = ("tensorflow", "keras", "jax", "cv2", "mlflow", "matplotlib", "pydantic", "numpy")


def loaded_by(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_package_itself_imports_nothing_heavy() -> None:
    loaded = loaded_by("import fcoslite; dir(fcoslite)")
    assert not loaded & set(HEAVY)
    assert [name for name in loaded if name.startswith("fcoslite")] == ["fcoslite"]


def test_names_that_need_no_network_do_not_import_keras() -> None:
    assert "keras" not in loaded_by("from fcoslite import Detections, build_records, extract, load_settings")


@pytest.mark.parametrize("name", fcoslite.__all__)
def test_a_name_is_the_thing_of_that_name(name: str) -> None:
    thing = getattr(fcoslite, name)
    assert thing.__name__ == name
    assert thing.__module__.startswith("fcoslite.")
    assert getattr(sys.modules[thing.__module__], name) is thing


def test_type_checkers_see_the_same_names_from_the_same_modules() -> None:
    tree = ast.parse(Path(fcoslite.__file__).read_text("utf-8"))
    (guarded,) = [node for node in tree.body if isinstance(node, ast.If)]
    told = {
        alias.name: node.module for node in guarded.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert told == fcoslite._MODULES
    assert sorted(told) == fcoslite.__all__
    assert set(fcoslite.__all__) <= set(dir(fcoslite))


def test_other_names_are_unknown() -> None:
    with pytest.raises(AttributeError, match=r"fcoslite.*detect"):
        fcoslite.detect  # noqa: B018
    with pytest.raises(ImportError, match="detect"):
        exec("from fcoslite import detect")


def test_a_photograph_in_three_lines(demo_data: Path, tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").symlink_to(demo_data / "images" / "000000000165.jpg")
    code = """
from fcoslite import Detector
found = Detector("lite0").detect("photo.jpg")
print(found.boxes_xyxy, found.scores)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[[")
