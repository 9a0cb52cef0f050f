"""The journal of a review: what is in force, whatever the file holds."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.review.answers import Answers, BoxAnswer, PlaceAnswer, Undo, Written

BOX = BoxAnswer("yes", "door/a.jpg", "person", (1.0, 2.0, 3.5, 4.0), 0.31)
OTHER = BoxAnswer("no", "door/b.jpg", "person", (1.0, 2.0, 3.5, 4.0), 0.42)
PLACE = PlaceAnswer("door", "person", (0.1, 0.2, 0.3, 0.4))


@given(st.lists(st.sampled_from(["box", "other", "place", "undo", "written"]), max_size=12))
def test_what_is_in_force_is_the_same_after_reading_it_again(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[str]
) -> None:
    path = tmp_path_factory.mktemp("journal") / "reviews.jsonl"
    lines = {"box": BOX, "other": OTHER, "place": PLACE, "undo": Undo(), "written": Written("a", "b")}
    stack: list[object] = []
    with Answers(path) as answers:
        for kind in kinds:
            answers.add(lines[kind])  # type: ignore[arg-type]
            if kind == "undo":
                stack = stack[:-1]
            elif kind != "written":
                stack.append(lines[kind])
        assert answers.in_force == stack
        before = answers.in_force, answers.places, answers.written, {k: v for k, v in answers.of_image.items() if v}
    with Answers(path) as again:
        assert before == (again.in_force, again.places, again.written, {k: v for k, v in again.of_image.items() if v})
    assert again.places == [one for one in stack if one is PLACE or one == PLACE]


def test_lines_can_be_read_by_others(tmp_path: Path) -> None:
    with Answers(tmp_path / "reviews.jsonl") as answers:
        answers.add(BOX)
        answers.add(PLACE)
    box, place = [json.loads(line) for line in (tmp_path / "reviews.jsonl").read_text("utf-8").splitlines()]
    assert box.pop("at").endswith("Z") and place.pop("at").endswith("Z")
    assert box == {
        "type": "box",
        "answer": "yes",
        "file_name": "door/a.jpg",
        "category": "person",
        "bbox": [1.0, 2.0, 3.5, 4.0],
        "score": 0.31,
    }
    assert place == {"type": "never", "camera": "door", "category": "person", "place": [0.1, 0.2, 0.3, 0.4]}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff\xfe",
        b'{"type":"box"}',
        b'{"type":"box","answer":"drawn","file_name":"a","category":"b","bbox":[1,2,3]}',
        b'{"type":"box","answer":"maybe","file_name":"a","category":"b","bbox":[1,2,3,4]}',
        b'{"type":"undo","x":' + b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:30]),
)
def test_lines_that_are_no_answers(tmp_path: Path, line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "reviews.jsonl"
    with Answers(path) as answers:
        answers.add(BOX)
    path.write_bytes(line + b"\n" + path.read_bytes() + line + b"\n")
    with Answers(path) as answers:
        assert answers.in_force == [BOX]
        answers.add(OTHER)
    assert "reviews.jsonl: 2 damaged lines are left as they are, and not counted: line 1, 3" in caplog.text
    with Answers(path) as answers:
        assert answers.in_force == [BOX, OTHER]
