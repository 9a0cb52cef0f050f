"""`review` as its user sees it, in a real Chromium; run by `nox -s browser`, which keeps the pictures."""

import os
import re
import signal
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.cables import Cable
from tests.review_pages import Review, current, press, until
from tests.review_sets import change, copied, document, labelled_camera, more_than_a_thousand_boxes

pytestmark = pytest.mark.browser

SCREENSHOTS = Path(os.environ.get("FCOSLITE_SCREENSHOTS", "."))
PAGE_SECONDS, CROP_SECONDS = 1.0, 0.05  # what must be reached

# from the key to the next crop on the canvas, and when the first one was there; taken in the page, by its own clock
WATCH = """
window.drawn = []; window.keys = [];
addEventListener("keydown", () => keys.push(performance.now()), true);
addEventListener("DOMContentLoaded", () => {
  const canvas = document.getElementById("picture");
  let last;
  new MutationObserver(() => {
    if (canvas.dataset.crop && canvas.dataset.crop !== last) drawn.push(performance.now());
    last = canvas.dataset.crop;
  }).observe(canvas, {attributes: true, attributeFilter: ["data-crop"]});
});
"""


@pytest.fixture(scope="module")
def many(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return more_than_a_thousand_boxes(demo_data, tmp_path_factory.mktemp("many"))


@pytest.fixture(scope="module")
def camera(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = labelled_camera(demo_data, tmp_path_factory.mktemp("camera"))
    content = document(folder)
    for number, image in enumerate(content["images"]):
        image |= {"camera": "door", "date_captured": f"2026-11-28T22:41:{number:02}.120Z"}
    content["annotations"][0]["ask"] = True
    change(folder, **content)
    return folder


@pytest.fixture
def browser(launch: Callable[..., Any]) -> Any:
    return launch()


def open_page(browser: Any, review: Review, faults: list[str], address: str | None = None, **options: Any) -> Any:
    address = address or review.address
    context = browser.new_context(**{"viewport": {"width": 1100, "height": 680}, **options})
    context.add_init_script(WATCH)
    page = context.new_page()
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: None if request.url == address else faults.append(request.url))
    page.goto(address)
    page.wait_for_selector("#picture[data-crop]")
    return page


def is_inside(page: Any, element: str) -> bool:
    box = page.locator(element).bounding_box()
    size = page.viewport_size
    return bool(
        box["x"] >= 0 and box["x"] + box["width"] <= size["width"] and box["y"] + box["height"] <= size["height"]
    )


def test_a_hundred_crops_by_keys(browser: Any, many: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    faults: list[str] = []
    folder = copied(many, tmp_path / "set")
    with Review(folder) as review:
        page = open_page(browser, review, faults)
        page_seconds = page.evaluate("() => drawn[0]") / 1e3  # since the page was asked for
        for number in range(100):
            press(page, "yn"[number % 2])
            page.wait_for_timeout(100)  # ten crops a second: the next must have come by then
        keys, drawn = page.evaluate("() => [keys, drawn]")
        seconds = [(shown - key) / 1e3 for key, shown in zip(keys, drawn[1:], strict=True)]
        page.click("#stop")
        result = review.result()
        page.wait_for_selector("#done:not([hidden])")
        page.screenshot(path=SCREENSHOTS / "review-end.png")
    median, worst = statistics.median(seconds), statistics.quantiles(seconds, n=20)[-1]
    with capsys.disabled():
        print(
            f"\nreview, {result['crops']:,} crops: page after {page_seconds:.2f} s; next crop after "
            f"{1e3 * median:.1f} ms (median), {1e3 * worst:.1f} ms (95 of 100), {1e3 * max(seconds):.1f} ms (all)"
        )
    assert faults == []
    assert (result["yes"], result["no"]) == (50, 50)
    assert [line["answer"] for line in review.lines] == ["yes", "no"] * 50
    assert page_seconds < PAGE_SECONDS and median < CROP_SECONDS
    assert len(document(folder)["annotations"]) == result["crops"] - 50


def test_keys_that_come_too_fast_answer_nothing_unseen(browser: Any, many: Path, tmp_path: Path) -> None:
    faults: list[str] = []
    with Review(copied(many, tmp_path / "set")) as review:
        page = open_page(browser, review, faults)
        page.evaluate(
            """() => { for (let i = 0; i < 50; i++) dispatchEvent(new KeyboardEvent("keydown", {key: "n"})); }"""
        )
        until(page, lambda: len(page.evaluate("() => drawn")) > 1)
        page.wait_for_timeout(300)
        assert len(review.lines) == 1  # the others came before the second crop was shown
        page.evaluate("() => dispatchEvent(new KeyboardEvent('keydown', {key: 'n', repeat: true}))")
        page.evaluate("() => dispatchEvent(new KeyboardEvent('keydown', {key: 'n', ctrlKey: true}))")
        page.wait_for_timeout(200)
        assert len(review.lines) == 1
    assert faults == []


def test_a_camera_by_keys_and_a_drag(browser: Any, camera: Path, tmp_path: Path) -> None:
    faults: list[str] = []
    folder = copied(camera, tmp_path / "set")
    with Review(folder) as review:
        page = open_page(browser, review, faults)
        assert "stands still" in page.inner_text("#about") and "door" in page.inner_text("#about")
        page.screenshot(path=SCREENSHOTS / "review.png")
        first = current(page)
        press(page, "y")
        press(page, "n")
        press(page, "u")
        press(page, "u")
        assert current(page) == first
        press(page, "s")
        assert re.search(r"Never at this place \(\d\)", page.inner_text("#never"))
        press(page, "p")
        assert [line.get("answer", line["type"]) for line in review.lines] == [
            "yes",
            "no",
            "undo",
            "undo",
            "unsure",
            "never",
        ]
        page.keyboard.press("w")
        page.wait_for_selector("#picture[data-picture]")
        place = page.locator("#picture").bounding_box()
        page.mouse.move(place["x"] + 300, place["y"] + 250)
        page.mouse.down()
        page.mouse.move(place["x"] + 380, place["y"] + 470, steps=5)
        page.mouse.up()
        until(page, lambda: len(review.lines) == 7)
        page.mouse.click(place["x"] + 100, place["y"] + 250)  # a click is no box
        page.wait_for_timeout(200)
        page.screenshot(path=SCREENSHOTS / "review-whole.png")
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=SCREENSHOTS / "review-whole-dark.png")
        drawn = review.lines[-1]
        image = document(folder)["images"][0]
        scale = min(place["width"] / image["width"], place["height"] / image["height"])
        left = (place["width"] - image["width"] * scale) / 2
        top = (place["height"] - image["height"] * scale) / 2
        expected = [(300 - left) / scale, (250 - top) / scale, 80 / scale, 220 / scale]
        assert drawn["answer"] == "drawn" and drawn["bbox"] == pytest.approx(expected, abs=1.5)
        name = page.get_attribute("#picture", "data-picture")
        page.keyboard.press("ArrowRight")
        until(page, lambda: page.get_attribute("#picture", "data-picture") != name)
        page.keyboard.press("y")  # nothing is asked here
        page.keyboard.press("u")
        until(page, lambda: len(review.lines) == 8)
        assert review.lines[-1]["type"] == "undo"
        page.keyboard.press("Escape")
        page.wait_for_selector("#yes:visible")
        page.screenshot(path=SCREENSHOTS / "review-dark.png")
        press(page, "y")
        assert len(review.lines) == 9
    assert faults == []


def test_by_touch_on_a_telephone(browser: Any, camera: Path, tmp_path: Path) -> None:
    faults: list[str] = []
    telephone = {
        "viewport": {"width": 400, "height": 800},
        "has_touch": True,
        "is_mobile": True,
        "device_scale_factor": 2,
    }
    folder = copied(camera, tmp_path / "set")
    with Review(folder) as review:
        page = open_page(browser, review, faults, **telephone)
        for button in ("yes", "no", "never", "whole", "unsure", "undo", "stop"):
            assert is_inside(page, f"#{button}")
            assert page.locator(f"#{button}").bounding_box()["height"] >= 40
        assert page.evaluate("() => document.documentElement.scrollWidth") == 400
        for button in ("yes", "no", "unsure", "undo"):
            before = current(page)
            page.tap(f"#{button}")
            until(page, lambda before=before: current(page) != before)
        assert [line.get("answer", line["type"]) for line in review.lines] == ["yes", "no", "unsure", "undo"]
        page.screenshot(path=SCREENSHOTS / "review-telephone.png")
        page.emulate_media(color_scheme="dark")
        page.screenshot(path=SCREENSHOTS / "review-telephone-dark.png")
        page.tap("#whole")
        page.wait_for_selector("#picture[data-picture]")
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *points: tuple[float, float]) -> None:
            touches = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(points)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})

        place = page.locator("#picture").bounding_box()
        middle = place["height"] / 2
        touch("touchStart", (150, middle))
        touch("touchStart", (150, middle), (250, middle))  # two fingers enlarge, and draw nothing
        for step in range(1, 6):
            touch("touchMove", (150 - 20 * step, middle), (250 + 20 * step, middle))
        touch("touchEnd")
        page.wait_for_timeout(200)
        assert len(review.lines) == 4
        touch("touchStart", (120, middle - 60))
        for step in range(1, 6):
            touch("touchMove", (120 + 16 * step, middle - 60 + 30 * step))
        touch("touchEnd")
        until(page, lambda: len(review.lines) == 5)
        page.wait_for_timeout(200)
        page.screenshot(path=SCREENSHOTS / "review-telephone-whole.png")
        image = document(folder)["images"][0]
        fit = min(400 / image["width"], place["height"] / image["height"])
        assert review.lines[-1]["bbox"][2:] == pytest.approx([80 / fit / 3, 150 / fit / 3], rel=0.06)  # enlarged by 3
        page.tap("#back")
        page.tap("#stop")
        assert review.result()["drawn"] == 1
    assert faults == []


def test_a_lid_that_is_closed_and_a_kill(browser: Any, camera: Path, tmp_path: Path) -> None:
    faults: list[str] = []
    folder = copied(camera, tmp_path / "set")
    with Review(folder) as review:
        page = open_page(browser, review, faults)
        press(page, "y")
        review.process.send_signal(signal.SIGSTOP)  # as a tunnel that is cut: nobody is told
        page.keyboard.press("n")
        page.wait_for_selector("#status.bad")
        assert "may not be saved" in page.inner_text("#status")
        page.keyboard.press("n")  # answers nothing: it is not known what is asked
        review.process.send_signal(signal.SIGCONT)
        page.wait_for_selector("#status:not(.bad)", state="attached")
        if len(review.lines) == 1:  # it was not, and is asked again
            press(page, "n")
        page.close()
        page = open_page(browser, review, faults)  # on the next morning
        assert page.inner_text("#progress").startswith("2 of")
        asked = current(page)
        review.process.kill()
        page.wait_for_selector("#status.bad")
        page.keyboard.press("y")  # nobody hears it, and the page says so
        assert "does not answer" in page.inner_text("#status")
    with Review(folder) as review:
        page = open_page(browser, review, [])
        assert current(page) == asked and page.inner_text("#progress").startswith("2 of")
    assert [one for one in faults if "WebSocket" not in one and "net::ERR_" not in one] == []


def test_a_connection_that_is_lost_before_a_whole_picture(browser: Any, camera: Path, tmp_path: Path) -> None:
    """What is drawn meanwhile is not lost in silence, and what is drawn afterwards is seen."""
    folder = copied(camera, tmp_path / "set")

    def drag(left: int) -> None:
        place = page.locator("#picture").bounding_box()
        page.mouse.move(place["x"] + left, place["y"] + 250)
        page.mouse.down()
        page.mouse.move(place["x"] + left + 80, place["y"] + 470, steps=5)
        page.mouse.up()

    with Review(folder) as review:
        port = urlsplit(review.address).port
        cable = Cable(port)
        page = open_page(browser, review, [], review.address.replace(f":{port}/", f":{cable.port}/"))
        page.keyboard.press("w")
        page.wait_for_selector("#picture[data-picture]")
        cable.pull_out()
        page.wait_for_selector("#status.bad")
        drag(300)
        assert "does not answer" in page.inner_text("#status") and review.lines == []
        page.keyboard.press("Escape")
        page.click("#stop")
        assert "cannot be ended from here" in page.inner_text("#status")
        cable.plug_in()
        page.wait_for_selector("#status:not(.bad)", state="attached")
        page.keyboard.press("w")
        page.wait_for_selector("#whole-keys:visible")
        boxes = page.evaluate("whole.about.boxes.length")
        drag(320)
        until(page, lambda: len(review.lines) == 1)
        cable.pull_out()
        page.wait_for_selector("#status.bad")
        cable.plug_in()
        page.wait_for_selector("#status:not(.bad)", state="attached")
        drag(360)
        until(page, lambda: len(review.lines) == 2)
        until(page, lambda: page.evaluate("whole.about.boxes.length") == boxes + 2)
        page.keyboard.press("Escape")
        page.click("#stop")
        assert review.process.wait(20) == 0
