"""Addresses of streams: what is one, and that a password is never shown."""

import base64
import http.server
import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.cli.app import run
from fcoslite.errors import SourceError
from fcoslite.inference.input.addresses import StreamAddress, is_address, parse_address
from fcoslite.inference.input.open import open_source
from fcoslite.storage.locks import _who
from fcoslite.text import without_user
from tests.streams import MjpegCamera

SCHEMES = ["rtsp", "http", "https", "rtmp", "rtsps", "ftp", "RTSP"]
ANY_TEXT = st.text(st.characters(), max_size=12) | st.text("/#?@:[]%\\ \x00é\udce9a1", max_size=12)


def test_an_address_is_taken_apart() -> None:
    address = parse_address("rtsp://admin:se%2Fcret@[::1]:8554/live?channel=1")
    assert address == StreamAddress(address.url, "rtsp://[::1]:8554/live", "::1", 8554)
    assert "cret" not in repr(address)
    assert [parse_address(f"{scheme}://Host/x").port for scheme in ("rtsp", "http", "HTTPS")] == [554, 80, 443]


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:99999/v",
        "http://127.0.0.1:0/v",
        "http://127.0.0.1:port/v",
        "http://[::1/v",
        "http://",
        "http:///v",
        "rtmp://host/live",
        "C://x",
        "://",
        "rtsp:/admin:secret@host/live",
        "admin:secret@host",
        "admin:se/cret@host",
        "http://caf\udce9/v",
        "http://ho\nst/v",
    ],
)
def test_what_is_none_is_told_in_words(text: str) -> None:
    assert is_address(text)
    with pytest.raises(SourceError, match="is no stream address") as caught:
        open_source(text)
    assert caught.value.hint
    assert "cret" not in str(caught.value) + caught.value.hint


def test_a_file_is_no_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("10:30@gate.mp4").touch()
    for name in ("10:30@gate.mp4", "10:30.mp4", "me@home.mp4", "/data/10:30/me@home.mp4", "C:/x.mp4"):
        assert not is_address(name)
    assert without_user("/data/10:30/me@home.mp4") == "/data/10:30/me@home.mp4"


def test_an_address_behind_a_name_is_shown_without_user_and_query() -> None:
    for name in ("door=", "--source="):
        assert without_user(f"{name}rtsp://me:secret@host/x?key=secret") == f"{name}rtsp://host/x"
        assert without_user(f"{name}http://host/x?key=secret") == f"{name}http://host/x"
    assert without_user("door=/data/10:30.mp4") == "door=/data/10:30.mp4"


def outcome(text: str) -> tuple[str, ...]:
    try:
        address = parse_address(text)
    except SourceError as error:
        return error.message, error.hint
    return address.shown, address.host, str(address.port), repr(address)


@given(st.sampled_from(SCHEMES), ANY_TEXT, ANY_TEXT, st.sampled_from(["/live", "", "/live?token=1", ":99999/", "/a@b"]))
def test_user_and_password_change_nothing_that_is_told(scheme: str, user: str, password: str, rest: str) -> None:
    def address(user: str, password: str) -> str:
        return f"{scheme}://{user}:{password}@127.0.0.1{rest}"

    harmless = {outcome(address(*words)) for words in (("u", "p"), ("u", "/p"), ("u", "[p"), ("u", "p\x00"))}
    assert outcome(address(user, password)) in harmless
    told = {without_user(address(*words)) for words in (("u", "p"), ("u", "/p"))}
    assert without_user(address(user, password)) in told
    without = {without_user(address(*words).removeprefix(f"{scheme}://")) for words in (("u", "p"), ("u", "/p"))}
    if user[:1] not in (*"./~\\", ""):
        assert without_user(f"{user}:{password}@127.0.0.1{rest}") in without


@given(st.text(st.characters()) | st.text("htp:/@[]?#%.1 \udce9"))
def test_any_text_is_an_address_or_a_clear_error(text: str) -> None:
    try:
        parse_address(text).url.encode()
    except SourceError as error:
        assert error.hint


PASSWORDS = ["s3cret", "s3/cret", "s3#cret", "s3?cret", "s3@cret", "p4rt/34s3cret", "s3[cret", "s3 cret", "\udce9s3"]


@pytest.mark.parametrize("password", PASSWORDS)
@pytest.mark.parametrize("scheme", ["rtsp", "rtmp", "rtsps"])
def test_no_command_shows_a_password(
    scheme: str, password: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = f"{scheme}://admin:{password}@127.0.0.1:1/live"
    other = f"{address}?channel=2"
    arguments = [
        ["webcam", "--no-window", "--source", address],
        ["webcam", "--no-window", "--source", address, "--dry-run", "--json", "-v"],
        ["detect", address, "--jsonl", "out.jsonl", "-v"],
        ["detect", address, other, "--jsonl", "out.jsonl", "--dry-run", "--json"],
        ["label", address, "--out", "out"],
        ["label", address, "--out", "out", "--debug"],
        ["webcam", "--no-window", "--source", address.replace("//", "/")],
        ["detect", address.replace("//", "/")],
        ["webcam", "--no-window", "--source", address.partition("//")[2]],
    ]
    for words in arguments:
        code = run(words)
        printed = "".join(capfd.readouterr())
        assert code and "error:" in printed and "bug" not in printed
        for part in ("s3", "cret", "p4rt", "admin"):
            assert part not in printed, (words, printed)
    assert not any("cret" in path.name or b"cret" in path.read_bytes() for path in tmp_path.rglob("*"))


def test_a_stream_with_a_password_is_read_and_named_without(
    mjpeg_camera: Callable[..., MjpegCamera], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    address = mjpeg_camera(5).url.replace("//", "//admin:s3%2Fcret@")
    lines = tmp_path / "out.jsonl"
    assert run(["detect", address, "--jsonl", str(lines), "--save", str(tmp_path / "drawn"), "-v", "--json"]) == 0
    printed = "".join(capfd.readouterr())
    records = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {record["name"] for record in records} == {address.rpartition("@")[2].replace(":", "-").replace("/", "-")}
    for text in (printed, lines.read_text(), *(path.name for path in tmp_path.rglob("*"))):
        assert "cret" not in text and "admin" not in text


def test_what_is_written_as_the_hint_says_reaches_the_server(video: Path) -> None:
    given: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given.append(self.headers.get("Authorization", ""))
            self.send_response(200 if given[-1] else 401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            if given[-1]:
                self.wfile.write(video.read_bytes())

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        with open_source(f"http://ad%40min:%2F%3F%23%5B@127.0.0.1:{server.server_address[1]}/a.avi") as source:
            assert len(list(source)) == 24
        server.shutdown()
    assert base64.b64decode(given[-1].removeprefix("Basic ")) == b"ad@min:/?#["


def test_a_lock_does_not_tell_a_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for word in ("http://user:s3cret@host", "http://user:s3/cret@host", "--mlflow-uri=http://user:s3cret@host"):
        monkeypatch.setattr(sys, "argv", ["fcoslite", "train", word])
        assert "cret" not in _who() and "train" in _who()
