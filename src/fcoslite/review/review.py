"""A review: which box is asked about next, what was answered, and the annotations that come of it."""

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from fcoslite.config.settings import LossSettings
from fcoslite.data.formats.coco_folder import ANNOTATIONS
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import UnusableImageError, follows_links, read_labelled
from fcoslite.data.skipped import SkippedImage, skipped_image, summary
from fcoslite.errors import DataError
from fcoslite.review.answers import Answers, BoxAnswer, PlaceAnswer, Undo, Word, Written
from fcoslite.review.labels import HUMAN_SCORE, IMAGES, Labels, read_labels, with_answers
from fcoslite.review.verdicts import at_place, match
from fcoslite.storage.files import file_digest, replace_file
from fcoslite.storage.locks import locked
from fcoslite.storage.space import check_writable
from fcoslite.storage.staged_folder import REVIEWS, no_replacement

_log = logging.getLogger("fcoslite")

LABELS = "annotations.before-review.json"
_LOCK = ".review.lock"
_SHARE_DIGITS = 5
_BOX_DIGITS = 2  # as `label` writes them
_SMALLEST = 2.0  # pixels a side, of a box that is drawn
_NAMED = 5  # images, in messages

State = Literal["asked", "yes", "no", "unsure", "sure"]


@dataclass(frozen=True)
class Counts:
    """How far a review is.

    Attributes:
        crops: Boxes that are, or were, asked about.
        left: Those that no answer is known of.
        yes: Answers.
        no: Answers.
        unsure: Answers.
        drawn: Boxes that were added.
        places: Places where nobody ever is.
        at_places: Boxes that were taken away with them.
        skipped_images: Images that could not be shown.
    """

    crops: int
    left: int
    yes: int
    no: int
    unsure: int
    drawn: int
    places: int
    at_places: int
    skipped_images: int


def doubtful_score() -> float:
    """The score of which half of the boxes are right, by the table that training has, too."""
    scores, probabilities = zip(*LossSettings().score_table, strict=True)
    return float(np.interp(0.5, probabilities, scores))


@contextmanager
def open_review(folder: Path, read_only: bool = False) -> Iterator["Review"]:
    """Open the review of a data set, and go on with it if there is one. Its annotations are brought up to date before
    and after.

    Args:
        folder: With annotations.json and images/, as `label` writes it.
        read_only: Write nothing.

    Raises:
        DataError: There is nothing to review, or it cannot be read or written.
        BusyError: Another review of it is open, or it is being labelled.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}", "`fcoslite label PICTURES --out FOLDER` makes one")
    if not (folder / ANNOTATIONS).is_file():
        hint = f"`fcoslite label PICTURES --out FOLDER` makes one; {folder} is to be that folder"
        raise DataError(f"{folder} has no {ANNOTATIONS}", hint)
    check_writable(folder, "review a copy of it")
    with locked(folder / _LOCK, f"the review of {folder}"), no_replacement(folder):
        labels = read_labels(folder / ANNOTATIONS, folder / IMAGES)
        with Answers(folder / REVIEWS) as answers:
            if not answers.given:
                _check_boxes(folder, labels)
            review = Review(folder, labels, answers)
            if read_only:
                yield review
                return
            review.write()
            try:
                yield review
            finally:
                review.write()
                if answers.given:
                    _log.info("all answers are in %s", folder / ANNOTATIONS)


def apply_answers(folder: Path) -> Counts | None:
    """Bring the annotations of a data set that was labelled anew up to the answers that were given about it before.

    Args:
        folder: The data set.

    Returns:
        How far its review is; None if there never was an answer.

    Raises:
        DataError: It cannot be read or written.
        BusyError: A review of it is open.
    """
    if not (folder / REVIEWS).is_file():
        return None
    with Answers(folder / REVIEWS) as answers:
        if not answers.given:
            return None
    with open_review(folder) as review:
        return review.counts()


def _check_boxes(folder: Path, labels: Labels) -> None:
    if not len(labels.table.scores):
        raise DataError(f"{folder / ANNOTATIONS} has no boxes", "label with a lower --score, or draw boxes with a tool")
    if not labels.is_asked().any():
        hint = "boxes without a score are taken for a human's; `fcoslite label` writes boxes with scores"
        raise DataError(f"{folder / ANNOTATIONS} has no box to doubt: none has a score below 1, or `ask`", hint)


class Review:
    """The boxes of a data set that may be doubted, and the answers to them. For several threads.

    Boxes with `ask` come first, then those whose score is nearest to that of which half are right.

    Args:
        folder: The data set.
        labels: Its annotations.json.
        answers: Its journal.

    Attributes:
        labels: As they were before any answer.
    """

    def __init__(self, folder: Path, labels: Labels, answers: Answers) -> None:
        self.folder = folder
        self.labels = labels = _unanswered(folder, labels, answers)
        self._answers = answers
        self._lock = threading.RLock()
        self._follow_links = follows_links(labels.table.folder)
        self._skipped: dict[int, SkippedImage] = {}
        self._usable = np.ones(len(labels.table.images), bool)
        self._asked = labels.is_asked()
        asked = np.flatnonzero(self._asked)
        doubt = np.abs(labels.table.scores - doubtful_score())
        self._order = asked[np.lexsort((asked, doubt[asked], ~labels.asks[asked]))]
        self._answer_of: list[BoxAnswer | None] = [None] * len(labels.images)
        self._is_answered = np.zeros(len(labels.images), bool)
        self._unmatched: dict[int, list[BoxAnswer]] = {}
        self._at_place = np.zeros(len(labels.images), bool)
        self._image_of = {image.file_name: index for index, image in enumerate(labels.table.images)}
        self._rows_of_camera: dict[str, np.ndarray] = {}
        for camera in {camera for camera in labels.cameras if camera is not None}:
            of_camera = np.array([one == camera for one in labels.cameras])
            self._rows_of_camera[camera] = np.flatnonzero(of_camera[labels.images])
        for file_name in answers.of_image:
            self._match(file_name)
        for place in answers.places:
            self._at_place |= self._rows_at(place)

    def ahead(self, count: int) -> list[int]:
        """The boxes that are asked about next, rows of the labels' table."""
        with self._lock:
            open_rows = self._order[self._is_open()[self._order]]
            return [int(row) for row in open_rows[:count]]

    def counts(self) -> Counts:
        """How far it is."""
        with self._lock:
            words = Counter(one.answer for one in self._answers.in_force if isinstance(one, BoxAnswer))
            return Counts(
                crops=len(self._order),
                left=int(np.count_nonzero(self._is_open()[self._order])),
                yes=words["yes"],
                no=words["no"],
                unsure=words["unsure"],
                drawn=words["drawn"],
                places=len(self._answers.places),
                at_places=int(np.count_nonzero(self._is_removed_by_place())),
                skipped_images=len(self._skipped),
            )

    @property
    def last(self) -> str | None:
        """What `undo` would take back, in a word; None if there is nothing."""
        with self._lock:
            if not self._answers.in_force:
                return None
            answer = self._answers.in_force[-1]
            return answer.answer if isinstance(answer, BoxAnswer) else "never"

    def skipped(self) -> list[SkippedImage]:
        """Images that could not be shown."""
        with self._lock:
            return list(self._skipped.values())

    def answer(self, row: int, word: Word) -> None:
        """Answer what a box is; one that is not asked about any more stays as it is.

        Raises:
            FcosliteError: The answer cannot be written, and was not given.
        """
        with self._lock:
            if self._is_open()[row]:
                table = self.labels.table
                name = table.images[self.labels.images[row]].file_name
                score = round(float(table.scores[row]), 4)
                self._give(BoxAnswer(word, name, self.labels.category(row), self.labels.bbox(row), score))

    def never(self, row: int) -> None:
        """Answer that the camera never shows one at the place of a box.

        Raises:
            DataError: It is not known which camera that is.
            FcosliteError: The answer cannot be written, and was not given.
        """
        with self._lock:
            place = self.place(row)
            if place is None:
                raise DataError("of this picture no camera is known, so places mean nothing", "answer n")
            if self._is_open()[row]:
                self._answers.add(place)
                self._at_place |= self._rows_at(place)

    def place(self, row: int) -> PlaceAnswer | None:
        """The place of a box; None if its camera is not known."""
        camera = self.labels.cameras[self.labels.images[row]]
        if camera is None:
            return None
        x, y, width, height = (round(share, _SHARE_DIGITS) for share in self.labels.shares[row].tolist())
        return PlaceAnswer(camera, self.labels.category(row), (x, y, width, height))

    def open_at(self, place: PlaceAnswer) -> int:
        """How many boxes at a place are still asked about."""
        with self._lock:
            return int(np.count_nonzero(self._rows_at(place) & self._is_open()))

    def draw(self, image: int, category: str, bbox: tuple[float, float, float, float]) -> None:
        """Add a box that nobody has seen; what is outside the image is cut off.

        Args:
            image: Its index.
            category: Name.
            bbox: x, y, width, height, pixels.

        Raises:
            DataError: Too little of it is inside.
            FcosliteError: It cannot be written, and was not added.
        """
        record = self.labels.table.images[image]
        inside = _cut(bbox, record.height, record.width)
        if inside is None:
            raise DataError("the box is too small, or outside the picture", "drag from one corner to the other")
        with self._lock:
            self._give(BoxAnswer("drawn", record.file_name, category, inside))

    def undo(self) -> None:
        """Take the last answer back; without one, do nothing.

        Raises:
            FcosliteError: That cannot be written, and was not done.
        """
        with self._lock:
            if not self._answers.in_force:
                return
            answer = self._answers.in_force[-1]
            self._answers.add(Undo())
            if isinstance(answer, BoxAnswer):
                self._match(answer.file_name)
            else:
                self._at_place[:] = False
                for place in self._answers.places:
                    self._at_place |= self._rows_at(place)

    def read(self, image: int) -> np.ndarray | None:
        """The pixels of an image, [h, w, 3] uint8 RGB; None if it cannot be used, and is asked about no more."""
        table = self.labels.table
        try:
            return read_labelled(table.images[image], table.folder, self._follow_links)
        except UnusableImageError as error:
            with self._lock:
                if image not in self._skipped:
                    level = logging.WARNING if len(self._skipped) < _NAMED else logging.DEBUG
                    _log.log(level, "%s; it is left out", error.message)
                    self._skipped[image] = skipped_image(table.images[image], error)
                    self._usable[image] = False
            return None

    def check_images(self) -> None:
        """See that one of the boxes that are asked about can be shown, before anybody is asked.

        Raises:
            DataError: None can, and none has been.
        """
        table = self.labels.table
        while (rows := self.ahead(1)) and self.read(int(self.labels.images[rows[0]])) is None:
            pass
        if not rows and self._skipped and not self._answers.in_force:
            skipped = self.skipped()
            raise DataError(summary(skipped, len(table.images)), explain(skipped, table.images, table.folder))

    def boxes(self, image: int) -> list[tuple[tuple[float, float, float, float], State]]:
        """All boxes of an image, those drawn by the reviewer too, and what is known of each."""
        with self._lock:
            found: list[tuple[tuple[float, float, float, float], State]] = []
            rows = self.labels.table.rows(image)
            for row in range(rows.start, rows.stop):
                found.append((self.labels.bbox(row), self._state(row)))
            return found + [(one.bbox, "yes") for one in self._standing(image)]

    def write(self) -> None:
        """Bring annotations.json up to date, if it is not.

        Raises:
            FcosliteError: It cannot be written; the answers are in the journal.
        """
        with self._lock:
            if not self._answers.given:
                return  # it may be formatted otherwise than we would
            content = self._document()
            path = self.folder / ANNOTATIONS
            digest = hashlib.sha256(content).hexdigest()
            if file_digest(path) == digest:
                return
            labels = self.folder / LABELS
            try:
                if not labels.is_file() or file_digest(labels) != self.labels.digest:
                    replace_file(labels, self.labels.content)
                self._answers.add(Written(digest, self.labels.digest))
                replace_file(path, content)
            except OSError as error:
                hint = f"make room or mend that; every answer is in {self.folder / REVIEWS}, review again to go on"
                raise DataError(f"{path} cannot be written: {error.strerror or error}", hint) from error

    def _give(self, answer: BoxAnswer) -> None:
        self._answers.add(answer)
        self._match(answer.file_name)

    def _match(self, file_name: str) -> None:
        image = self._image_of.get(file_name)
        if image is None:
            return  # it may come back
        table = self.labels.table
        span = table.rows(image)
        is_crowd = self.labels.is_crowd
        rows = [row for row in range(span.start, span.stop) if not is_crowd[row]]
        categories = [self.labels.category(row) for row in rows]
        found, rest = match(table.boxes_xywh[rows], categories, self._answers.of_image.get(file_name, []))
        for row, answer in zip(rows, found, strict=True):
            self._answer_of[row] = answer
            self._is_answered[row] = answer is not None
        self._unmatched[image] = rest

    def _rows_at(self, place: PlaceAnswer) -> np.ndarray:
        mask = np.zeros(len(self.labels.images), bool)
        rows = self._rows_of_camera.get(place.camera, np.zeros(0, np.int64))
        names = self.labels.table.class_names
        if place.category in names:
            rows = rows[self.labels.table.class_ids[rows] == names.index(place.category) + 1]
            mask[rows] = at_place(self.labels.shares[rows], place)
        return mask

    def _is_removed_by_place(self) -> np.ndarray:
        return self._at_place & self._asked & ~self._is_answered

    def _is_open(self) -> np.ndarray:
        return self._asked & ~self._is_answered & ~self._at_place & self._usable[self.labels.images]

    def _state(self, row: int) -> State:
        answer = self._answer_of[row]
        if answer is not None:
            return "yes" if answer.answer == "drawn" else answer.answer
        if not self._asked[row]:
            return "sure"
        return "no" if self._at_place[row] else "asked"

    def _standing(self, image: int) -> list[BoxAnswer]:
        """Boxes of the reviewer's that no label is left for."""
        return [one for one in self._unmatched.get(image, []) if one.answer in ("yes", "drawn")]

    def _document(self) -> bytes:
        labels, table = self.labels, self.labels.table
        ids = table.annotation_ids
        removed = {int(ids[row]) for row in np.flatnonzero(self._is_removed_by_place()).tolist()}
        confirmed: dict[int, dict[str, Any]] = {}
        for row in np.flatnonzero(self._is_answered).tolist():
            answer = self._answer_of[row]
            assert answer is not None
            if answer.answer == "no":
                removed.add(int(ids[row]))
            elif answer.answer != "unsure":
                same = answer.bbox == labels.bbox(row)
                confirmed[int(ids[row])] = {"score": HUMAN_SCORE} | ({} if same else _sides(answer.bbox))
        numbers = {category.name: category.id for category in table.categories}
        added = [
            {
                "image_id": table.images[image].image_id,
                "category_id": numbers[one.category],
                **_sides(one.bbox),
                "iscrowd": 0,
                "score": HUMAN_SCORE,
            }
            for image in sorted(self._unmatched)
            for one in self._standing(image)
            if one.category in numbers
        ]
        return with_answers(labels, removed, confirmed, added)


def _unanswered(folder: Path, labels: Labels, answers: Answers) -> Labels:
    """The labels that annotations.json was made of, if it has answers in it; else, because they are new, itself."""
    sources = {one.labels for one in answers.written if one.annotations == labels.digest}
    path = folder / LABELS
    if sources and path.is_file() and file_digest(path) in sources:
        return read_labels(path, folder / IMAGES)
    return labels


def _cut(bbox: tuple[float, float, float, float], height: int, width: int) -> tuple[float, float, float, float] | None:
    """The part of a box inside an image; None if that is too little."""
    x, y = (round(min(max(side, 0.0), most), _BOX_DIGITS) for side, most in zip(bbox[:2], (width, height), strict=True))
    right, bottom = min(bbox[0] + bbox[2], width), min(bbox[1] + bbox[3], height)
    inside = (x, y, round(right - x, _BOX_DIGITS), round(bottom - y, _BOX_DIGITS))
    return inside if min(inside[2:]) >= _SMALLEST else None


def _sides(bbox: tuple[float, float, float, float]) -> dict[str, Any]:
    return {"bbox": list(bbox), "area": round(bbox[2] * bbox[3], 2)}
