"""Importing Keras and TensorFlow without their start-up lines, which no log level of theirs holds back."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager


def load_tensorflow() -> None:
    """Import TensorFlow in silence; later imports find it loaded."""
    if "tensorflow" not in sys.modules:
        with _silenced_stderr():
            import tensorflow  # noqa: F401


def load_backend() -> None:
    """Import Keras and its backend in silence."""
    with _silenced_stderr():
        import keras

        backend = keras.backend.backend()
    if backend == "tensorflow":
        load_tensorflow()


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Hold back what C++ writes to stderr; it is shown after all if an exception comes out."""
    sys.stderr.flush()
    original = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            held.seek(0)
            os.write(original, held.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)
