import json
from pathlib import Path

import pytest

from fcoslite.data.skipped import MAX_SKIPPED, SkippedImage, most_skipped, refuse_too_many, summary, write_skipped
from fcoslite.errors import ConfigError, TooManySkippedError


def images(count: int) -> list[SkippedImage]:
    return [SkippedImage(number, f"{number}ü.jpg", "missing") for number in range(count)]


@pytest.mark.parametrize(
    ("max_skipped", "total", "expected"),
    [
        ("1%", 99, 0),
        ("1%", 100, 1),
        ("1%", 199, 1),
        ("0.57%", 10_000, 57),  # in floating point, 56.99...
        ("0%", 100, 0),
        ("100%", 7, 7),
        (" 20 ", 5, 20),
        ("0", 5, 0),
    ],
)
def test_a_count_or_a_share(max_skipped: str, total: int, expected: int) -> None:
    assert most_skipped(max_skipped, total) == expected


@pytest.mark.parametrize("max_skipped", ["", "%", "-1", "101%", "1.5", "nan%", "1e3", "9" * 5000, "1 %%"])
def test_anything_else_is_refused(max_skipped: str) -> None:
    with pytest.raises(ConfigError) as caught:
        most_skipped(max_skipped, 100)
    assert "1%" in caught.value.hint


def test_exactly_as_many_as_allowed_may_be_left_out() -> None:
    refuse_too_many(images(2), 200, MAX_SKIPPED, "")
    with pytest.raises(TooManySkippedError, match=r"3 of 200 .*more than --max-skipped 1% allows") as caught:
        refuse_too_many(images(3), 200, MAX_SKIPPED, "look there")
    assert "--max-skipped" in caught.value.hint and "look there" in caught.value.hint


def test_a_summary_names_the_first() -> None:
    assert summary(images(1), 9) == "1 of 9 images cannot be used (0ü.jpg: missing)"
    assert summary(images(1000), 2000).endswith("(0ü.jpg: missing; 1ü.jpg: missing; 2ü.jpg: missing; ...)")


def test_the_listing_has_a_line_an_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_skipped([], 9, tmp_path)
    assert not list(tmp_path.iterdir()) and not caplog.text
    write_skipped(images(5), 9, tmp_path)
    lines = (tmp_path / "skipped.jsonl").read_text("utf-8").splitlines()
    assert json.loads(lines[4]) == {"image_id": 4, "file_name": "4ü.jpg", "reason": "missing"} and len(lines) == 5
    assert "5 of 9 images cannot be used" in caplog.text
