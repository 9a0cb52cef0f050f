"""Where results may be written: where it is possible, and where nothing is lost."""

from pathlib import Path

from fcoslite.errors import DataError
from fcoslite.storage.line_file import is_stdout
from fcoslite.storage.space import check_room, check_writable


def check_new(path: Path, flag: str, folder: bool, overwrite: bool) -> None:
    """See that results can be written to a place, and that nothing is lost there.

    Args:
        path: The place; `-` is stdout.
        flag: That names it.
        folder: It is to be a folder; else a file.
        overwrite: What is there may go.

    Raises:
        DataError: It cannot be written, or holds something.
        FcosliteError: Its disk is full.
    """
    if is_stdout(path) and not folder:
        return
    check_writable(path, f"name another place with {flag}", folder=folder)
    check_room(path)
    taken = any(path.iterdir()) if path.is_dir() else path.is_file()
    if taken and not overwrite:
        raise DataError(f"{path} is there already", f"name another place with {flag}, or add --overwrite")
