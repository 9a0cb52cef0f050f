"""Does memory stay flat? Training over epochs, and `build-records` over one and ten times the data. Linux.

Run: python -m benchmarks.memory [--annotations FILE --images FOLDER] [--epochs 5] [--copies 10] [--size 320]

Without arguments the embedded photographs are used, ten times over in training. Each command runs in a process of
its own; what is measured is the resident memory of that process and its children, twenty times a second.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks.photographs import DEMO_DATA, copied

MIB = 2**20


def resident_bytes(process_id: int) -> int:
    """Resident memory of a process and all below it; pages they share are counted for each."""
    total, open_ids = 0, [process_id]
    while open_ids:
        current = open_ids.pop()
        try:
            total += int(Path(f"/proc/{current}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            for task in Path(f"/proc/{current}/task").iterdir():
                open_ids += map(int, (task / "children").read_text().split())
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
    return total


def watch(arguments: Sequence[str], folder: Path, phase: Callable[[], int]) -> dict[int, int]:
    """Run fcoslite; the most memory it had in each phase, bytes."""
    most: dict[int, int] = {}
    log = folder / "log.txt"
    with log.open("w") as output:
        command = [sys.executable, "-m", "fcoslite", *arguments]
        process = subprocess.Popen(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
        while process.poll() is None:
            now = phase()
            most[now] = max(most.get(now, 0), resident_bytes(process.pid))
            time.sleep(0.05)
    if process.returncode:
        sys.exit(log.read_text())
    return most


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotations", type=Path, help="COCO file of the images to build records from")
    parser.add_argument("--images", type=Path, help="folder of its images, on the disk of the temporary folder")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--copies", type=int, default=10, help="how many times the data")
    parser.add_argument("--size", type=int, default=320, help="pixels")
    parser.add_argument("--config", default="small-data", help="of the training")
    options = parser.parse_args()
    demo = options.annotations is None
    annotations = DEMO_DATA / "annotations.json" if demo else options.annotations.resolve()
    images = DEMO_DATA / "images" if demo else options.images.resolve()

    with tempfile.TemporaryDirectory(dir=None if demo else images.parent) as name:
        folder = Path(name)
        print("| build-records | images | most memory, MiB |\n|---|---|---|")
        for copies in (1, options.copies):
            data = copied(annotations, images, folder / f"data-{copies}", copies)
            count = len(list((data / "images").iterdir()))
            arguments = [
                "build-records",
                "--data",
                str(data),
                "--size",
                str(options.size),
                "--out",
                f"records-{copies}",
            ]
            most = watch(arguments, folder, lambda: 0)
            print(f"| {copies} times | {count:,} | {max(most.values()) / MIB:,.0f} |", flush=True)

        sets = ["data.validation_records=0", f"train.epochs={options.epochs}", f"model.image_size={options.size}"]
        flags = [flag for setting in sets for flag in ("--set", setting)]
        records = f"records-{options.copies if demo else 1}"

        def epochs_done() -> int:
            lines = [len(path.read_bytes().splitlines()) for path in folder.glob("runs/*/metrics.jsonl")]
            return lines[0] if lines else 0

        most = watch(["train", "--config", options.config, "--records", records, *flags], folder, epochs_done)
        print("\n| epoch of training | most memory, MiB |\n|---|---|")
        for epoch in range(options.epochs):
            print(f"| {epoch + 1} | {most[epoch] / MIB:,.0f} |", flush=True)


if __name__ == "__main__":
    main()
