import ctypes
import os
import platform
import subprocess
import sys

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
