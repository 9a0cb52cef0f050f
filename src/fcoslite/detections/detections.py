"""Detections: what post-processing hands to evaluation, drawing and files."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from fcoslite.geometry.letterbox import Letterbox


@dataclass(frozen=True, slots=True)
class Detections:
    """What was found in one image, best score first.

    Attributes:
        boxes_xyxy: [N, 4] float32, pixels of the original image.
        scores: [N] float32, sigmoid(class), times sigmoid(quality) where the model has one.
        class_ids: [N] int32, as in files: 1 is the first class.
        class_names: Names by class_id - 1.
        track_ids: [N] int32, the number that a person keeps from frame to frame, from 1 on; -1 where there is none yet;
            None where nobody has tracked.
    """

    boxes_xyxy: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray
    class_names: tuple[str, ...]
    track_ids: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.scores)

    def take(self, rows: np.ndarray) -> "Detections":
        """Those of these rows: indices, or [N] bool."""
        tracks = None if self.track_ids is None else self.track_ids[rows]
        return Detections(self.boxes_xyxy[rows], self.scores[rows], self.class_ids[rows], self.class_names, tracks)

    def to_supervision(self) -> Any:
        """The same as `supervision.Detections`, whose class ids begin at 0; the package supervision must be there."""
        import supervision

        return supervision.Detections(
            xyxy=self.boxes_xyxy,
            confidence=self.scores,
            class_id=self.class_ids - 1,
            tracker_id=self.track_ids,
            data={"class_name": np.array([self.class_names[class_id - 1] for class_id in self.class_ids])},
        )

    @property
    def shown_scores(self) -> np.ndarray:
        """[N] float32, the cube root of the score: what is drawn on a box, as the original detector does."""
        return np.cbrt(self.scores)

    @property
    def labels(self) -> list[str]:
        """`name 0.87` for each box, with the shown score; `name #3 0.87` where it is tracked."""
        tracks = np.full(len(self), -1) if self.track_ids is None else self.track_ids
        return [
            f"{self.class_names[class_id - 1]} {f'#{track} ' if track > 0 else ''}{shown:.2f}"
            for class_id, track, shown in zip(self.class_ids, tracks, self.shown_scores, strict=True)
        ]


def to_detections(
    boxes_xyxy: np.ndarray,
    scores: np.ndarray,
    class_ids: np.ndarray,
    letterbox: Letterbox,
    class_names: tuple[str, ...],
) -> Detections:
    """Boxes [N, 4] in letterboxed pixels as Detections in pixels of the original image, cut at its border."""
    return Detections(
        boxes_xyxy=letterbox.invert_boxes(boxes_xyxy, clip=True),
        scores=scores.astype(np.float32),
        class_ids=class_ids.astype(np.int32),
        class_names=class_names,
    )
