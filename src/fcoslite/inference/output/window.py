"""The window on the screen, and whether there can be one."""

import functools
import logging
import os
import subprocess
import sys

import cv2
import numpy as np

from fcoslite.inference.detect import FrameResult

logger = logging.getLogger("fcoslite.inference")

_END_KEYS = (27, ord("q"), ord("Q"))  # 27 is ESC
_SCREEN_SHARE = 0.9  # leaves room for title and task bar
_SETTLE_ROUNDS = 10

# Qt aborts its process where it cannot reach the screen, so another one tries first, without a core dump
_TRY_WINDOW = """
import cv2, resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
cv2.namedWindow("fcoslite", cv2.WINDOW_NORMAL)
"""


@functools.cache
def has_display() -> bool:
    """Whether a window can be opened: OpenCV has a GUI, and on Linux the screen answers."""
    if not cv2.currentUIFramework():
        return False  # opencv-python-headless
    if sys.platform in ("win32", "darwin"):
        return True
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    try:
        trial = subprocess.run([sys.executable, "-c", _TRY_WINDOW], capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return trial.returncode == 0


class Window:
    """Shows images; ESC, q or closing it ends. Only for the main thread, and only where `has_display`.

    Args:
        title: Its title.
        fullscreen: Cover the screen.
        hold: Wait for a key after each image.
    """

    def __init__(self, title: str, fullscreen: bool = False, hold: bool = False) -> None:
        self._title = title
        self._fullscreen = fullscreen
        self._hold = hold
        self._open = False

    def show(self, result: FrameResult) -> bool:
        """Show a frame with what is in it; False once the user has ended it."""
        image_bgr = cv2.cvtColor(result.draw(), cv2.COLOR_RGB2BGR)
        if not self._open:
            logger.info("ESC or q ends it%s", "; any other key shows the next image" if self._hold else "")
            self._fit(image_bgr)
            self._open = True
        cv2.imshow(self._title, image_bgr)
        key = cv2.waitKey(1)
        while self._hold and key == -1 and self._visible():
            key = cv2.waitKey(30)
        return self._goes_on(key)

    def idle(self) -> bool:
        """Let the window answer while there is nothing new to show; False once the user has ended it."""
        return not self._open or self._goes_on(cv2.waitKey(1))

    def close(self) -> None:
        """Close it, if it is open."""
        if self._open:
            cv2.destroyAllWindows()
            self._open = False

    def _goes_on(self, key: int) -> bool:
        return self._visible() and (key & 0xFF) not in _END_KEYS

    def _visible(self) -> bool:
        try:
            return cv2.getWindowProperty(self._title, cv2.WND_PROP_VISIBLE) >= 1
        except cv2.error:  # Qt's answer once its last window is closed
            return False

    def _fit(self, image_bgr: np.ndarray) -> None:
        """Open it as large as the screen allows, in the image's proportions."""
        os.environ.setdefault("QT_LOGGING_RULES", "default.warning=false;qt.*=false")
        cv2.namedWindow(self._title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO | cv2.WINDOW_GUI_NORMAL)
        # only a full-screen window tells the screen's size, once the window manager has answered
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        cv2.imshow(self._title, image_bgr)
        for _ in range(_SETTLE_ROUNDS):
            cv2.waitKey(20)
        if self._fullscreen:
            return
        left, top, width, height = cv2.getWindowImageRect(self._title)
        cv2.setWindowProperty(self._title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_NORMAL)
        scale = _SCREEN_SHARE * min(width / image_bgr.shape[1], height / image_bgr.shape[0])
        across, down = max(1, round(image_bgr.shape[1] * scale)), max(1, round(image_bgr.shape[0] * scale))
        cv2.resizeWindow(self._title, across, down)
        cv2.moveWindow(self._title, left + (width - across) // 2, top + (height - down) // 2)
