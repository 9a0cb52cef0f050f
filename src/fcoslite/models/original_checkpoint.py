"""Checkpoints of the original detector (TensorFlow to 2.15, tensorflow-addons) brought into a `lite` detector.

The original detector is that of docs/original.md. What can be read are checkpoints of
`tf.train.Checkpoint(model=...)` and of `model.save_weights` in TensorFlow's format, the model being a
`tf.keras.Model` that has as attributes

- one functional model of backbone and neck, its outputs listed finest level first;
- two `Sequential` towers and three 1x1 output convolutions, whose attribute names tell their purpose: `cls`
  or `class`, `reg` or `box`, `ctr` or `cent` (`cls_tower`, `reg_head`, ...);
- one list of scalars with `scale` in its name, finest level first: the factors of the distances.

Centerness is taken to be read from the regression tower, as the original code does; no checkpoint tells.
Other names, and the order in which layers were created, do not matter: a functional model numbers its layers
by their depth in the graph, and ours, of the same graph, numbers them alike. Only the order of an addition's
two operands may differ; the shapes tell (see `_name_body`).
"""

import math
import re
from collections import defaultdict
from pathlib import Path

import keras
import numpy as np

from fcoslite.config.load import load_settings
from fcoslite.config.settings import ModelSettings
from fcoslite.errors import WeightsError
from fcoslite.models.detector import Detector, build_detector
from fcoslite.models.weights import assign_weights, save_weights

# an optimizer's slots have more components before .ATTRIBUTES; its lists have no `scale` in their name
_KEY = re.compile(
    r"(?P<group>.+?)(/layer_with_weights-(?P<layer>\d+))?"
    r"/((?P<variable>kernel|bias|gamma|beta)|(?P<item>\d+))/\.ATTRIBUTES/VARIABLE_VALUE"
)
_CLASS, _BOX, _CENTERNESS, _SCALES, _BODY = "cls|class", "reg|box", "ctr|cent", "scale", ""

# the variables of a layer by name
_Layer = dict[str, np.ndarray]


def import_checkpoint(checkpoint: Path, out: Path | None = None, settings: ModelSettings | None = None) -> Detector:
    """Bring a TensorFlow checkpoint of the original detector into a detector of ours.

    Args:
        checkpoint: A checkpoint's prefix (its path without `.index`), its `.index` file, or a folder whose
            `checkpoint` file names the latest. Optimizer state and counters in it are passed over.
        out: The weights file to write, in fcoslite's format; None writes none.
        settings: None takes the original's: `lite`, one class, person.

    Returns:
        The detector with the checkpoint's weights.

    Raises:
        WeightsError: It is not a checkpoint, or one of another model.
    """
    detector = build_detector(settings or load_settings().model)
    shape = detector.architecture
    if (shape.backbone, shape.neck) != ("bottleneck", "normalised"):
        raise WeightsError("only the original detector has checkpoints to import", "set model.preset=lite")
    groups = _read_groups(checkpoint)
    kinds = [f"{kind}{index}" for index in range(shape.head_depth) for kind in ("conv", "norm")]
    heads = [
        (_CLASS, [f"head_class_{kind}" for kind in kinds]),
        (_BOX, [f"head_box_{kind}" for kind in kinds]),
        (_CLASS, ["head_class_logits"]),
        (_BOX, ["head_distances"]),
        (_CENTERNESS, ["head_quality_logits"]),
        (_SCALES, [f"head_s{stride}_exp" for stride in shape.strides]),
    ]
    layers: dict[str, _Layer] = {}
    for purpose, names in heads:
        group = _find_group(groups, purpose, names, checkpoint)
        layers |= zip(names, group, strict=True)
    body = _body_layers(detector)
    group = _find_group(groups, _BODY, [layer.name for layer in body], checkpoint)
    layers |= zip(_name_body(body, group), group, strict=True)

    arrays = {f"{name}/{variable}": value for name, layer in layers.items() for variable, value in layer.items()}
    assign_weights(detector, arrays, origin=str(checkpoint))
    if out is not None:
        save_weights(detector, out, {"imported_from": checkpoint.name})
    return detector


def _read_groups(checkpoint: Path) -> dict[str, list[_Layer]]:
    """The layers that each attribute holds, in TensorFlow's order; a scalar of a list counts as a layer."""
    import tensorflow as tf

    groups: defaultdict[str, defaultdict[int, _Layer]] = defaultdict(lambda: defaultdict(dict))
    try:
        prefix = checkpoint.with_suffix("") if checkpoint.suffix == ".index" else checkpoint
        if checkpoint.is_dir():
            prefix = Path(tf.train.latest_checkpoint(str(checkpoint)) or checkpoint)
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        wanted = {key: match for key in shapes if (match := _KEY.fullmatch(key))}
        # TensorFlow takes the memory that a shape asks for before it looks whether there is as much
        declared = sum(math.prod(shapes[key]) * dtypes[key].size for key in wanted)
        if declared > _bytes_of_data(prefix):
            raise ValueError("its shapes ask for more than it holds")
        for key, match in wanted.items():
            if match["variable"]:
                groups[match["group"]][int(match["layer"] or 0)][match["variable"]] = reader.get_tensor(key)
            elif not shapes[key]:
                groups[match["group"]][int(match["item"])]["scale"] = reader.get_tensor(key)
    except Exception as error:  # TensorFlow's reader raises whatever a damaged file leads it to
        raise WeightsError(
            f"{checkpoint} cannot be read as a TensorFlow checkpoint: {error}",
            "give the path without .index; the .data files must lie beside the .index file",
        ) from None
    return {name: [layers[index] for index in sorted(layers)] for name, layers in groups.items()}


def _bytes_of_data(prefix: Path) -> int:
    files = [path for path in prefix.parent.iterdir() if path.name.startswith(f"{prefix.name}.data-")]
    return sum(path.stat().st_size for path in files)


def _find_group(groups: dict[str, list[_Layer]], purpose: str, names: list[str], checkpoint: Path) -> list[_Layer]:
    found = [
        group
        for group, layers in groups.items()
        if len(layers) == len(names) and re.search(purpose, group.rpartition("/")[2], re.IGNORECASE)
    ]
    if len(found) != 1:
        named = f" named {purpose.replace('|', ' or ')}" if purpose else ""
        raise WeightsError(
            f"{checkpoint} has {len(found)} attributes{named} with {len(names)} layers, "
            f"where we need one for {names[0]} to {names[-1]}",
            "the docstring of fcoslite.models.original_checkpoint says which checkpoints can be read",
        )
    return groups[found[0]]


def _body_layers(detector: Detector) -> list[keras.layers.Layer]:
    """The layers with weights of backbone and neck, ordered as Keras orders a functional model of them."""
    network = detector.network
    levels = [network.get_layer(f"neck_s{stride}_smooth_lrelu").output for stride in detector.architecture.strides]
    return [layer for layer in keras.Model(network.inputs, levels).layers if layer.weights]


def _name_body(body: list[keras.layers.Layer], stored: list[_Layer]) -> list[str]:
    """Our names for the stored layers of backbone and neck.

    Layers of equal depth are ordered as the operands of the addition they lead to. Where the stored model had
    these the other way round, two neighbours have changed places. In the neck and in the last block their
    shapes show it. In other blocks both shapes are the same, but one function makes all blocks: all are
    crossed or none.
    """
    ours = [{weight.name: tuple(weight.shape) for weight in layer.weights} for layer in body]
    theirs = [{name: value.shape for name, value in layer.items()} for layer in stored]
    names = [layer.name for layer in body]
    pairs = range(len(names) - 1)
    crossed = {i for i in pairs if ours[i] != theirs[i] and (ours[i], ours[i + 1]) == (theirs[i + 1], theirs[i])}
    shortcuts = {i for i in pairs if names[i].endswith("_conv3") and names[i + 1].endswith("_shortcut")}
    if crossed & shortcuts:
        crossed |= shortcuts
    for i in crossed:
        names[i], names[i + 1] = names[i + 1], names[i]
    return names
