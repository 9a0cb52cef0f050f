"""Keras and TensorFlow without the packages that they import only because they are installed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_UNUSED = ("jax", "matplotlib", "pandas", "sklearn")


@contextmanager
def lean_imports() -> Iterator[None]:
    """Meanwhile those packages are not found, unless they are loaded: half of the seconds that the import takes.

    Keras looks for data frames, scikit-learn's classes and charts, TensorFlow for JAX's functions; we hand them none.
    Afterwards they can be imported. Only where the command line runs: another program may hand Keras a data frame.
    """
    if "fcoslite.cli.app" not in sys.modules:
        yield
        return
    hidden = [name for name in _UNUSED if name not in sys.modules and name != os.environ.get("KERAS_BACKEND")]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import says that there is none
    try:
        yield
    finally:
        for name in hidden:
            if sys.modules.get(name) is None:
                sys.modules.pop(name, None)
