"""Loading Keras and TensorFlow: in silence, with GPU memory taken as needed, and errors a user can mend."""

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import ParamSpec, TypeVar

from fcoslite.errors import ConfigError
from fcoslite.machine.lean_imports import lean_imports

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

BACKENDS = ("tensorflow", "jax")

_EPSILON = 1e-7  # Keras' own default

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h of glibc


def load_backend() -> None:
    """Import Keras and its backend, set as our models need it. Nothing is computed yet.

    The backend is that of KERAS_BACKEND; else that of Keras' own keras.json, if it is one of ours and installed; else
    TensorFlow. Nothing else in keras.json counts.

    Raises:
        ConfigError: KERAS_BACKEND names a backend that is not ours or not installed, or Keras refuses its keras.json.
    """
    name = os.environ.get("KERAS_BACKEND") or _backend_of_keras_json()
    if name not in BACKENDS:
        raise ConfigError(f"KERAS_BACKEND is '{name}'", f"fcoslite runs on {' and '.join(BACKENDS)}")
    os.environ["KERAS_BACKEND"] = name  # which Keras heeds more than its file
    os.environ.setdefault("KERAS_NNX_ENABLED", "false")
    try:
        with _silenced_stderr(), lean_imports():
            import keras
    except ImportError as error:
        hint = "pip install 'fcoslite[jax]'" if name == "jax" else "install fcoslite with its dependencies"
        raise ConfigError(f"the backend {name} cannot be loaded: {error}", hint) from None
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise ConfigError(f"Keras cannot be loaded: {error}", f"mend or delete {_keras_json()}") from None
    name = keras.backend.backend()  # a program that uses ours may have loaded it before
    if name not in BACKENDS:
        raise ConfigError(f"Keras is loaded on {name}", f"fcoslite runs on {' and '.join(BACKENDS)}: set KERAS_BACKEND")
    os.environ["KERAS_BACKEND"] = name
    keras.config.set_image_data_format("channels_last")
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(_EPSILON)
    keep_freed_memory()
    if name == "tensorflow":
        load_tensorflow()


def _keras_json() -> Path:
    return Path(os.environ.get("KERAS_HOME") or os.path.expanduser("~/.keras"), "keras.json")  # noqa: PTH111, no error


def _backend_of_keras_json() -> str:
    try:
        name = json.loads(_keras_json().read_text("utf-8")).get("backend")
    except (OSError, ValueError, AttributeError):  # not there, no JSON, or no object
        name = None
    return name if name in BACKENDS and find_spec(name) is not None else BACKENDS[0]


def keep_freed_memory() -> None:
    """Have the C library keep large buffers that are freed for the next ones.

    glibc gives back what is larger than 32 MiB, and a training step on a CPU takes and frees gigabytes of that: a tenth
    of its time went into getting the same memory again, page by page. Elsewhere nothing happens.
    """
    with suppress(TypeError, AttributeError, OSError):  # Windows, macOS and musl, no C library to be had
        libc = ctypes.CDLL(None)
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, 2**30)


def load_tensorflow() -> None:
    """Import TensorFlow without the start-up lines that no log level of its own holds back.

    GPU memory is taken as it is needed; beside JAX, which computes, TensorFlow only reads records and gets no GPU.
    """
    if "tensorflow" in sys.modules:
        return
    with _silenced_stderr():
        with lean_imports():
            import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        if os.environ.get("KERAS_BACKEND") == "jax":
            tf.config.set_visible_devices([], "GPU")
            return
        with suppress(RuntimeError):  # already in use
            for gpu in gpus:
                tf.config.experimental.set_memory_growth(gpu, True)


def sees_gpu() -> bool:
    """Whether the Keras backend can compute on a GPU."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return bool(tf.config.list_physical_devices("GPU"))
    import jax

    return bool(jax.default_backend() == "gpu")


def compile_with_xla(setting: str = "auto") -> bool:
    """Whether Keras compiles with XLA.

    `auto`: on a GPU yes; on a CPU no, where it takes longer to compile and gains nothing. JAX always compiles.
    """
    import keras

    if keras.backend.backend() == "jax":
        return True
    return sees_gpu() if setting == "auto" else setting == "xla"


def in_one_pass(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
    """Compile element by element work of `keras.ops` into one pass over memory, where Keras does not do that itself.

    JAX and training with XLA do; a graph of TensorFlow reads and writes everything once per operation.
    """
    import keras

    if keras.backend.backend() == "jax":
        return function
    import tensorflow as tf

    compiled: Callable[_Arguments, _Result] = tf.function(function, jit_compile=True, autograph=False)
    return compiled


@contextmanager
def _silenced_stderr() -> Iterator[None]:
    """Hold back what C++ writes to stderr; it is shown after all if an exception comes out."""
    try:
        original = os.dup(2)
    except OSError:  # there is none
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
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
