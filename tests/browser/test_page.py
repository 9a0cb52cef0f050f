"""What holds for every page of ours: it is for who has its address, for one browser at a time, and serves no more."""

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from fcoslite.browser import page as page_module
from fcoslite.browser.page import Page, check_browser
from fcoslite.config.settings import WebcamSettings
from fcoslite.errors import ConfigError, FcosliteError
from fcoslite.inference.adjustable import AdjustablePredictor
from fcoslite.inference.browser.page import BrowserPage
from fcoslite.review.page import ReviewPage
from fcoslite.review.review import open_review
from fcoslite.runs.find_weights import find_weights
from tests.browser_visits import closed_with, get, told, visit
from tests.review_sets import labelled_photographs

Opens = Callable[[str, int], Page[Any]]


@pytest.fixture(scope="module")
def lite0() -> AdjustablePredictor:
    return AdjustablePredictor(find_weights("lite0", Path("runs")), WebcamSettings(score=0.35, iou=0.5), "auto")


@pytest.fixture(scope="module")
def labelled(demo_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled_photographs(demo_data, tmp_path_factory.mktemp("labelled") / "photographs")


@pytest.fixture(params=["webcam", "review"])
def opens(request: pytest.FixtureRequest) -> Iterator[Opens]:
    """Each page, by the host and port that it listens at."""
    if request.param == "webcam":
        predictor = request.getfixturevalue("lite0")
        yield lambda host, port: BrowserPage(predictor, None, host, port)
    else:
        with open_review(request.getfixturevalue("labelled")) as review:
            yield lambda host, port: ReviewPage(review, host, port)


@pytest.fixture
def page(opens: Opens) -> Iterator[Page[Any]]:
    with opens("127.0.0.1", 0) as page:
        yield page


def test_nothing_but_the_page_is_served(page: Page[Any]) -> None:
    path = urlsplit(page.address).path
    status, body, headers = get(page.address, path)
    assert status == 200 and "<canvas" in body and "{page" not in body
    nonces = set(re.findall(r'nonce="([^"]+)"', body))
    assert len(nonces) == 1 and f"script-src 'nonce-{nonces.pop()}'" in headers["content-security-policy"]
    assert not re.search(r"(src|href)\s*=\s*[\"']?(https?:)?//", body)
    assert headers["referrer-policy"] == "no-referrer" and "server" not in headers
    assert headers["permissions-policy"].startswith("camera=(")
    assert len(path) > 32
    for other in (
        "/",
        "/favicon.ico",
        "/docs",
        "/openapi.json",
        path[:-1],
        path + "page.html",
        path + "page.js",
        path + "../../etc/passwd",
        path[:-2] + "x/",
        "/x/",
    ):
        assert get(page.address, other)[0] == 404, other
    port = urlsplit(page.address).port
    for host in (f"localhost:{port}", "localhost:9"):  # through ssh -L
        assert get(page.address, path, host)[0] == 200
    assert get(page.address, path, f"evil.example:{port}")[0] == 404  # a name that was made to lead here


def test_foreign_pages_get_no_socket(page: Page[Any]) -> None:
    for options in ({"origin": "http://evil.example"}, {"origin": None}, {"origin": "null"}):
        with pytest.raises(InvalidStatus) as caught, visit(page.address, **options):
            pass
        assert caught.value.response.status_code == 403
    address = urlsplit(page.address)
    with pytest.raises(InvalidStatus), connect(f"ws://{address.netloc}/x/socket", origin=f"http://{address.netloc}"):
        pass


@pytest.mark.parametrize("text", ["", "[]", "{", '{"type": "format"}', "[" * 100_000, '"stop"', '{"type": []}'])
def test_messages_that_no_page_sends(page: Page[Any], text: str, caplog: pytest.LogCaptureFixture) -> None:
    with visit(page.address) as socket:
        socket.send(text)
        assert closed_with(socket) == 1008
    assert "the browser was sent away: it sent" in caplog.text
    with visit(page.address) as socket:  # and the next browser is served
        assert told(socket)["type"] == "state"


def test_the_last_browser_has_the_page(page: Page[Any]) -> None:
    with visit(page.address) as first, visit(page.address) as second:
        told(first), told(second)
        assert closed_with(first) == 4001
        second.send(json.dumps({"type": "stop"}))
        with page.changed:
            assert page.changed.wait_for(lambda: page.stopped, 10)


def test_a_browser_that_is_lost_in_the_middle_of_a_wish_keeps_no_other_out(
    page: Page[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, go_on = threading.Event(), threading.Event()

    async def slow(visitor: object, kind: str, message: dict[str, Any]) -> None:
        asked.set()
        await asyncio.to_thread(go_on.wait, 20)

    monkeypatch.setattr(page, "obey", slow)
    try:
        with visit(page.address) as lost:
            told(lost)
            lost.send(json.dumps({"type": "wish"}))
            assert asked.wait(10)
            lost.socket.shutdown(socket.SHUT_RDWR)
            time.sleep(0.5)
            with visit(page.address) as next_one:
                assert told(next_one)["type"] == "state"
                next_one.send(json.dumps({"type": "stop"}))
                with page.changed:
                    assert page.changed.wait_for(lambda: page.stopped, 10)
    finally:
        go_on.set()


def test_the_end_is_told(page: Page[Any]) -> None:
    with visit(page.address) as socket:
        assert told(socket)["type"] == "state"
        with page.changed:
            assert page.changed.wait_for(lambda: page.visitor is not None, 10)
        page.close()
        while (message := socket.recv(timeout=20)) != '{"type": "end"}':
            assert message


def test_where_it_cannot_listen(opens: Opens, caplog: pytest.LogCaptureFixture) -> None:
    with opens("127.0.0.1", 0) as page:
        port = urlsplit(page.address).port
        assert port is not None
        with pytest.raises(ConfigError, match=f"port {port} is in use") as caught:
            opens("127.0.0.1", port)
        assert "--port 0" in caught.value.hint
    with pytest.raises(ConfigError, match=r"cannot listen at 203\.0\.113\.7"):
        opens("203.0.113.7", 0)
    assert "open to the network" not in caplog.text
    with opens("0.0.0.0", 0) as page:
        assert page.address.startswith("http://127.0.0.1:")
        assert get(page.address, urlsplit(page.address).path, "any.example")[0] == 200
    assert "0.0.0.0 is open to the network" in caplog.text and page.address not in caplog.text


def test_a_package_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    check_browser()
    monkeypatch.setattr(page_module, "find_spec", lambda name: None if name == "uvicorn" else object())
    with pytest.raises(FcosliteError, match="uvicorn") as caught:
        check_browser()
    assert "fcoslite[browser]" in caught.value.hint
