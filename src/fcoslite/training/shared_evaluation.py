"""Validation by processes that train together: each its part of the images, all of them scored as one set."""

import numpy as np

from fcoslite.config.settings import Settings
from fcoslite.data.sources.source import Change, Source
from fcoslite.evaluation.evaluation import Evaluation
from fcoslite.evaluation.evaluator import Evaluator, Observed, summarise_observed
from fcoslite.machine.backend import compile_with_xla
from fcoslite.machine.distribute import gather, group, on_this_process_alone
from fcoslite.machine.tiers import choose_precision
from fcoslite.models.detector import Detector, build_detector
from fcoslite.progress import Progress, no_progress


class SharedEvaluator:
    """Evaluates a detector whose weights are on all devices of all processes. All of them must call it.

    Args:
        detector: Its weights are read anew at every run.
        settings: All of them.
    """

    def __init__(self, detector: Detector, settings: Settings) -> None:
        self._detector = detector
        with on_this_process_alone():
            model = settings.model.model_copy(update={"backbone_weights": None})
            self.copy = build_detector(model, choose_precision(settings.compute.precision), settings.seed)
        xla = compile_with_xla(settings.compute.compile)
        self.evaluator = Evaluator(self.copy, settings.loss, settings.evaluate, xla)

    def run(
        self, source: Source, batch_size: int, progress: Progress = no_progress, change: Change | None = None
    ) -> Evaluation:
        """Evaluate on all images of a source; the same in every process.

        Raises:
            DataError: The source is empty, or of other classes or another size than the detector.
        """
        places = group().part(len(source))
        observed = Observed([], [], {})
        if places:
            with on_this_process_alone():
                pairs = zip(self.copy.network.variables, self._detector.network.variables, strict=True)
                for ours, trained in pairs:
                    ours.assign(np.asarray(trained))
                observed = self.evaluator.observe(source.stretch(places), batch_size, progress, change)
        return summarise_observed(gather(observed), self._detector.class_names)
