"""The one currency between post-processing, evaluation, drawing and files."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best score first.

    Attributes:
        boxes_xyxy: [N, 4] float32, pixels of the original image.
        scores: [N] float32, sigmoid(class), times sigmoid(quality) where the model has one.
        class_ids: [N] int32, as in files: 1 is the first class.
        class_names: Names by class_id - 1.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    class_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def shown_scores(self) -> np.ndarray:
        """[N] float32, the cube root of the score: what is drawn on a box (mission, Score Interpretation)."""
        return np.cbrt(self.scores)

    @property
    def labels(self) -> list[str]:
        """`name 0.87` for each box, with the shown score."""
        return [
            f"{self.class_names[class_id - 1]} {shown:.2f}"
            for class_id, shown in zip(self.class_ids, self.shown_scores, strict=True)
        ]
