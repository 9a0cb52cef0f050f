"""Run every stage in a process of its own; print and save one table.

A row that does not reach what it must is told, and no failure: machines differ.

Run: python -m benchmarks [STAGE ...] [--quick] [--video FILE] [--out FOLDER]
"""

import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

from benchmarks.table import Row, markdown, processor, read, save, stage_parser

STAGES = (
    "forward",
    "training_step",
    "assignment",
    "input_pipeline",
    "build_records",
    "extract",
    "evaluation",
    "engines",
    "webcam",
    "collect",
    "start_up",
)


def main() -> None:
    """See above."""
    parser = stage_parser(__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=f"of {', '.join(STAGES)}; all by default")
    parser.set_defaults(out=Path("bench"))
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
        "machine": f"{processor()}, {os.cpu_count()} CPUs",
        "versions": f"Python {platform.python_version()}, TensorFlow {version('tensorflow')}, Keras {version('keras')}",
        "minutes": round((time.perf_counter() - started) / 60, 1),
        "quick": arguments.quick,
    }
    save(rows, arguments.out, facts)
    print(markdown(rows))
    print(f"saved in {arguments.out}", file=sys.stderr)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
