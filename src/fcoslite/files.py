"""Files that are at all times either the old one or the whole new one."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write beside, flush to the disk, rename; a failure leaves the old file and nothing else."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
