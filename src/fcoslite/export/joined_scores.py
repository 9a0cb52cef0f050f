"""The one score that files for other programs give, joined from our two."""

from typing import Any

from keras import ops

from fcoslite.models.detector import Detector


def joined(scores: Any, detector: Detector) -> Any:
    """Scores of `decode` (any tensor or array), as files in the layouts of other projects give them.

    The mean of class and quality score, not their product: the geometric one, as other FCOS have it
    (torchvision/models/detection/fcos.py). A product is small even for good boxes, and programs drop what is below a
    threshold of their own that nobody can set: 0.4 in Frigate, 0.2 in Scrypted. The order of boxes, so AP, is the same.
    """
    return ops.sqrt(scores) if has_two_scores(detector) else scores


def has_two_scores(detector: Detector) -> bool:
    """Whether a score is the product of two, and its joined form the square root."""
    return detector.architecture.quality != "none"
