"""The errors that fcoslite raises on purpose: a message, and a hint that says what to do next."""

from typing import Any

from fcoslite.text import printable


class FcosliteError(Exception):
    """Something the user can mend.

    Args:
        message: What is wrong, naming the file, key or value.
        hint: What to do about it; may be empty.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = printable(message)
        self.hint = printable(hint)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, which would call a subclass with the message alone."""
        return _rebuilt, (type(self), self.args, self.__dict__)


def _rebuilt(kind: type[FcosliteError], arguments: tuple[Any, ...], state: dict[str, Any]) -> FcosliteError:
    error = kind.__new__(kind)
    error.args = arguments
    error.__dict__.update(state)
    return error


class ConfigError(FcosliteError):
    """A setting is unknown or its value is not allowed."""

    exit_code = 2


class DataError(FcosliteError):
    """An annotation file, an image folder or a set of records cannot be used."""


class UnreachableError(DataError):
    """What an address names cannot be reached; what is done so far is good."""


class TooManySkippedError(DataError):
    """More images cannot be used than may be left out; what is done so far is good."""


class WeightsError(FcosliteError):
    """A weights or checkpoint file cannot be used with the model asked for."""


class RunError(FcosliteError):
    """A run directory is missing or cannot be continued."""


class Interrupted(FcosliteError):
    """Somebody asked for the end, by a signal, and everything was saved.

    Args:
        message: What was stopped.
        hint: How to go on.
        signal_number: SIGINT, SIGTERM or SIGHUP; the exit code is the shell's for it, 130, 143 or 129.
    """

    def __init__(self, message: str, hint: str, signal_number: int) -> None:
        super().__init__(message, hint)
        self.exit_code = 128 + signal_number


class BusyError(FcosliteError):
    """Another process is writing to the same run or folder."""


class TrackingError(FcosliteError):
    """MLflow cannot be brought to what a run holds."""


class ClusterError(FcosliteError):
    """Processes that should work together cannot."""


class SourceError(FcosliteError):
    """A camera, video, stream or image cannot be read."""


def closest(name: str, choices: list[str]) -> str:
    """Return ``did you mean 'x'?`` for the most similar choice, or an empty string."""
    import difflib

    by_form = {choice.casefold(): choice for choice in reversed(choices)}
    matches = difflib.get_close_matches(name.casefold(), list(by_form), n=1, cutoff=0.5)
    return f"did you mean '{by_form[matches[0]]}'?" if matches else ""
