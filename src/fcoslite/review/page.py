"""The page of a review: crops go to the browser ahead of time, answers come back, one message each."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from math import isfinite
from typing import Any, Literal

import msgspec

from fcoslite.browser.page import Page, problem
from fcoslite.browser.visitor import NotUnderstood, Visitor
from fcoslite.errors import FcosliteError
from fcoslite.review.crops import cut_crop, whole_picture
from fcoslite.review.review import Review

_AHEAD = 5  # crops that a browser has, the one that is shown among them
_WAIT_SECONDS = 0.2  # Ctrl-C is heard between waits
_IDLE_SECONDS = 5.0  # without an answer, until annotations.json is brought up to date

_Row = int


class _Answer(msgspec.Struct, tag_field="type", tag="answer"):
    """`crop` is the number of a box, its row."""

    crop: int
    answer: Literal["yes", "no", "unsure", "never"]


class _UndoLast(msgspec.Struct, tag_field="type", tag="undo"):
    """The last answer is taken back."""


class _Look(msgspec.Struct, tag_field="type", tag="look"):
    """A whole picture is asked for, by its index."""

    image: int


class _Draw(msgspec.Struct, tag_field="type", tag="draw"):
    """Somebody was missed; `box` is x, y, width, height in pixels of the image."""

    image: int
    category: str
    box: tuple[float, float, float, float]


_Message = _Answer | _UndoLast | _Look | _Draw


@dataclass(eq=False)
class _Reviewer(Visitor):
    """A browser that has the page open.

    Attributes:
        sent: Crops that it has.
        looks_at: The whole picture that it was sent last, if any.
        wanted: Set when others may be wanted.
        feeding: What sends crops.
    """

    sent: set[_Row] = field(default_factory=set)
    looks_at: int | None = None
    wanted: asyncio.Event = field(default_factory=asyncio.Event)
    feeding: asyncio.Task[None] | None = None


class ReviewPage(Page[_Reviewer]):
    """Asks about the boxes of a review; to be used in `with`.

    An answer is on the disk before the browser is told to show the next crop, which it has by then.

    Args:
        review: What is reviewed.
        host: The name or number to listen at.
        port: 0 for any that is free.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, review: Review, host: str, port: int) -> None:
        super().__init__("fcoslite.review", host, port)
        self._review = review
        self._changed_at: float | None = None  # annotations.json is older

    def run(self) -> None:
        """Serve until the user ends it, and keep annotations.json up to date meanwhile.

        Raises:
            KeyboardInterrupt: Ctrl-C.
            FcosliteError: annotations.json cannot be written.
        """
        while not self.stopped:
            with self.changed:
                if not self.stopped:
                    self.changed.wait(_WAIT_SECONDS)
            changed_at = self._changed_at
            if changed_at is not None and time.monotonic() - changed_at > _IDLE_SECONDS:
                self._review.write()
                if self._changed_at == changed_at:  # else another answer has come meanwhile
                    self._changed_at = None

    async def greet(self, websocket: Any) -> _Reviewer:
        """Tell it how far the review is, and begin to send crops."""
        reviewer = _Reviewer(websocket)
        await self._tell_state(reviewer)
        reviewer.feeding = asyncio.create_task(self._feed(reviewer))
        return reviewer

    async def leave(self, visitor: _Reviewer) -> None:
        """Send it nothing more."""
        if visitor.feeding is not None:
            visitor.feeding.cancel()
            with suppress(asyncio.CancelledError):
                await visitor.feeding

    async def obey(self, visitor: _Reviewer, kind: str, message: dict[str, Any]) -> None:
        """Write an answer down, or show a whole picture."""
        try:
            wish = msgspec.convert(message, _Message)
        except msgspec.ValidationError:
            raise NotUnderstood(f"it sent a message of the kind {kind[:20]!r}") from None
        self._check(wish)
        if isinstance(wish, _Look):
            await self._show_picture(visitor, wish.image)
            return
        try:
            await asyncio.to_thread(self._do, wish)  # it waits for the disk
        except FcosliteError as error:
            await visitor.send(problem(f"{error.message}; {error.hint}"))
        await self._tell_state(visitor)
        if visitor.looks_at is not None:
            await visitor.send({"type": "boxes", "image": visitor.looks_at, "boxes": self._boxes(visitor.looks_at)})

    def _check(self, wish: _Message) -> None:
        table = self._review.labels.table
        if isinstance(wish, _Answer) and not 0 <= wish.crop < len(table.scores):
            raise NotUnderstood("it answered about a box that is not there")
        if isinstance(wish, _Look | _Draw) and not 0 <= wish.image < len(table.images):
            raise NotUnderstood("it asked for a picture that is not there")
        if isinstance(wish, _Draw) and not (wish.category in table.class_names and all(map(isfinite, wish.box))):
            raise NotUnderstood("it drew a box of a category that is not there, or without end")

    def _do(self, wish: _Answer | _UndoLast | _Draw) -> None:
        if isinstance(wish, _Draw):
            self._review.draw(wish.image, wish.category, wish.box)
        elif isinstance(wish, _UndoLast):
            self._review.undo()
        elif wish.answer == "never":
            self._review.never(wish.crop)
        else:
            self._review.answer(wish.crop, wish.answer)
        self._changed_at = time.monotonic()

    async def _tell_state(self, reviewer: _Reviewer) -> None:
        ahead = self._review.ahead(_AHEAD)
        reviewer.sent &= set(ahead)  # it forgets the others
        counts = self._review.counts()
        table = self._review.labels.table
        await reviewer.send(
            {
                "type": "state",
                "ahead": ahead,
                "counts": msgspec.to_builtins(counts),
                "last": self._review.last,
                "skipped": [one.file_name for one in self._review.skipped()[:3]],
                "images": len(table.images),
                "categories": table.class_names,
            }
        )
        reviewer.wanted.set()

    async def _feed(self, reviewer: _Reviewer) -> None:
        """Send crops that are asked about next, as long as there are any that it does not have."""
        while True:
            await reviewer.wanted.wait()
            reviewer.wanted.clear()
            while lacks := [row for row in self._review.ahead(_AHEAD) if row not in reviewer.sent]:
                made = await asyncio.to_thread(self._crop, lacks[0])
                if made is None:
                    await self._tell_state(reviewer)
                    continue
                reviewer.sent.add(lacks[0])
                await reviewer.send(*made)

    def _crop(self, row: _Row) -> tuple[dict[str, Any], bytes] | None:
        """A crop and what is known of it; None if its image cannot be used."""
        labels = self._review.labels
        image = int(labels.images[row])
        image_rgb = self._review.read(image)
        if image_rgb is None:
            return None
        crop = cut_crop(image_rgb, labels.bbox(row))
        place = self._review.place(row)
        about = {
            "type": "crop",
            "crop": row,
            "image": image,
            "name": labels.table.images[image].file_name,
            "camera": labels.cameras[image],
            "time": labels.times[image],
            "category": labels.category(row),
            "score": round(float(labels.table.scores[row]), 3),
            "ask": bool(labels.asks[row]),
            "here": None if place is None else self._review.open_at(place),
            "region": crop.region,
            "box": labels.bbox(row),
        }
        return about, crop.jpeg

    async def _show_picture(self, reviewer: _Reviewer, image: int) -> None:
        record = self._review.labels.table.images[image]
        image_rgb = await asyncio.to_thread(self._review.read, image)
        if image_rgb is None:
            await self._tell_state(reviewer)
            reason = next(one.reason for one in self._review.skipped() if one.file_name == record.file_name)
            await reviewer.send(problem(f"{record.file_name}: {reason}"))
            return
        reviewer.looks_at = image
        jpeg = await asyncio.to_thread(whole_picture, image_rgb)
        about = {
            "type": "picture",
            "image": image,
            "name": record.file_name,
            "camera": self._review.labels.cameras[image],
            "time": self._review.labels.times[image],
            "width": image_rgb.shape[1],
            "height": image_rgb.shape[0],
            "boxes": self._boxes(image),
        }
        await reviewer.send(about, jpeg)

    def _boxes(self, image: int) -> list[dict[str, Any]]:
        return [{"box": box, "state": state} for box, state in self._review.boxes(image)]
