"""An ONNX detector that suppresses duplicates itself."""

from typing import Any

import numpy as np

from fcoslite.export.onnx import with_facts
from fcoslite.models.facts import ExportFacts


def append_nms(model: Any, facts: ExportFacts) -> Any:
    """Append ONNX' NonMaxSuppression to a detector.

    The result takes `images`, `iou_threshold` [1] and `score_threshold` [1], float32: inputs, because some runtimes
    refuse constants that may be overridden. It gives `detections` [M, 7] float32, best first within an image and class:
    image in the batch, x_min, y_min, x_max, y_max in letterboxed pixels, score, class id from 1 on.

    Args:
        model: From `to_onnx` or `to_int8`.
        facts: Of the result.
    """
    from onnx import TensorProto, helper, numpy_helper

    graph = model.graph
    constants = {
        "nms_most": [facts.evaluate.max_detections],
        "nms_image": [0],
        "nms_class": [1],
        "nms_location": [2],
        "nms_one": [1],
    }
    for name, values in constants.items():
        graph.initializer.append(numpy_helper.from_array(np.array(values, np.int64), name))
    nodes = [
        helper.make_node("Transpose", ["scores"], ["nms_scores"], perm=[0, 2, 1]),
        # it takes corners in any order, so x and y may change places in all boxes
        helper.make_node(
            "NonMaxSuppression", ["boxes", "nms_scores", "nms_most", "iou_threshold", "score_threshold"], ["nms_chosen"]
        ),
        helper.make_node("Gather", ["nms_chosen", "nms_image"], ["nms_images"], axis=1),  # (M, 1)
        helper.make_node("Gather", ["nms_chosen", "nms_class"], ["nms_classes"], axis=1),
        helper.make_node("Gather", ["nms_chosen", "nms_location"], ["nms_locations"], axis=1),
        helper.make_node("Concat", ["nms_images", "nms_locations"], ["nms_rows"], axis=1),
        helper.make_node("GatherND", ["boxes", "nms_rows"], ["nms_boxes"]),  # (M, 4)
        helper.make_node("GatherND", ["nms_scores", "nms_chosen"], ["nms_values"]),  # (M,)
        helper.make_node("Unsqueeze", ["nms_values", "nms_one"], ["nms_value"]),
        helper.make_node("Add", ["nms_classes", "nms_one"], ["nms_ids"]),
        helper.make_node("Cast", ["nms_images"], ["nms_images_float"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["nms_ids"], ["nms_ids_float"], to=TensorProto.FLOAT),
        helper.make_node(
            "Concat", ["nms_images_float", "nms_boxes", "nms_value", "nms_ids_float"], ["detections"], axis=1
        ),
    ]
    graph.node.extend(nodes)
    for name in ("iou_threshold", "score_threshold"):
        graph.input.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]))
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("detections", TensorProto.FLOAT, ["found", 7]))
    return with_facts(model, facts)
