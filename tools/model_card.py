"""Make the figures and pictures of docs/model-card.md for a trained person detector.

Usage: python tools/model_card.py --weights FILE|NAME --annotations FILE --images DIR --video FILE --out DIR

figures.json          COCO's figures, and precision, recall and kinds of error at the webcam's default threshold
precision_recall.png  the curve, and that threshold's point on it
worst_errors.jpg      the worst false detections and missed persons; shows the images, so mind their licences
detections.jpg        the best twelve of the embedded photographs
clip.webp             six seconds of the video; Pillow, which writes it, comes with matplotlib
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from card_pictures import plot_operating_point, write_clip, write_detection_sheet, write_error_sheet

from fcoslite.cli.console import Terminal
from fcoslite.config.load import load_settings
from fcoslite.config.settings import WorkspaceSettings
from fcoslite.data.embedded import embedded_data
from fcoslite.data.formats.coco import read_coco
from fcoslite.evaluation.coco_metrics import COCO_FIGURES
from fcoslite.evaluation.detection_errors import (
    error_figures,
    judge_all,
    only_persons,
    taken_for_persons,
    worst_false_detections,
    worst_misses,
)
from fcoslite.evaluation.evaluate import plan_evaluation
from fcoslite.evaluation.predictor_evaluator import PredictorEvaluator
from fcoslite.inference.predictor import Predictor
from fcoslite.runs.find_weights import config_of, find_weights
from fcoslite.storage.files import replace_file

_CLASSES = ("person",)


def main() -> None:
    """Evaluate, detect, judge, write."""
    options = _options()
    terminal = Terminal()
    out: Path = options.out
    out.mkdir(parents=True, exist_ok=True)
    weights = find_weights(options.weights, Path(WorkspaceSettings().runs))
    settings = load_settings(config_of(weights))
    plan = plan_evaluation(settings, weights, None, options.annotations, options.images, out)
    predictor = Predictor.load(weights, settings.evaluate, many=True)
    evaluation = PredictorEvaluator(predictor).run(plan.source, 1, terminal.progress)

    # as the webcam does, which suppresses more than an evaluation
    predictor = predictor.with_settings(settings.webcam)
    dataset = read_coco(options.annotations, options.images, _CLASSES)
    judged = judge_all(predictor, dataset, terminal.progress)
    at_default = error_figures(judged)
    everything = read_coco(options.other_annotations, options.other_images)
    judged_others = judge_all(predictor, only_persons(everything), terminal.progress)
    figures = {
        "weights": weights.name,
        "image_size": predictor.image_size,
        "coco": {name: evaluation.metrics[name] for name in COCO_FIGURES},
        "webcam": {
            "data": options.annotations.name,
            "score": settings.webcam.score,
            "shown_score": settings.webcam.score ** (1 / 3),
            "nms_iou": settings.webcam.iou,
            **at_default,
        },
        "webcam_on_other_photographs": {
            "data": options.other_annotations.name,
            **error_figures(judged_others),
            "background_errors_on": taken_for_persons(judged_others, everything),
        },
    }
    replace_file(out / "figures.json", (json.dumps(_rounded(figures), indent=2) + "\n").encode())

    point = (at_default["recall"], at_default["precision"])
    plot_operating_point(evaluation.precision, point, settings.webcam.score, out / "precision_recall.png")
    errors = [*worst_false_detections(judged, 12), *worst_misses(judged, 12)]
    write_error_sheet(errors, options.images, out / "worst_errors.jpg")
    embedded = read_coco(embedded_data() / "annotations.json", embedded_data() / "images", _CLASSES)
    judged_embedded = judge_all(predictor, embedded, terminal.progress)
    write_detection_sheet(judged_embedded, embedded.folder, out / "detections.jpg", limit_bytes=350_000)
    write_clip(options.video, predictor, options.start, out / "clip.webp", limit_bytes=2_500_000)
    names = ("figures.json", "precision_recall.png", "worst_errors.jpg", "detections.jpg", "clip.webp")
    terminal.table(["file", "KB"], [[str(out / name), f"{(out / name).stat().st_size / 1000:.0f}"] for name in names])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="a .npz file, a run or the name of packaged weights")
    parser.add_argument("--annotations", type=Path, required=True, help="COCO instances file to score on")
    parser.add_argument("--images", type=Path, required=True, help="folder of its images")
    parser.add_argument("--video", type=Path, required=True, help="video file for the clip")
    parser.add_argument("--start", type=float, default=0.0, help="where in the video the clip begins, s (default 0)")
    others = "with all classes, to see what is taken for a person (default: the embedded photographs)"
    parser.add_argument(
        "--other-annotations",
        type=Path,
        default=embedded_data() / "annotations.json",
        help=f"COCO instances file {others}",
    )
    parser.add_argument("--other-images", type=Path, default=embedded_data() / "images", help="folder of its images")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    return parser.parse_args()


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return round(value, 4) if isinstance(value, float) else value


if __name__ == "__main__":
    main()
