"""How long commands take to start, each in a process of its own, beside what they cannot do without.

Run: python -m benchmarks.start_up [--quick] [--out FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.table import Must, Row, race, run_stage
from benchmarks.webcam import make_video

FCOSLITE = [sys.executable, "-m", "fcoslite"]


def finished(command: list[str]) -> Callable[[], object]:
    """Run a command to its end."""
    return lambda: subprocess.run(command, check=True, capture_output=True)


def first_line(video: Path, jsonl: Path) -> Callable[[], None]:
    """Run `webcam` until the result of the first frame is in its file; what comes after is not waited for."""
    command = [*FCOSLITE, "webcam", "--source", str(video), "--no-window", "--weights", "lite0", "--jsonl", str(jsonl)]

    def run() -> None:
        jsonl.unlink(missing_ok=True)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                while not (jsonl.exists() and jsonl.stat().st_size):
                    if process.poll() is not None:
                        raise SystemExit(f"webcam ended with {process.returncode} without a result")
                    time.sleep(0.01)
            finally:
                process.kill()

    return run


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """Seconds."""
    with tempfile.TemporaryDirectory() as name:
        video = Path(name) / "video.avi"
        make_video(video, 50)
        result = race(
            {
                "help": finished([*FCOSLITE, "--help"]),
                "python": finished([sys.executable, "-c", "pass"]),
                "import": finished([sys.executable, "-c", "import tensorflow"]),
                "check": finished([*FCOSLITE, "check", "--json"]),
                "webcam": first_line(video, Path(name) / "found.jsonl"),
            },
            3 if arguments.quick else 9,
        )
    yield Row(
        stage="start-up",
        what="`fcoslite --help`",
        unit="s",
        ours=result.median("help"),
        reference=result.median("python"),
        reference_is="bare Python",
        ratio=result.faster("python", "help"),
        must=Must("ours", "≤", 0.5),
    )
    yield Row(
        stage="start-up",
        what="`fcoslite check`, which imports Keras and TensorFlow",
        unit="s",
        ours=result.median("check"),
        reference=result.median("import"),
        reference_is="the import of TensorFlow",
        ratio=result.faster("import", "check"),
        must=Must("ratio", "≤", 1),
    )
    yield Row(
        stage="start-up",
        what="`webcam` to its first frame",
        unit="s",
        ours=result.median("webcam"),
        reference=result.median("import"),
        reference_is="the import of TensorFlow",
        ratio=result.faster("import", "webcam"),
        must=Must("ours", "≤", 1.5),
    )


if __name__ == "__main__":
    run_stage(measure, __doc__)
