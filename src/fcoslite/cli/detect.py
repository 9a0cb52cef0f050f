"""`fcoslite detect`: what is on images and videos, into files."""

import io
import sys
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import (
    CameraOption,
    DryRunFlag,
    EngineOption,
    EventsOption,
    IouOption,
    MinSecondsOption,
    MqttCaOption,
    MqttLoginOption,
    MqttOption,
    MqttSpoolOption,
    OverwriteFlag,
    ScoreOption,
    WeightsOption,
    ZoneOption,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal
    from fcoslite.inference.tracking import Line

_ROWS = 50  # of the table


def _parse_line(text: str | None) -> "Line | None":
    from fcoslite.inference.tracking import Line

    if text is None:
        return None
    try:
        x0, y0, x1, y1 = map(float, text.split(","))
    except ValueError:
        raise typer.BadParameter("it is X0,Y0,X1,Y1, such as 100,300,600,300", param_hint="--count-line") from None
    if (x0, y0) == (x1, y1) or not all(map(isfinite, (x0, y0, x1, y1))):
        raise typer.BadParameter("its two points must differ", param_hint="--count-line")
    return Line(x0, y0, x1, y1)


def _paths_of_stdin() -> list[str]:
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # names may be of any bytes
    return [line.rstrip("\n") for line in sys.stdin]


@with_terminal
def command(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE...",
            help="Images, folders of them, patterns, videos, rtsp, http or https streams; - reads paths from stdin.",
            show_default=False,
        ),
    ],
    weights: WeightsOption = None,
    engine: EngineOption = "auto",
    iou: IouOption = None,
    score: ScoreOption = None,
    classes: Annotated[
        list[str] | None,
        typer.Option(
            "--classes",
            metavar="NAME",
            help="Class whose boxes to keep; for several, commas or the flag again.",
            show_default="all",
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Of folders, those below them, too.")] = False,
    every: Annotated[int, typer.Option("--every", metavar="N", min=1, help="Take each N-th frame of videos.")] = 1,
    save: Annotated[
        Path | None,
        typer.Option("--save", metavar="DIR", help="Drawn images, and drawn videos as .mp4.", show_default="nothing"),
    ] = None,
    coco: Annotated[
        Path | None,
        typer.Option(
            "--coco",
            metavar="FILE",
            help="A COCO instances file whose annotations have a score.",
            show_default="nothing",
        ),
    ] = None,
    jsonl: Annotated[
        Path | None,
        typer.Option("--jsonl", metavar="FILE", help="A JSON line an image; - is stdout.", show_default="nothing"),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", metavar="FILE", help="A line a box; - is stdout.", show_default="nothing"),
    ] = None,
    yolo: Annotated[
        Path | None,
        typer.Option("--yolo", metavar="DIR", help="YOLO labels with scores.", show_default="nothing"),
    ] = None,
    crops: Annotated[
        Path | None,
        typer.Option("--crops", metavar="DIR", help="Every box as an image of its own.", show_default="nothing"),
    ] = None,
    track: Annotated[bool, typer.Option("--track", help="Give every person in a video a number that stays.")] = False,
    count_line: Annotated[
        str | None,
        typer.Option(
            "--count-line",
            metavar="X0,Y0,X1,Y1",
            help="Count who crosses the line between two points, pixels of the frame, each way; tracks.",
            show_default="none",
        ),
    ] = None,
    events: EventsOption = None,
    mqtt: MqttOption = None,
    zone: ZoneOption = None,
    min_seconds: MinSecondsOption = None,
    camera: CameraOption = None,
    mqtt_login: MqttLoginOption = None,
    mqtt_ca: MqttCaOption = None,
    mqtt_spool: MqttSpoolOption = None,
    overwrite: OverwriteFlag = False,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Detect on images and videos. Without a place for the results, print a table."""
    from contextlib import ExitStack

    from fcoslite.camera.names import camera_name
    from fcoslite.camera.plan import check_person, plan_watch
    from fcoslite.camera.watch import DetectEvents, Watcher
    from fcoslite.config.settings import WorkspaceSettings
    from fcoslite.errors import ConfigError
    from fcoslite.inference.about import about
    from fcoslite.inference.detect_sources import ResultWriter, chosen_class_ids, detect_sources
    from fcoslite.inference.input.addresses import is_address
    from fcoslite.inference.input.listing import list_sources
    from fcoslite.inference.output import result_files
    from fcoslite.inference.output.places import check_new
    from fcoslite.inference.predictor import Predictor
    from fcoslite.inference.runtimes.open import check_engine, parse_engine
    from fcoslite.inference.tracking import Tracking, check_tracking
    from fcoslite.machine.signals import killed_as_interrupted
    from fcoslite.runs.find_weights import find_weights
    from fcoslite.storage.line_file import STDOUT, is_stdout

    folders = {"--save": save, "--yolo": yolo, "--crops": crops}
    files = {"--coco": coco, "--jsonl": jsonl, "--csv": csv}
    places = [path for path in (*folders.values(), *files.values(), events) if path is not None]
    on_stdout = [path for path in places if is_stdout(path)]
    if len({STDOUT if path in on_stdout else path.resolve() for path in places}) < len(places):
        raise ConfigError("two kinds of results have the same place", "name another one")
    if terminal.as_json and on_stdout:
        raise ConfigError("--json prints to stdout, too", "write the lines to a file")
    if coco in on_stdout:
        raise ConfigError("--coco is written when all is done, to a file", "name one; --jsonl - prints as it goes")
    for flag, path in (*folders.items(), *files.items()):
        if path is not None:
            check_new(path, flag, flag in folders, overwrite)

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
    tracking_line = _parse_line(count_line)
    tracks = track or tracking_line is not None or watch is not None
    if tracks:
        check_tracking()
    words = [word for source in sources for word in (_paths_of_stdin() if source == "-" else [source])]
    listed = list_sources(words, recursive, without_suffix=yolo is not None or crops is not None)
    if not listed:
        raise ConfigError("no source is named", "stdin gave no path")
    result_files.check_apart(listed, save, [path for path in (*files.values(), events) if path is not None])
    moving = [one for one in listed if one.moves]
    if watch is not None and not moving:
        raise ConfigError("--events and --mqtt are of videos and streams, and only images are named", "name a video")
    if camera is not None and len(moving) > 1:
        raise ConfigError(f"--camera names one camera, and there are {len(moving)}", "leave it out")
    path = find_weights(weights, Path(WorkspaceSettings().runs))
    chosen = parse_engine(engine)
    check_engine(path, chosen)
    known = about(path)
    settings = known.settings.webcam.with_given(score=score, iou=iou)
    tracking = None
    if tracks:
        tracking = Tracking(settings.score, tracking_line, watched_zone)
        settings = settings.model_copy(update={"score": tracking.helping_score})
    class_ids = chosen_class_ids(classes or [], known.class_names)
    if watch is not None:
        check_person([known.class_names[class_id - 1] for class_id in class_ids])
    videos = sum(one.moves for one in listed)
    if dry_run:
        plan = {"images": len(listed) - videos, "videos": videos, "weights": path, "engine": chosen}
        plan |= {
            "iou": settings.iou,
            "score": tracking.score if tracking else settings.score,
            "classes": [known.class_names[class_id - 1] for class_id in class_ids],
        }
        plan |= {flag.removeprefix("--"): place for flag, place in (*folders.items(), *files.items())}
        terminal.result(plan | ({} if watch is None else watch.document()))
        return

    table = result_files.TableWriter(0 if places or terminal.as_json else _ROWS)
    writers: list[ResultWriter] = [table]
    if save is not None:
        writers.append(result_files.DrawnWriter(save))
    if crops is not None:
        writers.append(result_files.CropWriter(crops))
    if yolo is not None:
        writers.append(result_files.YoloWriter(yolo))
    if coco is not None:
        writers.append(result_files.CocoWriter(coco, known.class_names))
    if jsonl is not None:
        writers.append(result_files.JsonlWriter(jsonl))
    if csv is not None:
        writers.append(result_files.CsvWriter(csv))
    with ExitStack() as stack:
        stack.enter_context(killed_as_interrupted())
        watcher = None
        if watch is not None:
            names = {one.name: camera or camera_name(one.text if is_address(one.text) else one.name) for one in moving}
            watcher = stack.enter_context(Watcher(watch, names[moving[0].name]))
            writers.append(DetectEvents(watcher, names))
        predictor = Predictor.load(path, settings, chosen, many=len(listed) > 1 or videos > 0)
        summary = detect_sources(listed, predictor, class_ids, writers, every, tracking, terminal.progress)

    document = {**summary.document(), "weights": str(path), "device": predictor.device}
    if watcher is not None:
        document["events"] = watcher.events
    if terminal.as_json:
        terminal.result(document)
        return
    if table.rows:
        terminal.table(["source", "found", "best score"], table.rows)
    more = f"; {table.left_out:,} more not shown: name a file, such as --csv" if table.left_out and not places else ""
    counts = ", ".join(f"{count:,} {name}" for name, count in summary.by_class.items()) or "nothing found"
    frames = f", {summary.frames:,} frames" if videos else ""
    terminal.note(f"{summary.images:,} images{frames}: {counts}{more}")
    for name, number in summary.tracked.items():
        crossings = summary.crossings.get(name)
        crossed = "" if crossings is None else f"; {crossings.to_left} to the left, {crossings.to_right} to the right"
        terminal.note(f"{name}: {number:,} tracked{crossed}")
    if watcher is not None:
        terminal.note(f"{watcher.events:,} events")
    if summary.unreadable:
        terminal.note(f"{len(summary.unreadable):,} could not be read")
    if summary.unwritten:
        terminal.note(f"{len(summary.unwritten):,} could not be written")
