import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from keras import ops

from fcoslite.machine import backend

# two buffers of 64 MiB, one after the other: pages that had to be got from the system for the second
PAGES = """
import resource, sys
import numpy as np
from fcoslite.machine.backend import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    pages = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(pages)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's")
def test_freed_memory_is_kept() -> None:
    def pages(how: str) -> int:
        env = {**os.environ, "NUMPY_MADVISE_HUGEPAGE": "0"}  # pages of 4 KiB
        command = [sys.executable, "-c", PAGES, how]
        return int(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)

    assert pages("keep") < 1000
    assert pages("leave") > 10_000


def test_without_glibc_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    backend.keep_freed_memory()


def test_one_pass_gives_what_the_operations_give() -> None:
    def blend(x, y, share=0.5):
        return ops.clip(x * share + ops.sqrt(y) * (1 - share), 0.1, 0.9)

    x, y = np.random.default_rng(0).uniform(size=(2, 50, 7)).astype(np.float32)
    compiled = backend.in_one_pass(blend)
    for share in (0.5, 0.25):
        expected = np.clip(x * share + np.sqrt(y) * (1 - share), 0.1, 0.9)
        np.testing.assert_allclose(ops.convert_to_numpy(compiled(x, y, share=share)), expected, atol=1e-5)


LOADED = """
import os, sys
from fcoslite.errors import ConfigError
from fcoslite.machine.backend import load_backend
try:
    load_backend()
except ConfigError as error:
    sys.exit(f"{error.message} | {error.hint}")
import keras
print(keras.backend.backend(), keras.config.image_data_format(), keras.config.floatx(), keras.config.epsilon())
print(os.environ["KERAS_BACKEND"], keras.layers.Conv2D(3, 1)(keras.Input((8, 6, 2))).shape)
"""


def load(home: Path, keras_json: str | None, **env: str) -> subprocess.CompletedProcess[str]:
    if keras_json is not None:
        (home / ".keras").mkdir(exist_ok=True)
        (home / ".keras" / "keras.json").write_text(keras_json)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KERAS_")}
    command = [sys.executable, "-c", LOADED]
    given = {**kept, "HOME": str(home), "USERPROFILE": str(home), **env}
    return subprocess.run(command, capture_output=True, text=True, env=given, timeout=300)


@pytest.mark.parametrize(
    ("keras_json", "env", "backend"),
    [
        (
            '{"backend": "torch", "nnx_enabled": true, "image_data_format": "channels_first", "floatx": "float16", '
            '"epsilon": 0.01}',
            {},
            "tensorflow",
        ),
        ('{"backend": "jax"}', {}, "jax"),
        ('{"backend": "jax"}', {"KERAS_BACKEND": "tensorflow"}, "tensorflow"),
        ('{"backend": "torch"}', {"KERAS_BACKEND": "jax"}, "jax"),
        ("{", {"KERAS_BACKEND": ""}, "tensorflow"),
    ],
)
def test_of_keras_json_the_backend_counts_if_it_is_ours(
    tmp_path: Path, keras_json: str | None, env: dict[str, str], backend: str
) -> None:
    done = load(tmp_path, keras_json, **env)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"{backend} channels_last float32 1e-07", f"{backend} (None, 8, 6, 3)"]


@pytest.mark.parametrize("keras_json", ['{"floatx": "int8"}', '{"epsilon": 1}', "[]", '{"image_data_format": 3}'])
def test_a_keras_json_that_keras_refuses_is_named(tmp_path: Path, keras_json: str) -> None:
    done = load(tmp_path, keras_json)
    assert done.returncode == 1
    assert f"mend or delete {tmp_path / '.keras' / 'keras.json'}" in done.stderr and "Traceback" not in done.stderr


def test_a_backend_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    assert (
        "KERAS_BACKEND is 'torch' | fcoslite runs on tensorflow and jax"
        in load(tmp_path, None, KERAS_BACKEND="torch").stderr
    )


IMPORTED = """
import sys
if sys.argv[1] == "command":
    import fcoslite.cli.app
from fcoslite.machine.backend import load_backend
load_backend()
print(sorted({"jax", "matplotlib", "pandas", "sklearn"} & set(sys.modules)))
import pandas
"""


@pytest.mark.parametrize(
    ("process", "backend", "loaded"),
    [
        ("command", "tensorflow", []),
        ("command", "jax", ["jax"]),
        ("program", "tensorflow", ["jax", "matplotlib", "pandas", "sklearn"]),  # it may hand Keras a data frame
    ],
)
def test_a_command_imports_keras_without_what_nobody_uses(process: str, backend: str, loaded: list[str]) -> None:
    command = [sys.executable, "-c", IMPORTED, process]
    env = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env)
    assert done.stdout.splitlines() == [str(loaded)]
