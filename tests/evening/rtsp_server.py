"""Serve folders of pictures as cameras, H.264 over RTSP, in a loop, until it is killed.

Runs on the system's own Python, which has GStreamer's bindings, and imports nothing of ours.

Run: python3 rtsp_server.py USER PASSWORD FPS NAME=FOLDER [NAME=FOLDER ...]
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PIPELINE = (
    '( multifilesrc location="{folder}/%06d.jpg" loop=true caps="image/jpeg,framerate={fps}" ! jpegdec ! videoconvert '
    "! x264enc tune=zerolatency speed-preset=veryfast bitrate=4000 key-int-max=10 "
    "! rtph264pay name=pay0 pt=96 config-interval=1 )"
)
ELEMENTS = ("multifilesrc", "jpegdec", "videoconvert", "x264enc", "rtph264pay")


def serve(user: str, password: str, fps: str, cameras: list[str]) -> None:
    """Print the address, then serve."""
    Gst.init(None)
    missing = [element for element in ELEMENTS if Gst.ElementFactory.find(element) is None]
    if missing:
        sys.exit(f"GStreamer lacks {', '.join(missing)}")
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service("0")
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", user)
    allowed = GstRtspServer.RTSPPermissions()
    for permission in ("media.factory.access", "media.factory.construct"):
        allowed.add_permission_for_role(user, permission, True)
    auth = GstRtspServer.RTSPAuth()
    auth.add_basic(GstRtspServer.RTSPAuth.make_basic(user, password), token)
    server.set_auth(auth)
    for camera in cameras:
        name, _, folder = camera.partition("=")
        factory = GstRtspServer.RTSPMediaFactory()
        factory.set_launch(PIPELINE.format(folder=folder, fps=fps))
        factory.set_shared(True)  # one camera, whoever looks
        factory.set_permissions(allowed)
        server.get_mount_points().add_factory(f"/{name}", factory)
    server.attach(None)
    print(f"rtsp://{user}:{password}@127.0.0.1:{server.get_bound_port()}", flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    serve(*sys.argv[1:4], sys.argv[4:])
