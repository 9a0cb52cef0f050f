"""The page of a review, driven as its script drives it: real sockets, photographs that the detector has labelled."""

import io
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from fcoslite.review import page as page_module
from fcoslite.review.page import ReviewPage
from fcoslite.review.review import open_review
from fcoslite.storage.staged_folder import REVIEWS
from tests.browser_visits import closed_with, get, visit
from tests.review_sets import change, document


class Script:
    """What the page's script knows."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.state: dict[str, Any] = {}
        self.crops: dict[int, tuple[dict[str, Any], Image.Image]] = {}
        self.picture: tuple[dict[str, Any], Image.Image] | None = None
        self.boxes: list[dict[str, Any]] = []
        self.problems: list[str] = []

    def hear(self) -> str:
        """Take a message, and the picture that follows it."""
        text = self.socket.recv(timeout=20)
        assert isinstance(text, str)
        message = json.loads(text)
        kind = str(message["type"])
        if kind in ("crop", "picture"):
            content = self.socket.recv(timeout=20)
            assert isinstance(content, bytes)
            shown = message, Image.open(io.BytesIO(content))
            if kind == "crop":
                self.crops[message["crop"]] = shown
            else:
                self.picture, self.boxes = shown, message["boxes"]
        elif kind == "state":
            self.state = message
            self.crops = {row: crop for row, crop in self.crops.items() if row in message["ahead"]}
        elif kind == "boxes":
            self.boxes = message["boxes"]
        elif kind == "problem":
            self.problems.append(message["message"])
        return kind

    def until(self, true: Callable[[], bool]) -> None:
        while not true():
            self.hear()

    def ask(self, **message: Any) -> None:
        """Send a message, and take the answer."""
        self.socket.send(json.dumps(message))
        while self.hear() not in ("state", "picture", "problem"):
            pass

    @property
    def current(self) -> int:
        """The box that is asked about, once it is there."""
        self.until(lambda: bool(self.state))
        row = int(self.state["ahead"][0])
        self.until(lambda: row in self.crops)
        return row

    @property
    def crop(self) -> tuple[dict[str, Any], Image.Image]:
        """What is known of it, and what is shown."""
        row = self.current
        return self.crops[row]

    def answer(self, word: str) -> int:
        row = self.current
        self.ask(type="answer", crop=row, answer=word)
        return row


@contextmanager
def reviewing(folder: Path) -> Iterator[ReviewPage]:
    with open_review(folder) as review, ReviewPage(review, "127.0.0.1", 0) as page:
        yield page


@contextmanager
def script(address: str) -> Iterator[Script]:
    with visit(address, max_size=None) as socket:
        yield Script(socket)


def journal(folder: Path) -> list[dict[str, Any]]:
    path = folder / REVIEWS
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_one_message_a_crop_and_the_next_is_there_before(photographs: Path) -> None:
    with reviewing(photographs) as page, script(page.address) as browser:
        about, crop = browser.crop
        assert browser.state["counts"]["left"] == browser.state["counts"]["crops"] > 100
        x, y, width, height = about["region"]
        left, top, wide, high = about["box"]
        assert x <= left and y <= top and left + wide <= x + width + 1 and top + high <= y + height + 1
        assert crop.size == (width, height) and about["category"] == "person" and about["here"] is None
        browser.until(lambda: len(browser.crops) == len(browser.state["ahead"]))
        for word in ("yes", "no", "unsure"):
            expected = browser.state["ahead"][1]
            row = browser.answer(word)
            assert journal(photographs)[-1]["answer"] == word  # on the disk when the page hears of it
            assert browser.state["last"] == word
            assert browser.state["ahead"][0] == expected != row and expected in browser.crops  # it had come before
        browser.ask(type="undo")
        assert browser.current == row and browser.state["last"] == "no"
        assert journal(photographs)[-1]["type"] == "undo"
    assert sum(one["score"] == 1 for one in document(photographs)["annotations"]) == 1


def test_a_whole_picture_and_someone_who_was_missed(photographs: Path) -> None:
    with reviewing(photographs) as page, script(page.address) as browser:
        browser.answer("no")
        browser.ask(type="look", image=3)
        assert browser.picture is not None
        about, picture = browser.picture
        image = document(photographs)["images"][3]
        assert (about["name"], about["width"], about["height"]) == (
            image["file_name"],
            image["width"],
            image["height"],
        )
        assert picture.size == (image["width"], image["height"])
        known = len(browser.boxes)
        browser.ask(type="draw", image=3, category="person", box=[20.25, 30, 40, 50])
        browser.until(lambda: len(browser.boxes) > known)
        assert browser.boxes[-1] == {"box": [20.25, 30, 40, 50], "state": "yes"}
        browser.ask(type="draw", image=3, category="person", box=[-20, -30, 15, 20])
        assert "too small, or outside the picture" in browser.problems[0]
        browser.ask(type="undo")
        browser.until(lambda: len(browser.boxes) == known)
        assert [line["type"] for line in journal(photographs)] == ["box", "box", "undo"]


def test_a_box_of_another_category(photographs: Path) -> None:
    content = document(photographs)
    change(photographs, categories=[*content["categories"], {"id": 18, "name": "dog"}])
    with reviewing(photographs) as page, script(page.address) as browser:
        browser.until(lambda: bool(browser.state))
        assert browser.state["categories"] == ["person", "dog"]
        browser.ask(type="draw", image=0, category="dog", box=[20, 30, 40, 50])
    assert document(photographs)["annotations"][-1]["category_id"] == 18


def test_never_at_this_place(camera: Path) -> None:
    with reviewing(camera) as page, script(page.address) as browser:
        about, _ = browser.crop
        assert about["camera"] == "door" and about["here"] > 2
        left = browser.state["counts"]["left"]
        browser.answer("never")
        assert browser.state["counts"]["left"] == left - about["here"]
        assert journal(camera)[-1]["camera"] == "door"


def test_no_place_without_a_camera_is_a_problem_that_is_told(photographs: Path) -> None:
    with reviewing(photographs) as page, script(page.address) as browser:
        row = browser.answer("never")
        assert "no camera is known" in browser.problems[0]
        browser.hear()
        assert browser.current == row and journal(photographs) == []


def test_to_the_end_and_back(camera: Path) -> None:
    with reviewing(camera) as page, script(page.address) as browser:
        browser.until(lambda: bool(browser.state))
        count = browser.state["counts"]["crops"]
        for number in range(count):
            browser.answer("yes" if number % 3 else "no")
        assert browser.state["ahead"] == [] and browser.state["counts"]["left"] == 0
    with reviewing(camera) as page, script(page.address) as browser:  # all are answered: there is still `undo`
        browser.until(lambda: bool(browser.state))
        assert browser.state["ahead"] == []
        browser.ask(type="undo")
        assert browser.current >= 0
    content = document(camera)["annotations"]
    assert all(one["score"] == 1 for one in content if one["score"] != min(each["score"] for each in content))


def test_the_annotations_come_up_to_date_when_nobody_answers(
    photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "_IDLE_SECONDS", 0.5)
    count = len(document(photographs)["annotations"])
    with reviewing(photographs) as page, script(page.address) as browser:
        running = threading.Thread(target=page.run)
        running.start()
        browser.answer("no")
        deadline = time.monotonic() + 20
        while len(document(photographs)["annotations"]) == count:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        browser.socket.send(json.dumps({"type": "stop"}))
        running.join(20)
        assert not running.is_alive()


def test_pictures_that_cannot_be_shown_are_passed_over(photographs: Path) -> None:
    with open_review(photographs) as review:
        rows = review.ahead(1000)
        names = [review.labels.table.images[review.labels.images[row]].file_name for row in rows]
    bad = list(dict.fromkeys(names))[:2]
    (photographs / "images" / bad[0]).write_bytes(b"")
    (photographs / "images" / bad[1]).unlink()
    with reviewing(photographs) as page, script(page.address) as browser:
        browser.until(lambda: bool(browser.state) and browser.state["counts"]["skipped_images"] == 2)
        assert set(browser.state["skipped"]) == set(bad)
        about, _ = browser.crop
        assert about["name"] not in bad
        index = next(place for place, one in enumerate(document(photographs)["images"]) if one["file_name"] == bad[1])
        browser.ask(type="look", image=index)
        browser.until(lambda: bool(browser.problems))
        assert browser.problems == [f"{bad[1]}: missing"]


HOSTILE = [
    {"type": "answer", "crop": -1, "answer": "yes"},
    {"type": "answer", "crop": 10**9, "answer": "yes"},
    {"type": "answer", "crop": 0, "answer": "drawn"},
    {"type": "answer", "crop": "0", "answer": "yes"},
    {"type": "answer", "crop": 0},
    {"type": "look", "image": -1},
    {"type": "look", "image": 10**30},
    {"type": "draw", "image": 0, "category": "../x", "box": [1, 2, 30, 40]},
    {"type": "draw", "image": 0, "category": "person", "box": [1, 2, 30]},
    {"type": "draw", "image": 0, "category": "person", "box": [1, 2, 30, float("nan")]},
    {"type": "draw", "image": 0, "category": "person", "box": [1, 2, float("inf"), 30]},
    {"type": "draw", "image": 99, "category": "person", "box": [1, 2, 30, 40]},
]


@pytest.mark.parametrize("message", HOSTILE, ids=str)
def test_messages_that_our_page_does_not_send(photographs: Path, message: dict[str, Any]) -> None:
    with reviewing(photographs) as page:
        with script(page.address) as browser:
            browser.socket.send(json.dumps(message))
            assert closed_with(browser.socket) == 1008
        with script(page.address) as browser:
            browser.answer("yes")
        assert len(journal(photographs)) == 1
        with script(page.address) as browser:
            browser.socket.send(b"a picture")
            assert closed_with(browser.socket) == 1008


def test_no_picture_of_the_set_is_served_by_its_name(photographs: Path) -> None:
    name = document(photographs)["images"][0]["file_name"]
    with reviewing(photographs) as page:
        path = "/" + page.address.split("/", 3)[3]
        for other in (f"{path}images/{name}", f"{path}{name}", f"/images/{name}", f"{path}annotations.json"):
            assert get(page.address, other)[0] == 404


# --- the command


class Command:
    """`fcoslite review`, running."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        words = [sys.executable, "-m", "fcoslite", "review", str(folder), "--port", "0", "--json", *arguments]
        self.process = subprocess.Popen(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        found = re.search(r"http://\S+", line)
        assert found is not None, line + self.process.stderr.read()
        self.address = found[0]

    def __enter__(self) -> "Command":
        return self

    def __exit__(self, *of_an_error: object) -> None:
        self.process.kill()
        self.process.communicate()


def test_killed_in_the_middle_again_and_again(photographs: Path) -> None:
    """What the page was told is on the disk, and what is on the disk is in the annotations."""
    before = document(photographs)["annotations"]
    rng = random.Random(0)
    heard: list[tuple[int, str]] = []
    for _ in range(5):
        with Command(photographs) as command, script(command.address) as browser:
            browser.until(lambda browser=browser: bool(browser.state))  # type: ignore[misc]
            assert browser.state["counts"]["yes"] + browser.state["counts"]["no"] >= len(heard)
            answered = [line for line in journal(photographs) if line["type"] == "box"]
            assert [line["answer"] for line in answered[: len(heard)]] == [word for _, word in heard]
            heard = [(0, line["answer"]) for line in answered]  # one may be on the disk that no page was told of
            threading.Timer(rng.uniform(0.05, 0.6), command.process.kill).start()
            try:
                while True:
                    word = rng.choice(["yes", "no"])
                    heard.append((browser.answer(word), word))
            except ConnectionClosed:
                pass
            assert command.process.wait(20) == -signal.SIGKILL
    answered = [line for line in journal(photographs) if line["type"] == "box"]
    assert len(answered) >= len(heard) > 4
    with open_review(photographs):
        pass
    after = document(photographs)["annotations"]
    assert len(after) == len(before) - sum(line["answer"] == "no" for line in answered)
    assert sum(one["score"] == 1 for one in after) == sum(line["answer"] == "yes" for line in answered)


@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_it_with_the_annotations_written(photographs: Path, number: signal.Signals, code: int) -> None:
    with Command(photographs) as command, script(command.address) as browser:
        browser.answer("no")
        count = len(document(photographs)["annotations"])
        command.process.send_signal(number)
        assert command.process.wait(20) == code
        assert len(document(photographs)["annotations"]) == count - 1


def test_the_button_ends_it_and_the_result_is_told(photographs: Path) -> None:
    with Command(photographs) as command, script(command.address) as browser:
        browser.answer("yes")
        second = subprocess.run(
            [sys.executable, "-m", "fcoslite", "review", str(photographs), "--port", "0"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert second.returncode == 1
        assert "error: the review of" in second.stderr and "hint: wait until it ends, or stop it" in second.stderr
        browser.socket.send(json.dumps({"type": "stop"}))
        out, _ = command.process.communicate(timeout=20)
        result = json.loads(out)
    assert command.process.returncode == 0
    assert result["yes"] == 1 and result["left"] == result["crops"] - 1
