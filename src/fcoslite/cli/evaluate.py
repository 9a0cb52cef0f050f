"""`fcoslite eval`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fcoslite.cli.options import (
    Boxes,
    BoxesOption,
    DryRunFlag,
    EngineOption,
    FormatOption,
    SetOption,
    SkipBadRecordsFlag,
    SplitOption,
    WeightsOption,
    named_data,
    records_option,
    to_place,
    with_terminal,
)

if TYPE_CHECKING:
    from fcoslite.cli.console import Terminal


@with_terminal
def command(
    weights: WeightsOption = None,
    engine: EngineOption = "auto",
    records: Annotated[Path | None, records_option("of a run: its own; else workspace.records: records")] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            "--annotations",
            metavar="FILE",
            parser=to_place,
            help="COCO instances JSON, instead of records.",
            show_default="none",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option("--images", metavar="DIR", parser=to_place, help="Folder of its images.", show_default="none"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DIR",
            parser=to_place,
            help="A data set of any format, instead of records: COCO, YOLO, Pascal VOC, CreateML.",
            show_default="none",
        ),
    ] = None,
    form: FormatOption = None,
    boxes: BoxesOption = Boxes.xywh,
    split: SplitOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder for detections.json, ground_truth.json, metrics.json and the charts.",
            show_default="eval/ in the run or beside the file; eval-lite0/ here",
        ),
    ] = None,
    conditions: Annotated[
        bool,
        typer.Option(
            "--conditions",
            help="Score under eight conditions, too: grey, dark, night, noise, motion, jpeg, lowres and fog."
            " They are made at the images' own resolution; of records, at that of the records.",
        ),
    ] = False,
    visits: Annotated[
        bool,
        typer.Option(
            "--visits",
            help="Score what a watcher feels, on frames of cameras (--data): visits found, seconds to the first box, "
            "false alarms a day, at many thresholds. Writes visits.html and visits.json.",
        ),
    ] = False,
    alarms_per_day: Annotated[
        float | None,
        typer.Option(
            "--alarms-per-day",
            metavar="N",
            min=0,
            help="Of --visits: choose a threshold that keeps false alarms to N a day.",
            show_default="none is chosen",
        ),
    ] = None,
    write_score: Annotated[
        bool,
        typer.Option(
            "--write-score",
            help="Of --alarms-per-day: write that threshold to the config of the run, or beside the weights, where "
            "webcam, detect and export read it.",
        ),
    ] = False,
    skip_bad_records: SkipBadRecordsFlag = False,
    batch_size: Annotated[int, typer.Option("--batch-size", metavar="N", min=1, help="Images at a time.")] = 4,
    overrides: SetOption = None,
    dry_run: DryRunFlag = False,
    *,
    terminal: "Terminal",
) -> None:
    """Score a detector by COCO's rules, on boxes in original pixels.

    With records, on their validation part (all of them where there is none); with --data, or --annotations and
    --images, on all those images. Losses are told by --engine keras only, which is what runs on records. With --visits,
    on frames of cameras, which say when they were taken: by who comes by, and how often one is called for nobody.
    """
    from fcoslite.config.load import load_settings
    from fcoslite.errors import ConfigError
    from fcoslite.evaluation.evaluate import evaluate, plan_evaluation
    from fcoslite.inference.about import about
    from fcoslite.inference.runtimes.open import parse_engine
    from fcoslite.runs.figures import figure_text
    from fcoslite.runs.find_weights import find_weights

    named = None
    if (data, annotations, images) != (None, None, None):
        named = named_data(data, annotations, images)
        if records is not None:
            raise ConfigError("--records and --annotations, or --data, exclude each other", "give one of them")
    elif form is not None or split is not None or boxes != Boxes.xywh:
        raise ConfigError("--format, --split and --boxes are for --data", "name a data set with --data")

    given = overrides or []
    path = find_weights(weights, Path(load_settings(None, given).workspace.runs))
    if visits:
        from fcoslite.camera.evaluate_visits import plan_visits
        from fcoslite.cli.visits import run_visits

        if named is None:
            raise ConfigError(
                "--visits needs frames of a camera", "name them with --data, or --annotations and --images"
            )
        if conditions:
            raise ConfigError("--visits and --conditions exclude each other", "give one of them")
        visits_plan = plan_visits(
            path,
            named,
            images,
            out,
            skip_bad_records,
            parse_engine(engine),
            given,
            form.value if form else None,
            split,
            boxes.value,
            alarms_per_day,
            write_score,
            terminal.progress,
        )
        run_visits(visits_plan, batch_size, dry_run, terminal)
        return
    if alarms_per_day is not None or write_score:
        raise ConfigError("--alarms-per-day and --write-score are for --visits", "add it, or leave them out")
    # their own settings: a run's records are split as they were in training, so none that it trained on is scored
    settings = about(path, given).settings
    chosen = parse_engine(engine)
    plan = plan_evaluation(
        settings,
        path,
        records,
        named,
        images,
        out,
        skip_bad_records,
        terminal.progress,
        conditions,
        chosen,
        given,
        form.value if form else None,
        split,
        boxes.value,
    )
    if dry_run:
        terminal.result(plan.describe())
        return
    document = evaluate(plan, batch_size, terminal.progress)
    if terminal.as_json:
        terminal.result(document)
        return
    metrics = document["metrics"]
    rows = [[name, figure_text(value)] for name, value in metrics.items()]
    terminal.table(["metric", "value"], rows, title=f"{document['weights']} on {document['data']}")
    if "conditions" in document:
        columns = ["condition", "AP", "AP50", "share of the AP by day"]
        terminal.table(
            columns, [[name, *map(figure_text, row.values())] for name, row in document["conditions"].items()]
        )
    skipped = f", bad records skipped: {plan.skipped_records}" if plan.skipped_records else ""
    terminal.note(f"{document['images']} images, {document['boxes']} boxes{skipped}; files in {document['out']}")
