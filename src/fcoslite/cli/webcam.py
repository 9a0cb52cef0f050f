"""`fcoslite webcam`: detection on a camera, a video, a stream or images."""

import logging
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import (
    CameraOption,
    DryRunFlag,
    EngineOption,
    EventsOption,
    HostOption,
    IouOption,
    MinSecondsOption,
    MqttCaOption,
    MqttLoginOption,
    MqttOption,
    MqttSpoolOption,
    OverwriteFlag,
    PortOption,
    ScoreOption,
    WeightsOption,
    ZoneOption,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.inference.detect import Predicts
    from fcoslite.inference.live import Screen

logger = logging.getLogger("fcoslite.inference")


@with_terminal
def command(
    source: Annotated[
        str | None,
        typer.Option(
            "--source",
            metavar="N|FILE|URL|DIR|IMAGE",
            help="A camera's number, a video, an rtsp, http or https stream, an image or a folder of images.",
            show_default="0; with --browser the browser's camera",
        ),
    ] = None,
    iou: IouOption = None,
    score: ScoreOption = None,
    weights: WeightsOption = None,
    engine: EngineOption = "auto",
    no_window: Annotated[bool, typer.Option("--no-window", help="Open no window. ESC or q ends one.")] = False,
    save: Annotated[
        Path | None,
        typer.Option(
            "--save",
            metavar="FILE",
            help="Save what is drawn: .mp4 or .avi (which plays even if the machine dies while recording), "
            ".jpg or .png for an image, a folder for a folder.",
            show_default="nothing; without a display, webcam.mp4",
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option(
            "--jsonl",
            metavar="FILE",
            help="Write one JSON line a frame: boxes as x, y, width, height in pixels of the frame; - is stdout.",
            show_default="nothing",
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option("--max-frames", metavar="N", min=1, help="Stop after N frames.", show_default="all"),
    ] = None,
    fullscreen: Annotated[bool, typer.Option("--fullscreen", help="Let the window cover the screen.")] = False,
    browser: Annotated[
        bool,
        typer.Option(
            "--browser",
            help="Show a page to open in a browser, in place of a window: it has the browser's camera or the source, "
            "thresholds and engine.",
        ),
    ] = False,
    host: HostOption = "127.0.0.1",
    port: PortOption = 8765,
    events: EventsOption = None,
    mqtt: MqttOption = None,
    zone: ZoneOption = None,
    min_seconds: MinSecondsOption = None,
    camera: CameraOption = None,
    mqtt_login: MqttLoginOption = None,
    mqtt_ca: MqttCaOption = None,
    mqtt_spool: MqttSpoolOption = None,
    overwrite: OverwriteFlag = False,
    *,
    terminal: "Terminal",
    dry_run: DryRunFlag = False,
) -> None:
    """Detect on a camera, a video, a stream or images, live."""
    from fcoslite.camera.names import camera_name
    from fcoslite.camera.plan import check_person, plan_watch
    from fcoslite.camera.watch import LiveEvents, Watcher
    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.errors import ConfigError
    from fcoslite.inference.about import about
    from fcoslite.inference.input.open import open_source
    from fcoslite.inference.live import run_live
    from fcoslite.inference.output.plan import plan_output
    from fcoslite.inference.runtimes.open import check_engine, parse_engine
    from fcoslite.inference.tracking import Tracking
    from fcoslite.machine.signals import killed_as_interrupted
    from fcoslite.runs.find_weights import find_weights
    from fcoslite.storage.line_file import is_stdout

    runs = Path(WorkspaceSettings().runs)
    lines_on_stdout = any(path is not None and is_stdout(path) for path in (jsonl, events))
    if lines_on_stdout and terminal.as_json:
        raise ConfigError("--json prints to stdout, too", "write the lines to a file")
    watch, watched_zone = plan_watch(
        events,
        mqtt,
        zone=zone,
        min_seconds=min_seconds,
        camera=camera,
        login=mqtt_login,
        ca=mqtt_ca,
        spool=mqtt_spool,
        overwrite=overwrite,
    ) or (None, None)
    if watch is not None and browser:
        hint = "start webcam twice: a page changes thresholds, and events need ones that stay"
        raise ConfigError("--browser goes with neither --events nor --mqtt", hint)
    if browser:
        from fcoslite.browser.page import check_browser

        check_browser()
    with ExitStack() as stack:
        frames = None  # those of the browser, which come once somebody has opened the page
        if source is not None or not browser:
            frames = stack.enter_context(open_source(source or "0"))
        kind, file = ("camera", None) if frames is None else (frames.kind, frames.path)
        if watch is not None and frames is not None and frames.still:
            raise ConfigError("--events and --mqtt are of cameras, videos and streams", "images show no motion")
        if watched_zone is not None and frames is not None:
            watched_zone = watched_zone.fitted(frames.height, frames.width)
        output = plan_output(
            kind,
            file,
            window=not (no_window or browser),
            save=save,
            jsonl=jsonl,
            events=events,
            overwrite=overwrite,
        )
        path = find_weights(weights, runs)
        chosen = parse_engine(engine)
        check_engine(path, chosen)
        known = about(path)
        settings = known.settings.webcam.with_given(score=score, iou=iou)
        tracking = None
        if watch is not None:
            check_person(known.class_names)
            tracking = Tracking(settings.score, zone=watched_zone)
        if dry_run:
            plan = {
                "source": "the browser's camera" if frames is None else frames.describe(),
                "max_frames": max_frames,
                "weights": path,
                "engine": chosen,
                "iou": settings.iou,
                "score": settings.score,
                "window": output.window,
                "browser": browser,
                "save": output.save,
                "jsonl": output.jsonl,
            }
            terminal.result(plan | ({} if watch is None else watch.document()))
            return
        stack.enter_context(killed_as_interrupted())
        watcher, writers = None, []
        if watch is not None and frames is not None:
            name = camera or camera_name(source or "0" if frames.path is None else frames.name)
            watcher = stack.enter_context(Watcher(watch, name))
            writers.append(LiveEvents(watcher))
        predictor: Predicts
        screen: Screen | None = None
        if browser:
            from fcoslite.inference.adjustable import AdjustablePredictor
            from fcoslite.inference.browser.page import BrowserPage

            predictor = adjustable = AdjustablePredictor(path, settings, chosen)
            screen = page = stack.enter_context(BrowserPage(adjustable, frames, host, port))
            terminal.announce(f"open {page.address} in a browser on this machine; Ctrl-C ends it")
            frames = frames or stack.enter_context(page.camera())
        else:
            from fcoslite.inference.predictor import Predictor

            assert frames is not None  # without --browser there is one
            many = frames.count is not None and frames.count > 1  # a live source shows the present
            if tracking is not None:
                settings = settings.model_copy(update={"score": tracking.helping_score})
            predictor = fixed = Predictor.load(path, settings, chosen, many)
            logger.info("%s on %s", path.stem, fixed.device)
            fixed.warm_up()
            if output.window:
                from fcoslite.inference.output.window import Window

                screen = Window("fcoslite", fullscreen, hold=frames.still)
        result = run_live(
            frames,
            predictor,
            output,
            screen,
            max_frames=max_frames,
            tracking=tracking,
            writers=writers,
            progress=terminal.progress,
        )
    if lines_on_stdout:
        terminal.note(f"{result.frames:,} frames, {result.detections:,} detections, {result.mean_fps:.1f} frames/s")
    else:
        terminal.result(result.document() | ({} if watcher is None else {"events": watcher.events}))
