"""Run every stage in a process of its own; print and save one table.

Run: python -m benchmarks [STAGE ...] [--quick] [--video FILE] [--out FOLDER]
"""

import argparse
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.table import Row, markdown, read, save

STAGES = (
    "forward",
    "training_step",
    "assignment",
    "input_pipeline",
    "build_records",
    "extract",
    "evaluation",
    "webcam",
    "start_up",
)


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all by default")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sets")
    parser.add_argument("--video", type=Path, help="a video for the webcam stage instead of a made one")
    parser.add_argument("--out", type=Path, default=Path("bench"), help="folder for the table and each stage's part")
    arguments = parser.parse_args()
    unknown = set(arguments.stages) - set(STAGES)
    if unknown:
        parser.error(f"no stage {', '.join(sorted(unknown))}; there are {', '.join(STAGES)}")

    started = time.perf_counter()
    rows: list[Row] = []
    failed = []
    for stage in arguments.stages or STAGES:
        part = arguments.out.resolve() / stage
        options = ["--quick"] * arguments.quick + (
            ["--video", str(arguments.video.resolve())] if arguments.video else []
        )
        print(f"{stage} ...", file=sys.stderr, flush=True)
        command = [sys.executable, "-m", f"benchmarks.{stage}", "--out", str(part), *options]
        env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if subprocess.run(command, env=env, cwd=Path(__file__).parents[1]).returncode:
            failed.append(stage)
        else:
            rows += read(part / "benchmarks.json")
    facts = {
        "date": date.today().isoformat(),
        "machine": f"{_processor()}, {os.cpu_count()} CPUs",
        "versions": f"Python {platform.python_version()}, TensorFlow {version('tensorflow')}, Keras {version('keras')}",
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "quick": arguments.quick,
    }
    save(rows, arguments.out, facts)
    print(markdown(rows))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


if __name__ == "__main__":
    main()
