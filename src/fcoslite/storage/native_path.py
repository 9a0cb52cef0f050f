"""Paths as libraries in C++ take them, FFmpeg in OpenCV first of all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fcoslite.errors import DataError
from fcoslite.text import as_utf8


@contextmanager
def native_path(path: Path) -> Iterator[str]:
    """A path as text that names the same file in C++; it need not be there. Valid until the block ends.

    It is absolute, since FFmpeg takes `10:30.mp4` for an address of the protocol `10`. A path that is not UTF-8, which
    makes OpenCV crash, is reached through a link that is, with the same suffix: FFmpeg chooses the format by it. What
    has opened the file needs the link no more.

    Args:
        path: Of a file, to be read or written.

    Raises:
        DataError: The path is not UTF-8, and the system makes no links.
    """
    whole = path.absolute()
    if _is_taken(whole):
        yield str(whole)
        return
    with tempfile.TemporaryDirectory(prefix="fcoslite-", ignore_cleanup_errors=True) as folder:
        link = Path(folder) / f"file{as_utf8(path.suffix)}"
        try:
            link.symlink_to(whole)
            if not _is_taken(link):
                raise OSError("the folder of temporary files is not UTF-8 either")
        except OSError as error:
            raise DataError(f"{path} is not UTF-8, and has no other name here: {error}", "rename it") from None
        yield str(link)


def _is_taken(path: Path) -> bool:
    """Whether C++, which is given UTF-8, finds what Python finds; no in a locale of another encoding, either."""
    try:
        return os.fsencode(path) == str(path).encode()
    except UnicodeEncodeError:
        return False
