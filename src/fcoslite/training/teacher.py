"""A teacher in training: a detector that is asked about every view, in the training step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from fcoslite.config.settings import ModelSettings
from fcoslite.data.sources.source import digest
from fcoslite.errors import ConfigError
from fcoslite.fcos.locations import locations_of
from fcoslite.fcos.teaching import Taught
from fcoslite.geometry.boxes import Tensor, ltrb_to_xyxy
from fcoslite.inference.described.decode import boxes_of, points_of
from fcoslite.inference.described.description import DenseOutputs, Description, find_described
from fcoslite.inference.described.detector import DescribedDetector
from fcoslite.models.detector import build_detector
from fcoslite.models.header import model_settings
from fcoslite.models.onnx_graph import read_onnx_function
from fcoslite.models.presets import architecture
from fcoslite.models.weights import load_weights
from fcoslite.runs.find_weights import find_weights
from fcoslite.storage.files import file_digest

Teach = Callable[[Tensor], Taught]  # views [B, S, S, 3] in [0, 1]


@dataclass(frozen=True)
class Teacher:
    """A teacher that was found, and is not loaded.

    Attributes:
        name: In the words of `find_teacher`, with the whole path.
        path: A weights file of ours, or an ONNX file.
        description: Of the ONNX file; None for ours.
        digest: Of the file and its description: a run goes on with the teacher it began with.
    """

    name: str
    path: Path
    description: Description | None
    digest: str

    def facts(self) -> dict[str, str]:
        """As run.json has it."""
        return {"teacher": self.name, "teacher_digest": self.digest}


def find_teacher(name: str, runs: Path) -> Teacher:
    """What `--teacher` names: packaged weights, a .npz, a run; or FILE.onnx, described beside it or after a colon.

    Raises:
        WeightsError: There is none.
        ConfigError: The ONNX file has no description, or one that cannot be used.
    """
    described = find_described(name)
    if described is None:
        path = find_weights(name, runs).resolve()
        return Teacher(str(path), path, None, file_digest(path))
    path, description, named = described
    if description.dense is None or description.dense.layout == "rows":
        raise ConfigError(
            f"{path} says what is in an image, not what it sees at every point",
            "a teacher needs the maps of its head: an ONNX file with one output per stride",
        )
    whole = str(path.resolve())
    if named is not None:
        whole += f":{Path(named).resolve() if Path(named).is_file() else named}"
    facts = digest([file_digest(path), description.model_dump_json(exclude_defaults=True)])
    return Teacher(whole, path.resolve(), description, facts)


def teacher_to_resume(name: str | None, facts: Mapping[str, Any], runs: Path) -> Teacher | None:
    """The teacher of a run that goes on; `name` says where it is now, None: where it was.

    Raises:
        WeightsError: It is not there.
        ConfigError: It is another one.
    """
    before = facts.get("teacher")
    if name is None and before is None:
        return None
    if before is None:
        raise ConfigError("the run was started without a teacher", "leave --teacher out, or start a new run")
    teacher = find_teacher(name or before, runs)
    if teacher.digest != facts.get("teacher_digest"):
        if teacher.name == before:
            raise ConfigError(f"{before} has changed since the run was started", "name the old file with --teacher")
        raise ConfigError(f"{teacher.name} is not the teacher that the run was started with", f"that was {before}")
    return teacher


def check_teacher(teacher: Teacher, student: ModelSettings) -> None:
    """Refuse a teacher that cannot teach a student; nothing of Keras is built.

    Args:
        teacher: Which.
        student: Complete: classes, image size.

    Raises:
        WeightsError: The file cannot be used.
        ConfigError: It does not know the student's classes, has none of its strides, cannot take its image size, or is
            not what its description says.
    """
    classes, strides, size = student.classes or (), architecture(student).strides, student.image_size
    ours = model_settings(teacher.path) if teacher.description is None else None
    known = tuple(teacher.description.classes) if teacher.description else (ours.classes if ours else None) or ()
    if missing := [name for name in classes if name not in known]:
        raise ConfigError(
            f"the teacher {teacher.path} does not know {', '.join(missing)}", f"it knows {', '.join(known)}"
        )
    if ours is not None:
        theirs = architecture(ours).strides
    else:
        assert teacher.description is not None and teacher.description.dense is not None
        theirs = teacher.description.dense.strides
    if not set(theirs) & set(strides):
        raise ConfigError(
            f"the teacher {teacher.path} has the strides {list(theirs)}, none of the student's {list(strides)}",
            "take another teacher",
        )
    step = max(theirs)
    if size % step:
        raise ConfigError(
            f"the teacher {teacher.path} takes no images of {size} pixels",
            f"train at a multiple of its largest stride: --set model.image_size={max(step, size // step * step)}",
        )
    if teacher.description is not None:
        read_onnx_function(teacher.path)
        detector = DescribedDetector(teacher.path, teacher.description, size, score=0.5, threads=1)
        detector.predict(np.zeros((size, size, 3), np.uint8))  # compares outputs and channels with the description


def load_teacher(teacher: Teacher, student: ModelSettings, precision: str = "float32") -> Teach:
    """A teacher that says at the student's locations what it sees there.

    Args:
        teacher: Which; `check_teacher` lets it pass.
        student: Complete: classes, image size.
        precision: A Keras dtype policy; what it says is float32 under all of them.

    Raises:
        WeightsError: The file cannot be used.
    """
    strides = architecture(student).strides
    if teacher.description is None:
        return _of_ours(teacher.path, student, strides, precision)
    return _of_onnx(teacher.path, teacher.description, student, strides, precision)


def _of_ours(path: Path, student: ModelSettings, strides: tuple[int, ...], precision: str) -> Teach:
    settings = model_settings(path).model_copy(update={"image_size": student.image_size, "backbone_weights": None})
    detector = build_detector(settings, precision)
    load_weights(detector, path)
    detector.network.trainable = False
    channels = [detector.class_names.index(name) for name in student.classes or ()]
    locations = locations_of(student.image_size, detector.architecture.strides)
    levels = dict(zip(detector.architecture.strides, locations.levels, strict=True))

    def teach(views: Tensor) -> Taught:
        outputs = detector.network(views, training=False)
        scores = ops.take(ops.sigmoid(outputs["class_logits"]), np.array(channels), axis=-1)
        if "quality_logits" in outputs:
            scores = scores * ops.sigmoid(outputs["quality_logits"])
        boxes_xyxy = ltrb_to_xyxy(locations.points, outputs["distances"] * locations.strides[:, None])
        said = {stride: (scores[:, level], boxes_xyxy[:, level]) for stride, level in levels.items()}
        return _at_strides(said, strides, student.image_size)

    return teach


def _of_onnx(
    path: Path, description: Description, student: ModelSettings, strides: tuple[int, ...], precision: str
) -> Teach:
    run, size = read_onnx_function(path), student.image_size
    given, dense = description.input, description.dense
    assert dense is not None
    channels = [dense.score_channel + description.classes[name] for name in student.classes or ()]
    dtype = keras.DTypePolicy(precision).compute_dtype
    mean, std = np.asarray(given.mean, np.float32), np.asarray(given.std, np.float32)

    def teach(views: Tensor) -> Taught:
        pixels = views * 255.0
        if given.channels == "bgr":
            pixels = ops.flip(pixels, axis=-1)
        maps = [ops.cast(one, "float32") for one in run(ops.cast((pixels - mean) / std, dtype))]
        said = {}
        for stride, values in zip(dense.strides, maps, strict=True):
            if stride in strides:
                scores, boxes_xyxy = _decode(values, dense, channels, stride, size)
                if dense.first_point != 0.5:
                    scores, boxes_xyxy = _between(scores, boxes_xyxy)
                said[stride] = _flat(scores), _flat(boxes_xyxy)
        return _at_strides(said, strides, size)

    return teach


def _decode(values: Tensor, dense: DenseOutputs, channels: list[int], stride: int, size: int) -> tuple[Tensor, Tensor]:
    """Scores [B, H, W, C] and boxes_xyxy [B, H, W, 4], pixels, of an output [B, H, W, D]."""
    scores = ops.take(values, np.array(channels), axis=-1)
    factor = None if dense.objectness_channel is None else values[..., dense.objectness_channel, None]
    if dense.activation == "sigmoid":
        scores, factor = ops.sigmoid(scores), None if factor is None else ops.sigmoid(factor)
    if factor is not None:
        scores = scores * factor
    four = values[..., dense.box_channel : dense.box_channel + 4]
    return scores, boxes_of(four, points_of(size, stride, dense), float(stride), dense.box, ops)


def _between(scores: Tensor, boxes_xyxy: Tensor) -> tuple[Tensor, Tensor]:
    """At the middles of cells what a grid says at their corners: the mean of the scores, and the box of the best."""
    height, width = scores.shape[1:3]
    corners = [(slice(y, height + y), slice(x, width + x)) for y in (0, 1) for x in (0, 1)]
    padded = [[0, 0], [0, 1], [0, 1], [0, 0]]
    scores, boxes_xyxy = ops.pad(scores, padded, "symmetric"), ops.pad(boxes_xyxy, padded, "symmetric")
    four = ops.stack([scores[:, rows, columns] for rows, columns in corners], axis=-1)  # (B, H, W, C, 4)
    boxes = ops.stack([boxes_xyxy[:, rows, columns] for rows, columns in corners], axis=-2)  # (B, H, W, 4, 4)
    best = ops.one_hot(ops.argmax(ops.max(four, axis=-2), axis=-1), 4)[..., None]
    return ops.mean(four, axis=-1), ops.sum(boxes * best, axis=-2)


def _flat(values: Tensor) -> Tensor:
    """[B, H, W, D] -> [B, H · W, D]."""
    return ops.reshape(values, (-1, values.shape[1] * values.shape[2], values.shape[3]))


def _at_strides(said: dict[int, tuple[Tensor, Tensor]], strides: tuple[int, ...], size: int) -> Taught:
    """What is said at the locations of strides, in the order of the student's levels."""
    some_scores, some_boxes = next(iter(said.values()))
    scores, boxes, known = [], [], []
    for stride in strides:
        count = (size // stride) ** 2
        known.append(np.full(count, stride in said, np.float32))
        if stride in said:
            scores.append(said[stride][0])
            boxes.append(said[stride][1])
        else:
            nothing = ops.zeros((ops.shape(some_scores)[0], count, 1))
            scores.append(ops.tile(nothing, (1, 1, some_scores.shape[-1])))
            boxes.append(ops.tile(nothing, (1, 1, some_boxes.shape[-1])))
    return Taught(
        ops.stop_gradient(ops.concatenate(scores, axis=1)),
        ops.stop_gradient(ops.concatenate(boxes, axis=1)),
        ops.convert_to_tensor(np.concatenate(known)[None]),
    )
