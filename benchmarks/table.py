"""Rows of the benchmark table, a fair race between functions, and what every stage's command line has in common."""

import argparse
import gc
import json
import platform
import random
import resource
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Required, TypedDict


@dataclass(frozen=True)
class Must:
    """What a figure of a row has to reach, at least or at most."""

    figure: Literal["ratio", "fraction", "ours"]
    sign: Literal["≥", "≤"]
    value: float

    def met_by(self, value: float) -> bool:
        return value >= self.value if self.sign == "≥" else value <= self.value

    def __str__(self) -> str:
        shown = f"{self.value:.0%}" if self.figure == "fraction" else f"{self.value:g}"
        return f"{self.figure} {self.sign} {shown}"


@dataclass(frozen=True)
class Row:
    """One measurement.

    Attributes:
        stage: Of the pipeline.
        what: What was measured.
        unit: Of the three figures.
        ours: What fcoslite does.
        reference: The same by other means, and `reference_is` says which; None where there is nothing to compare.
        ratio: ours / reference, pair by pair within the run.
        limit: What the machine can do at most, and `limit_is` says of what.
        fraction: ours / limit, likewise.
        must: What it has to reach.
    """

    stage: str
    what: str
    unit: str
    ours: float
    reference: float | None = None
    reference_is: str = ""
    ratio: float | None = None
    limit: float | None = None
    limit_is: str = ""
    fraction: float | None = None
    must: Must | None = None

    @property
    def met(self) -> bool | None:
        """Whether it reaches what it must; None where it must nothing."""
        return None if self.must is None else self.must.met_by(getattr(self, self.must.figure))


_TURN_SECONDS = 0.1


class Figures(TypedDict, total=False):
    """Those of a `Row`."""

    ours: Required[float]
    reference: float
    ratio: float
    limit: float
    fraction: float


@dataclass(frozen=True)
class Race:
    """Seconds of every contestant in every round."""

    seconds: Mapping[str, Sequence[float]]

    def median(self, name: str) -> float:
        """Seconds."""
        return statistics.median(self.seconds[name])

    def rates(self, ours: str, count: float, *, reference: str | None = None, limit: str | None = None) -> "Figures":
        """Of `count` things per second, compared with contestants that do the same work."""
        figures: Figures = {"ours": count / self.median(ours)}
        if reference is not None:
            figures |= {"reference": count / self.median(reference), "ratio": self.faster(ours, reference)}
        if limit is not None:
            figures |= {"limit": count / self.median(limit), "fraction": self.faster(ours, limit)}
        return figures

    def milliseconds(self, ours: str, count: float, *, reference: str) -> "Figures":
        """Of each of `count` things, and their share of what another contestant takes."""
        ms = {name: 1e3 / count * self.median(name) for name in (ours, reference)}
        return {"ours": ms[ours], "reference": ms[reference], "ratio": self.faster(reference, ours)}

    def faster(self, name: str, than: str) -> float:
        """How many times faster: the median over the rounds of the ratios within a round."""
        return statistics.median(b / a for a, b in zip(self.seconds[name], self.seconds[than], strict=True))


def race(contestants: Mapping[str, Callable[[], object]], rounds: int) -> Race:
    """Time functions in turn, so that whatever else the machine does meets all of them; the first round is not counted.

    The order is another one in every round. A turn of a fast function is many calls, and its time that of one.
    """
    names, rng = list(contestants), random.Random(0)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        for name in rng.sample(names, len(names)):
            gc.collect()
            calls = 0
            start = time.perf_counter()
            while (passed := time.perf_counter() - start) < _TURN_SECONDS or not calls:
                contestants[name]()
                calls += 1
            if number:
                seconds[name].append(passed / calls)
    return Race(seconds)


def peak_mib() -> float:
    """The most memory this process had, MiB; without what its parent had before, which Linux' `getrusage` counts in."""
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def markdown(rows: Iterable[Row]) -> str:
    """The table, a line per row."""
    head = "| what | ours | reference | ratio | limit of the machine | fraction | must |\n|---|---|---|---|---|---|---|"
    return "\n".join([head, *map(_line, rows)])


def _line(row: Row) -> str:
    reference = "" if row.reference is None else f"{_figure(row.reference)} ({row.reference_is})"
    ratio = "" if row.ratio is None else f"{row.ratio:.2f}" if row.ratio < 10 else f"{row.ratio:.0f}"
    limit = "" if row.limit is None else f"{_figure(row.limit)} ({row.limit_is})"
    fraction = "" if row.fraction is None else f"{row.fraction:.0%}"
    must = "" if row.must is None else f"{row.must}: {'yes' if row.met else '**no**'}"
    cells = [f"{row.stage}: {row.what}", f"{_figure(row.ours)} {row.unit}", reference, ratio, limit, fraction, must]
    return f"| {' | '.join(cells)} |"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def save(rows: Sequence[Row], folder: Path, facts: Mapping[str, Any]) -> None:
    """Write `benchmarks.json` and `benchmarks.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    document = {**facts, "rows": [asdict(row) | {"met": row.met} for row in rows]}
    (folder / "benchmarks.json").write_text(json.dumps(document, indent=1) + "\n", "utf-8")
    told = "".join(f"- {name}: {value}\n" for name, value in facts.items())
    (folder / "benchmarks.md").write_text(f"{told}\n{markdown(rows)}\n", "utf-8")


def read(path: Path) -> Iterator[Row]:
    """The rows of a `benchmarks.json`."""
    for row in json.loads(path.read_text("utf-8"))["rows"]:
        row.pop("met")
        yield Row(**row | {"must": Must(**row["must"]) if row["must"] else None})


def stage_parser(about: str | None) -> argparse.ArgumentParser:
    """The flags that all stages have."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds and smaller sets")
    parser.add_argument("--video", type=Path, help="a video for the webcam stage instead of a made one")
    parser.add_argument("--out", type=Path, help="folder for benchmarks.json and benchmarks.md")
    return parser


def finish_stage(measured: Iterable[Row], out: Path | None) -> None:
    """Print the rows, and save them where asked to."""
    rows = list(measured)
    print(markdown(rows))
    if out:
        save(rows, out, {})


def processor() -> str:
    """The name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text("utf-8").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def run_stage(measure: Callable[[argparse.Namespace], Iterable[Row]], about: str | None) -> None:
    """The command line of a stage without flags of its own."""
    arguments = stage_parser(about).parse_args()
    finish_stage(measure(arguments), arguments.out)
