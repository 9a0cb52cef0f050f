"""What a LiteRT detector says of itself as TensorFlow Lite's metadata: MediaPipe takes none without."""

from collections.abc import Sequence
from typing import Any

import flatbuffers

from fcoslite.models.facts import ExportFacts

KEY = "TFLITE_METADATA"  # of the model's buffers
LABELS_FILE = "labels.txt"  # appended to the model as a zip

_Field = tuple[str, Any]  # how the builder calls its type, and the value


def ssd_metadata(facts: ExportFacts) -> bytes:
    """The metadata of a file of `export.ssd`.

    Slots and numbers are those of mediapipe/tasks/metadata/metadata_schema.fbs, whose generated code no package that we
    need carries.
    """
    builder = flatbuffers.Builder(1024)

    def table(*fields: _Field | None) -> _Field:
        """Fields by slot."""
        builder.StartObject(len(fields))
        for slot, field in enumerate(fields):
            if field is not None:
                getattr(builder, f"Prepend{field[0]}Slot")(slot, field[1], 0)
        return "UOffsetTRelative", builder.EndObject()

    def text(value: str) -> _Field:
        return "UOffsetTRelative", builder.CreateString(value)

    def vector(values: Sequence[Any], of: str, size: int) -> _Field:
        builder.StartVector(size, len(values), size)
        for value in reversed(values):
            getattr(builder, f"Prepend{of}")(value)
        return "UOffsetTRelative", builder.EndVector()

    def tables(*made: _Field) -> _Field:
        return vector([value for _, value in made], "UOffsetTRelative", 4)

    def tensor(name: str, content: _Field, more: _Field | None = None, files: _Field | None = None) -> _Field:
        return table(text(name), None, None, content, more, None, files)

    as_features, as_image, as_boxes = (("Uint8", number) for number in (1, 2, 3))  # kinds of content
    rgb, boundaries, normalising, class_names = (("Int8", 1), ("Int8", 1), ("Uint8", 1), ("Int8", 3))
    size = table(("Uint32", facts.image_size), ("Uint32", facts.image_size))
    # 0 to 255 as they are: the network normalises
    unchanged = table(vector([0.0], "Float32", 4), vector([1.0], "Float32", 4))
    pixels = tensor("image", table(as_image, table(rgb, size)), tables(table(normalising, unchanged)))
    sides = vector([1, 0, 3, 2], "Uint32", 4)  # where left, top, right and bottom stand
    labels = table(text(LABELS_FILE), None, class_names)
    names = ("location", "category", "score", "number of detections")
    location = tensor(names[0], table(as_boxes, table(sides, boundaries)))
    category = tensor(names[1], table(as_features, table()), files=tables(labels))
    score, count = (tensor(name, table(as_features, table())) for name in names[2:])
    together = table(text("detection_result"), tables(*map(text, names[:3])))
    graph = table(
        *(None, None, tables(pixels), tables(location, category, score, count)),
        *(None, None, None, None, tables(together)),
    )
    model = table(
        text("fcoslite"), text("A detector; duplicates are suppressed."), text(facts.version), tables(graph),
        None, None, None, text("1.0.0"),
    )  # fmt: skip
    builder.Finish(model[1], file_identifier=b"M001")
    return bytes(builder.Output())
