"""`collect` on a camera of 1920x1080 pixels and 15 frames a second: processor and memory, and how fast recordings go.

ffmpeg, which must be installed, encodes H.264 as cameras do, and serves it in real time. The reference does nothing
but `grab` each frame with OpenCV, which decodes it. Nothing moves in a photograph with a sensor's noise; in the other
film a person is moved through it, or it is that of --video. Linux.

Run: python -m benchmarks.collect [--quick] [--video FILE] [--out FOLDER]
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.photographs import DEMO_DATA
from benchmarks.table import Must, Row, run_stage

FPS = 15
_PLACE = "000000261888.jpg"
_WALKER, _CROP = "000000252219.jpg", "crop=71:197:326:175"
_WARM_UP_SECONDS = 15.0
_ENCODED = ["-an", "-c:v", "libx264", "-preset", "veryfast", "-g", str(2 * FPS), "-pix_fmt", "yuv420p"]

GRAB = """
import sys
import cv2
cv2.setNumThreads(1)
capture = cv2.VideoCapture(sys.argv[1])
while capture.grab():
    pass
"""


def ffmpeg(*arguments: str) -> None:
    subprocess.run(["ffmpeg", "-v", "error", "-y", *arguments], check=True)


def make_films(folder: Path, video: Path | None, seconds: int) -> tuple[Path, Path]:
    """A film in which nothing moves, of 2 Mbit/s, and one in which somebody does, of 4 Mbit/s."""
    still, moving = folder / "still.mp4", folder / "moving.mp4"
    place, walker = (str(DEMO_DATA / "images" / name) for name in (_PLACE, _WALKER))
    if video is not None:
        place = str(folder / "first.png")
        ffmpeg("-i", str(video), "-frames:v", "1", place)
    endless = ["-loop", "1", "-framerate", str(FPS), "-t", str(seconds), "-i"]
    film = "scale=1920:1080,noise=alls=4:allf=t"
    ffmpeg(*endless, place, "-vf", film, *_ENCODED, "-b:v", "2M", "-maxrate", "2M", "-bufsize", "4M", str(still))
    rate = ["-b:v", "4M", "-maxrate", "4M", "-bufsize", "8M"]
    if video is not None:
        ffmpeg("-i", str(video), "-vf", f"fps={FPS},{film}", *_ENCODED, *rate, str(moving))
    else:
        parts = f"[0]scale=1920:1080[p];[1]{_CROP},scale=180:500[w];[p][w]overlay=x='mod(t*180,1740)':y=540"
        parts += ",noise=alls=4:allf=t"
        ffmpeg(*endless, place, "-i", walker, "-filter_complex", parts, *_ENCODED, *rate, str(moving))
    return still, moving


@contextmanager
def served(film: Path) -> Iterator[str]:
    """A film over and over, in real time, to one reader; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/live.ts"
    paced = ["-stream_loop", "-1", "-re", "-i", str(film), "-c", "copy", "-f", "mpegts", "-listen", "1", url]
    server = subprocess.Popen(["ffmpeg", "-v", "quiet", *paced])
    time.sleep(1)
    try:
        yield url
    finally:
        server.kill()
        server.wait()


def watched(command: Sequence[str], film: Path, seconds: float) -> tuple[float, float]:
    """Share of a core that a process takes on a film, once it is warm, percent, and the most memory it had, MiB."""
    with served(film) as url:
        process = subprocess.Popen([word.replace("URL", url) for word in command], stdout=subprocess.DEVNULL)
        try:
            time.sleep(_WARM_UP_SECONDS)
            before, began = processor_seconds(process.pid), time.monotonic()
            time.sleep(seconds)
            share = (processor_seconds(process.pid) - before) / (time.monotonic() - began)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.kill()
            process.wait()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return 100 * share, int(line.split()[1]) / 1024


def processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    """The processor and memory it takes, and frames a second."""
    if shutil.which("ffmpeg") is None:
        print("collect: there is no ffmpeg", file=sys.stderr)
        return
    seconds = 20.0 if arguments.quick else 60.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        still, moving = make_films(folder, arguments.video, 20 if arguments.quick else 60)
        for what, film in (("while nothing moves", still), ("while people walk", moving)):
            out = str(folder / film.stem)
            ours, mib = watched(
                [sys.executable, "-m", "fcoslite", "collect", "door=URL", "-o", out, "-q"], film, seconds
            )
            grab, grab_mib = watched([sys.executable, "-c", GRAB, "URL"], film, seconds)
            yield Row(
                "collect",
                f"1080p, 15 frames/s, {what}",
                "% of a core",
                ours,
                grab,
                "OpenCV's grab",
                ours / grab,
                must=Must("ours", "≤", 25) if film == still else None,
            )
            yield Row(
                "collect",
                f"memory, {what}",
                "MiB",
                mib,
                grab_mib,
                "OpenCV's grab",
                mib / grab_mib,
                must=Must("ours", "≤", 400),
            )
        yield from recordings(moving, folder)


def recordings(film: Path, folder: Path) -> Iterator[Row]:
    """A recording, without the start of the process."""
    from fcoslite.camera.collect import collect
    from fcoslite.inference.input.open import open_source

    with open_source(str(film)) as source:
        count = source.count or 0
    began = time.perf_counter()
    collect([str(film)], folder / "recording")
    ours = count / (time.perf_counter() - began)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", GRAB, str(film)], check=True)
    grab = count / (time.perf_counter() - began)
    must = Must("ours", "≥", FPS)
    yield Row("collect", "a recording of 1080p", "frames/s", ours, grab, "OpenCV's grab", ours / grab, must=must)


if __name__ == "__main__":
    run_stage(measure, __doc__)
