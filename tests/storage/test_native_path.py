"""Names that FFmpeg takes for something else, and names that no C++ takes."""

import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from fcoslite.storage.native_path import native_path

NAMES = ["10:30:00.mp4", "cam_2024-05-01T10:30:00.avi", "file:a.mp4", "-.avi", "50%d.avi", "été.mp4", "a b.avi"]
BYTES = [os.fsdecode(b"caf\xe9.avi"), os.fsdecode(b"\xff\xfe.mp4"), os.fsdecode(b"caf\xe9 10:30.avi")]


@pytest.mark.parametrize("name", [*NAMES, *BYTES], ids=ascii)
@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="there such names cannot be")
def test_a_video_of_any_name_is_written_and_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / (os.fsdecode(b"d\xe9") if name in BYTES else "a:b")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with native_path(Path(name)) as text:
        writer = cv2.VideoWriter(
            text, cv2.VideoWriter.fourcc(*"MJPG" if name.endswith("avi") else "mp4v"), 10, (64, 48)
        )
    for _ in range(3):
        writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    assert os.listdir(os.fsencode(folder)) == [os.fsencode(name)]  # noqa: PTH208, its bytes
    with native_path(Path(name)) as text:
        text.encode()
        capture = cv2.VideoCapture(text)
    assert [capture.read()[0] for _ in range(4)] == [True, True, True, False]


@pytest.mark.skipif(sys.platform == "win32", reason="has no other encoding")
def test_a_locale_of_another_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # os.fsencode as Python has it under de_DE.ISO-8859-1
    monkeypatch.setattr(os, "fsencode", lambda path: str(path).encode("latin-1"))
    with native_path(tmp_path / "é.avi") as text:
        assert text.isascii() and Path(text).readlink() == tmp_path / "é.avi"


def test_the_link_is_gone_afterwards(tmp_path: Path) -> None:
    with native_path(tmp_path / os.fsdecode(b"\xe9.onnx")) as text:
        link = Path(text)
        assert link.is_symlink() and link.suffix == ".onnx"
    assert not link.parent.exists()
