"""Output folders that appear whole or not at all, and replace only what we wrote ourselves."""

import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fcoslite.errors import ConfigError, DataError

_logger = logging.getLogger("fcoslite.data")

MANIFEST = "manifest.json"


def check_output(out: Path, kind: str, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    """Refuse an output folder that holds something else than a former output of the same kind.

    Args:
        out: The folder to be written.
        kind: The value of `kind` in the manifest.json of such a folder.
        overwrite: Whether a former output may be replaced.
        inputs: Files and folders that are read and must survive.

    Raises:
        DataError: `out` is a file or a mount point, or holds files that may not be replaced.
        ConfigError: Replacing `out` would delete an input.
    """
    target = out.resolve()
    if not target.exists():
        return
    if not target.is_dir():
        raise DataError(f"{out} is a file, not a folder", "choose another folder with --out")
    if target.is_mount():
        raise DataError(f"{out} is a mount point and cannot be replaced", "choose a folder inside it with --out")
    if not any(target.iterdir()):
        return
    if not _is_ours(target, kind):
        raise DataError(
            f"{out} is not empty",
            "choose another folder with --out; what fcoslite did not write is never replaced",
        )
    if not overwrite:
        raise DataError(f"{out} exists already", "add --overwrite to replace it, or choose another --out")
    for path in inputs:
        if path.resolve().is_relative_to(target):
            raise ConfigError(f"replacing {out} would delete its own input {path}", "choose another --out")


@contextmanager
def staged_folder(out: Path) -> Iterator[Path]:
    """Yield a temporary sibling of `out` that takes its place at the end, or vanishes on any failure.

    The sibling's name is fixed, so what a killed run left behind is cleared by the next.
    """
    target = out.resolve()
    staging = target.with_name(f".{target.name}.partial")
    new_parents = [parent for parent in target.parents if not parent.exists()]
    try:
        if staging.exists():
            shutil.rmtree(staging)
        staging.mkdir(parents=True)
        yield staging
        _put_in_place(staging, target)
    except BaseException:  # Ctrl-C too
        shutil.rmtree(staging, ignore_errors=True)
        with suppress(OSError):
            for parent in new_parents:
                parent.rmdir()
        raise


def free_bytes(out: Path) -> int:
    """Free space on the disk that holds, or would hold, `out`."""
    existing = next(path for path in (out.resolve(), *out.resolve().parents) if path.exists())
    return shutil.disk_usage(existing).free


def check_free_space(out: Path, needed_bytes: int, hint: str) -> None:
    """Refuse to start what the disk cannot hold.

    Raises:
        DataError: Less than `needed_bytes` are free where `out` would be.
    """
    free = free_bytes(out)
    if needed_bytes > free:
        raise DataError(f"{out} needs about {needed_bytes / 1e9:.1f} GB, {free / 1e9:.1f} GB are free", hint)


def write_json(path: Path, document: dict[str, object]) -> None:
    """Write an indented UTF-8 JSON file."""
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _put_in_place(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    former = target.with_name(f".{target.name}.former")
    if former.exists():
        shutil.rmtree(former)
    target.rename(former)
    try:
        staging.rename(target)
    except BaseException:
        former.rename(target)
        raise
    try:
        shutil.rmtree(former)
    except OSError as error:
        _logger.warning("could not delete the former output %s: %s", former, error)


def _is_ours(folder: Path, kind: str) -> bool:
    try:
        manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == kind
