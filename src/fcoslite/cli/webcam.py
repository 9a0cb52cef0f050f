"""`fcoslite webcam`: detection on a camera, a video, a stream or images."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import DryRunFlag, EngineOption, IouOption, ScoreOption, WeightsOption, with_terminal

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="N|FILE|URL|DIR|IMAGE",
            help="A camera's number, a video, an rtsp, http or https stream, an image or a folder of images.",
        ),
    ] = "0",
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
            help="Write one JSON line a frame: boxes as x, y, width, height in pixels of the frame.",
            show_default="nothing",
        ),
    ] = None,
    max_frames: Annotated[
        int | None,
        typer.Option("--max-frames", metavar="N", min=1, help="Stop after N frames.", show_default="all"),
    ] = None,
    fullscreen: Annotated[bool, typer.Option("--fullscreen", help="Let the window cover the screen.")] = False,
    *,
    terminal: "Terminal",
    dry_run: DryRunFlag = False,
) -> None:
    """Detect on a camera, a video, a stream or images, live."""
    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.inference.about import about
    from fcoslite.inference.input.open import open_source
    from fcoslite.inference.live import run_live
    from fcoslite.inference.output.plan import plan_output
    from fcoslite.inference.predictor import Predictor
    from fcoslite.inference.runtimes.open import check_engine, parse_engine
    from fcoslite.machine.signals import killed_as_interrupted
    from fcoslite.runs.find_weights import find_weights

    runs = Path(WorkspaceSettings().runs)
    with open_source(source) as frames:
        output = plan_output(frames, window=not no_window, save=save, jsonl=jsonl)
        path = find_weights(weights, runs)
        chosen = parse_engine(engine)
        check_engine(path, chosen)
        flags = {key: value for key, value in (("iou", iou), ("score", score)) if value is not None}
        settings = about(path).settings.webcam.model_copy(update=flags)
        if dry_run:
            plan = {
                "source": frames.describe(),
                "max_frames": max_frames,
                "weights": path,
                "engine": chosen,
                "iou": settings.iou,
                "score": settings.score,
                "window": output.window,
                "save": output.save,
                "jsonl": output.jsonl,
            }
            terminal.result(plan)
            return
        many = frames.count is not None and frames.count > 1  # a live source shows the present
        predictor = Predictor.load(path, settings, chosen, many)
        logging.getLogger("fcoslite.inference").info("%s on %s", path.stem, predictor.device)
        predictor.warm_up()
        with killed_as_interrupted():
            result = run_live(
                frames,
                predictor,
                output,
                fullscreen=fullscreen,
                max_frames=max_frames,
                progress=terminal.progress,
            )
    terminal.result(result.document())
