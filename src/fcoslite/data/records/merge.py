"""A set of records of files that several processes have built, each its share, on whatever starts processes."""

import logging
from pathlib import Path

from fcoslite.data.records.build import KIND, BuildResult, finish, result_of
from fcoslite.data.records.manifest import read_manifest
from fcoslite.data.records.plan import SetFacts, clear_facts, read_facts
from fcoslite.data.records.shards import WrittenShard, clear_journals, finished_shard
from fcoslite.data.skipped import MAX_SKIPPED, refuse_too_many
from fcoslite.errors import DataError
from fcoslite.storage.places import is_file, is_remote
from fcoslite.storage.space import known_free_bytes
from fcoslite.storage.staged_folder import MANIFEST, check_output, staged_folder, staging_of

_log = logging.getLogger("fcoslite")

_NAMED = 5  # files, in a message
_LATER = "mend or replace them and build their shares again"


def merge_records(out: Path, max_skipped: str = MAX_SKIPPED, overwrite: bool = False) -> BuildResult:
    """Make a set of records of what `build_records` has written for shares.

    Args:
        out: As it was told to them.
        max_skipped: Most images, of all shares, that may be left out: a count, or a share such as `1%`.
        overwrite: Replace former records at `out`.

    Raises:
        DataError: Nothing was written there, or shares are not finished; what is there stays.
        TooManySkippedError: More images cannot be used; with more allowed, the same call goes on.
        BusyError: Another process is at work on `out`.
    """
    check_output(out, KIND, overwrite, ())
    staging, free = staging_of(out), known_free_bytes(out)
    if (is_remote(out) or not staging.is_dir()) and is_file(out / MANIFEST):
        _log.info("%s is merged already", out)
        return result_of(out, read_manifest(out), free)
    if is_file(staging / MANIFEST):  # killed after all the work
        job = read_manifest(staging).job
    else:
        facts = read_facts(staging)
        job, written = facts.job, _all_files(staging, facts)
        skipped = [image for each in written for image in each.skipped]
        refuse_too_many(skipped, facts.cut.images, max_skipped, "what the shares have written stays")
    with staged_folder(out, job, overwrite) as folder:
        if not is_file(folder / MANIFEST):
            finish(folder, facts, written, lambda skipped: _LATER)
        clear_journals(folder)
        clear_facts(folder)
        manifest = read_manifest(folder)
    return result_of(out, manifest, free)


def _all_files(staging: Path, facts: SetFacts) -> list[WrittenShard]:
    found = [finished_shard(staging / facts.cut.name(index)) for index in range(len(facts.cut))]
    missing = [index for index, written in enumerate(found) if written is None]
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (", ..." if len(missing) > _NAMED else "")
        raise DataError(
            f"{len(missing)} of the {len(found)} files of {staging} are not finished: {named}, counted from 0",
            "run the commands of their shares again: of each, what is finished is kept",
        )
    return [written for written in found if written is not None]
