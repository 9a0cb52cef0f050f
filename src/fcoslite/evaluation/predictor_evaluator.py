"""Evaluation of a detector on any engine: its detections, and no losses."""

import numpy as np

from fcoslite.data.dataset import LabelledImage
from fcoslite.data.sources.source import Change, Source
from fcoslite.detections.detections import Detections
from fcoslite.errors import DataError
from fcoslite.evaluation.evaluation import Evaluation, check_source, summarise
from fcoslite.geometry.letterbox import Letterbox
from fcoslite.inference.predictor import Predictor
from fcoslite.machine.threads import map_in_order
from fcoslite.progress import Progress, no_progress


class PredictorEvaluator:
    """Evaluates a predictor, as many images at a time as suit it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor

    def run(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Evaluation:
        """Evaluate on all images of a source, as they are or as `change` leaves them.

        Raises:
            DataError: The source is empty, or of other classes or another size than the detector.
        """
        predictor = self._predictor
        check_source(predictor.class_names, predictor.image_size, source)
        if source.image_size != predictor.image_size:
            raise DataError(
                f"the records are letterboxed to {source.image_size} pixels, the model takes {predictor.image_size}",
                f"build them with --size {predictor.image_size}; or take .npz weights, with --engine keras",
            )

        def detect(item: tuple[np.ndarray, Letterbox, LabelledImage]) -> tuple[LabelledImage, Detections]:
            pixels, letterbox, label = item
            return label, predictor.predict_letterboxed(pixels, letterbox)

        items = source.letterboxed(predictor.step, change)
        images: list[LabelledImage] = []
        detections: list[Detections] = []
        with progress("evaluating", len(source), "images") as advance:
            for label, found in map_in_order(detect, items, predictor.at_once, ahead=1):
                images.append(label)
                detections.append(found)
                advance(1)
        return summarise(images, detections, predictor.class_names, {})
