import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.camera.names import camera_name, check_camera_name
from fcoslite.errors import ConfigError


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("0", "camera-0"),
        ("/dev/video2", "camera-2"),
        ("camera 1", "camera-1"),
        ("rtsp://admin:s3cret@192.168.1.5:554/h264/main?token=abc", "192-168-1-5-554-h264-main"),
        ("street.mp4", "street"),
        ("2026-11-28 10.30.mp4", "2026-11-28-10-30"),
        ("yard/Übersicht.avi", "yard-bersicht"),
        ("日本.mp4", "camera"),
    ],
)
def test_a_source_gives_a_name_without_secrets(source: str, name: str) -> None:
    assert camera_name(source) == name
    check_camera_name(name)


@given(st.text(min_size=1, max_size=200))
def test_every_name_is_safe(source: str) -> None:
    check_camera_name(camera_name(f"{source}.mp4"))


@given(st.text("abcXYZ019!$%&*", min_size=1), st.text("abcXYZ019!$%&*", min_size=1))
def test_no_address_gives_its_password_away(user: str, password: str) -> None:
    name = camera_name(f"rtsp://{user}:{password}@host/path")
    assert name == "host-path"


@pytest.mark.parametrize("name", ["", "a b", "a/b", "a.b", "+", "#", "é", "x" * 65, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="--camera"):
        check_camera_name(name)
    assert re.fullmatch(r"[\w-]+", "front-door_2")
    check_camera_name("front-door_2")
