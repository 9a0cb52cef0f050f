import sys
from pathlib import Path

import pytest

from fcoslite.inference.input.cameras import Camera, list_cameras


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lists its cameras")
def test_lists_cameras_but_not_their_metadata_nodes(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    for node, name, index in (("video10", "USB camera", "0"), ("video2", "Lid", "0"), ("video3", "Lid", "1")):
        (tmp_path / "dev" / node).touch()
        driver = tmp_path / "sys/class/video4linux" / node
        driver.mkdir(parents=True)
        (driver / "name").write_text(name + "\n")
        (driver / "index").write_text(index + "\n")
    (tmp_path / "dev" / "video-encoder").touch()
    assert list_cameras(tmp_path) == [Camera(2, "Lid"), Camera(10, "USB camera")]


def test_a_machine_without_cameras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    assert list_cameras(tmp_path) == []
    monkeypatch.setattr(sys, "platform", "win32")
    assert list_cameras(tmp_path) is None
