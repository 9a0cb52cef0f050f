"""Where files are: paths, and addresses such as s3://bucket/folder, which fsspec reaches, through universal-pathlib.

An address is treated as a path: what is given a `Path` here may be a UPath, which has the same methods as far as we use
them. What it cannot be is a folder that is locked, renamed or linked to.
"""

import errno
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

from fcoslite.errors import ConfigError, DataError, UnreachableError

_log = logging.getLogger("fcoslite")

_Result = TypeVar("_Result")

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
# abfs://CONTAINER@ACCOUNT names no user
_PASSWORD = re.compile(
    r"^(?!abfss?://[^/@:]+@[^@]*$).*@|[?&][^=]*(sig|signature|token|key|password|credential)[^=]*=", re.IGNORECASE
)
_PATIENCE = 20.0  # seconds of trying; libraries try for some time themselves
_LONG_PATIENCE = 600.0  # in the middle of long work
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_OF_THE_DISK = (errno.ENOSPC, errno.EROFS, errno.EDQUOT)


def place(text: str) -> Path:
    """The path of a text, or the address.

    Raises:
        ConfigError: What reads such addresses is not installed, or it has a password.
    """
    if _ADDRESS.match(text) is None:
        return Path(text)
    if _PASSWORD.search(text):
        raise ConfigError(
            "an address must not have a password in it, which logs and runs would keep",
            "leave it to the environment or to the files where that kind of storage has it, such as ~/.aws/credentials",
        )
    try:
        from upath import UPath
    except ImportError:
        raise ConfigError(f"{text} is an address", "pip install 'fcoslite[remote]'") from None
    try:
        scheme, rest = text.split("://", 1)
        address = UPath(f"{scheme.lower()}://{rest}")
        address.fs  # noqa: B018  which imports what it needs
    except (ImportError, ValueError) as error:
        raise ConfigError(f"{text} cannot be reached: {error}", _INSTALL) from None
    return cast(Path, address)


_INSTALL = "s3:// needs pip install s3fs, gs:// gcsfs, az:// adlfs"


def is_remote(path: Path) -> bool:
    """Whether it is an address."""
    return not isinstance(path, os.PathLike)


def patiently(what: Path, action: Callable[[], _Result], seconds: float = _PATIENCE) -> _Result:
    """The result of an action on a remote file, which is tried again: networks fail for a moment.

    Args:
        what: The file or folder.
        action: To be repeated; where what it reads is not there, or may not be read, that is final.
        seconds: After which it is not tried once more.

    Raises:
        OSError: It is not there, or may not be read; or the local disk is full.
        UnreachableError: The network, or what is at its other end, does not do it.
    """
    began, pause = time.monotonic(), 1.0
    while True:
        try:
            return action()
        except _FINAL:
            raise
        except Exception as error:  # libraries of clouds have errors of their own
            if isinstance(error, OSError) and error.errno in _OF_THE_DISK:
                raise
            if time.monotonic() - began > seconds:
                raise UnreachableError(
                    f"{what} cannot be reached: {_said(error)}", "see whether it is there and may be read and written"
                ) from error
            _log.debug("%s: %s; once more in %d s", what, _said(error), pause)
        time.sleep(pause)
        pause = min(2 * pause, 30.0)


def _said(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def is_file(path: Path) -> bool:
    """Whether there is such a file.

    Raises:
        DataError: It is remote, and cannot be reached.
    """
    return _kind(path) == "file" if is_remote(path) else path.is_file()


def is_folder(path: Path) -> bool:
    """Whether there is such a folder.

    Raises:
        DataError: It is remote, and cannot be reached.
    """
    return _kind(path) == "directory" if is_remote(path) else path.is_dir()


def _kind(path: Path) -> str | None:
    remote = cast(Any, path)  # whose own methods take a network that fails for a file that is not there
    try:
        return str(patiently(path, lambda: remote.fs.info(remote.path))["type"])
    except FileNotFoundError:
        return None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error}", "do these credentials allow it?") from error


def read_bytes(path: Path) -> bytes:
    """The content of a file.

    Raises:
        OSError: It cannot be read.
        DataError: It is remote, and cannot be reached.
    """
    if not is_remote(path):
        return path.read_bytes()
    remote = cast(Any, path)
    content: bytes = patiently(path, lambda: remote.fs.cat_file(remote.path))  # one request
    return content


def file_sizes(folder: Path) -> dict[str, int]:
    """Bytes of all files of a remote folder, by their paths within it; empty if it is not there.

    Raises:
        DataError: It cannot be reached.
    """
    remote = cast(Any, folder)
    root = remote.path.rstrip("/")

    def find() -> dict[str, int]:
        remote.fs.invalidate_cache(root)
        found: dict[str, dict[str, Any]] = remote.fs.find(root, detail=True)
        return {path.removeprefix(root).lstrip("/"): int(facts["size"]) for path, facts in found.items()}

    try:
        return patiently(folder, find)
    except FileNotFoundError:
        return {}


def fetch(path: Path, target: Path) -> None:
    """Copy a remote file to a local one.

    Raises:
        OSError: It is not there.
        DataError: It cannot be reached.
    """
    remote = cast(Any, path)
    patiently(path, lambda: remote.fs.get_file(remote.path, str(target)), _LONG_PATIENCE)


def send(source: Path, path: Path) -> None:
    """Copy a local file to a remote one, which is there as a whole or not at all.

    Raises:
        DataError: It cannot be reached.
    """
    remote = cast(Any, path)
    patiently(path, lambda: remote.fs.put_file(str(source), remote.path), _LONG_PATIENCE)
