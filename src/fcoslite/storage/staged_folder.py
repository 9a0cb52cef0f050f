"""Output folders that appear whole or not at all, replace only what we wrote ourselves, and survive a kill.

The work is done in a hidden sibling, `.NAME.partial`, that knows by a digest which job it belongs to. A run that is
killed leaves it; the next run of the same job goes on in it, the next run of another one clears it.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fcoslite.errors import BusyError, ConfigError, DataError, TooManySkippedError, UnreachableError
from fcoslite.storage.files import is_partial, write_json
from fcoslite.storage.locks import locked
from fcoslite.storage.places import file_sizes, is_file, is_remote, patiently, read_bytes
from fcoslite.storage.space import check_writable, refuse_address

_log = logging.getLogger("fcoslite")

MANIFEST = "manifest.json"
EXTRACT_KIND = "fcoslite-extract"  # `kind` in the manifest that `extract` writes
CONVERT_KIND = "fcoslite-convert"
REVIEWS = "reviews.jsonl"  # what somebody has answered about the boxes of a data set; it survives a replacement
_JOB = ".job.json"
_SHARED = "shared"  # in it, if several processes fill the folder
_REMOTE = ("*.tfrecord", ".*.json", MANIFEST, "skipped.jsonl")  # what is ever written to an address
_NEVER_REPLACED = "choose another folder with --out; what fcoslite did not write is never replaced"


def check_output(out: Path, kind: str, overwrite: bool, inputs: tuple[Path, ...]) -> None:
    """Refuse an output folder that cannot be written, or that holds something other than a former output.

    Args:
        out: The folder to be written.
        kind: The value of `kind` in the manifest.json of such a folder.
        overwrite: Whether a former output may be replaced.
        inputs: Files and folders that are read and must survive.

    Raises:
        DataError: `out` is a file or a mount point, holds files that may not be replaced, or its parent is read-only.
        ConfigError: Replacing `out` would delete an input.
    """
    if is_remote(out):
        begun = is_file(out / _JOB)
        if not begun and _read_json(out / MANIFEST).get("kind") != kind and file_sizes(out):
            raise DataError(f"{out} is not empty", _NEVER_REPLACED)
        return
    refuse_address(out)
    target = out.resolve()
    check_writable(target.parent, "choose another folder with --out")
    if not target.exists():
        return
    if not target.is_dir():
        raise DataError(f"{out} is a file, not a folder", "choose another folder with --out")
    if target.is_mount():
        raise DataError(f"{out} is a mount point and cannot be replaced", "choose a folder inside it with --out")
    if not any(target.iterdir()):
        return
    if _read_json(target / MANIFEST).get("kind") != kind:
        raise DataError(f"{out} is not empty", _NEVER_REPLACED)
    for path in inputs if overwrite else ():
        if path.resolve().is_relative_to(target):
            raise ConfigError(f"replacing {out} would delete its own input {path}", "choose another --out")


def job_digest(facts: Mapping[str, Any]) -> str:
    """A digest of all that decides what a job writes; the same digest, the same bytes."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def is_finished(out: Path, job: str) -> bool:
    """Whether `out` holds what this very job writes.

    Raises:
        DataError: It holds what another job has written.
    """
    target = out if is_remote(out) else out.resolve()
    there = is_file(target / MANIFEST) if is_remote(out) else target.is_dir() and any(target.iterdir())
    if not there:
        return False
    if _read_json(target / MANIFEST).get("job") != job:
        raise DataError(
            f"{out} exists already, made of other data or with other options",
            "add --overwrite to replace it, or choose another --out",
        )
    return True


@contextmanager
def staged_folder(out: Path, job: str, overwrite: bool) -> Iterator[Path]:
    """Yield a hidden sibling of `out` that takes its place at the end.

    It may hold what a former run of the same job has finished. It is kept if this run is stopped, the disk is full, or
    too many images had to be skipped, and vanishes if the input is to blame otherwise. The manifest that is written
    there must hold `job`.

    Args:
        out: The folder.
        job: Digest of what is done.
        overwrite: Whether a former output may be replaced.

    Raises:
        BusyError: Another process is at work on `out`.
        DataError: `out` has appeared in the meantime, or writing failed.
    """
    if is_remote(out):
        with _remote_folder(out, job, overwrite) as folder:
            yield folder
        return
    target = out.resolve()
    staging = staging_of(out)
    new_parents = [parent for parent in target.parents if not parent.exists()]
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with locked(_lock(target), str(out)):
            _put_back_former(target)
            if not overwrite and target.exists() and any(target.iterdir()):
                raise DataError(f"{out} exists already", "add --overwrite to replace it, or choose another --out")
            _refuse_shares(staging, job)
            try:
                _enter(staging, job)
                yield staging
                (staging / _JOB).unlink(missing_ok=True)
                if (target / REVIEWS).is_file():
                    shutil.copyfile(target / REVIEWS, staging / REVIEWS)
                _onto_the_disk()
                _put_in_place(staging, target)
            except BaseException as error:  # Ctrl-C too
                # of images that cannot be used, more may be allowed
                if isinstance(error, DataError) and not isinstance(error, (TooManySkippedError, UnreachableError)):
                    shutil.rmtree(staging, ignore_errors=True)
                else:
                    _leave(staging)
                raise
    except OSError as error:
        hint = "make room or mend what it says, then run the same command again: what is finished is kept"
        raise DataError(f"{out} is not finished: {error}", hint) from error
    finally:
        with suppress(OSError):
            for parent in new_parents:
                parent.rmdir()


@contextmanager
def shared_folder(out: Path, job: str) -> Iterator[Path]:
    """Yield the hidden sibling of `out` that `staged_folder` works in, to one of several processes that fill it.

    They may be on several machines, so there is no lock: none may delete or change what another has written, and what
    they write must be whole or absent. It stays; `staged_folder` of the same job goes on in it.

    Raises:
        BusyError: It holds what another job has begun.
        DataError: Writing failed.
    """
    staging = staging_of(out)
    try:
        if not is_remote(staging):
            staging.mkdir(parents=True, exist_ok=True)
        theirs = _read_json(staging / _JOB).get("job")
        if theirs is None and staging.is_dir() and not all(map(is_partial, staging.iterdir())):
            theirs = _read_json(staging / _JOB).get("job", "")  # another share may have begun just now
        if theirs not in (None, job):
            raise BusyError(*_begun(staging))
        write_json(staging / _JOB, {"job": job, _SHARED: True})
        yield staging
    except OSError as error:
        hint = "make room or mend what it says, then run the same command again: what is finished is kept"
        raise DataError(f"{out} is not finished: {error}", hint) from error


@contextmanager
def _remote_folder(out: Path, job: str, overwrite: bool) -> Iterator[Path]:
    """Yield a remote folder itself, which cannot be renamed: it is finished when its manifest is there.

    What a former job has left, and what is to be replaced, goes first, its manifest before all else.
    """
    try:
        _refuse_shares(out, job)
        begun = _read_json(out / _JOB).get("job") == job
        if not begun and (overwrite or _read_json(out / MANIFEST).get("job") != job):
            there = [name for name in file_sizes(out) if "/" not in name]  # in folders below are other sets
            ours = [name for name in there if any(fnmatchcase(name, pattern) for pattern in _REMOTE)]
            for name in sorted(ours, key=lambda name: name != MANIFEST):
                patiently(out / name, (out / name).unlink)
            write_json(out / _JOB, {"job": job})
        yield out
        (out / _JOB).unlink(missing_ok=True)
    except OSError as error:
        hint = "mend what it says, then run the same command again: what is finished is kept"
        raise DataError(f"{out} is not finished: {error}", hint) from error


@contextmanager
def no_replacement(out: Path) -> Iterator[None]:
    """Keep `staged_folder` from replacing a folder, where it could.

    Raises:
        BusyError: It is at work there.
    """
    target = out.resolve()
    if target.is_mount() or not os.access(target.parent, os.W_OK):
        yield
        return
    with locked(_lock(target), str(out)):
        yield


def staged_bytes(out: Path, names: Collection[str] | None = None) -> int:
    """What a stopped run has left of `out`; it takes no new space: it is gone on with, or cleared.

    Args:
        out: The folder.
        names: Of the files that count; None: all.
    """
    if is_remote(out):
        return 0
    staging = staging_of(out)
    files = (path for path in staging.rglob("*") if names is None or path.relative_to(staging).as_posix() in names)
    return sum(path.lstat().st_size for path in files if path.is_file())


def staging_of(out: Path) -> Path:
    """Where `out` is being written."""
    if is_remote(out):
        return out
    target = out.resolve()
    return target.with_name(f".{target.name}.partial")


def _lock(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _former(target: Path) -> Path:
    return target.with_name(f".{target.name}.former")


def _refuse_shares(staging: Path, job: str) -> None:
    """Raise BusyError if others may be filling a folder for another job: of them no lock tells."""
    theirs = _read_json(staging / _JOB)
    if theirs.get(_SHARED) and theirs.get("job") != job:
        raise BusyError(*_begun(staging))


def _begun(staging: Path) -> tuple[str, str]:
    hint = "if that is still at work, wait for it or choose another --out; else delete that folder"
    return f"{staging} holds what another command has begun", hint


def _enter(staging: Path, job: str) -> None:
    # once the manifest is written, the job's own file may be gone
    if job in (_read_json(staging / _JOB).get("job"), _read_json(staging / MANIFEST).get("job")):
        _log.info("going on in %s, where a run of the same command was stopped", staging)
        return
    if staging.exists():
        shutil.rmtree(staging)
    staging.mkdir()
    write_json(staging / _JOB, {"job": job})


def _leave(staging: Path) -> None:
    if any(path.name != _JOB for path in staging.glob("*")):
        _log.warning("stopped: the same command goes on from here; what it has done is kept in %s", staging)
    else:
        shutil.rmtree(staging, ignore_errors=True)


def _onto_the_disk() -> None:
    """What has its final name must survive a power cut; file by file it would take longer than the work."""
    if hasattr(os, "sync"):
        os.sync()


def _put_in_place(staging: Path, target: Path) -> None:
    if not target.exists():
        staging.rename(target)
        return
    former = _former(target)
    target.rename(former)
    try:
        staging.rename(target)
    except BaseException:
        former.rename(target)
        raise
    _delete(former)


def _put_back_former(target: Path) -> None:
    """Undo or complete a replacement that was killed between its renames."""
    former = _former(target)
    if former.exists() and target.exists():
        _delete(former)
    elif former.exists():
        former.rename(target)


def _delete(former: Path) -> None:
    try:
        shutil.rmtree(former)
    except OSError as error:
        _log.warning("could not delete the former output %s: %s", former, error)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(read_bytes(path).decode())
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}
