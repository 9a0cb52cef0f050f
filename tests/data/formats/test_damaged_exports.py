"""Whole exports with one file damaged: refused with a reason, or read so that no box is lost without a word.

`nox -s mutations` tries 10,000 for each format.
"""

import json
import logging
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcoslite.data.dataset import LONGEST_SIDE, UNKNOWN_SIDES, AnnotationTable
from fcoslite.data.formats.coco_folder import write_coco
from fcoslite.data.formats.createml import write_createml
from fcoslite.data.formats.open import Format, open_data
from fcoslite.data.formats.voc import write_voc
from fcoslite.data.formats.yolo import label_name, write_yolo
from fcoslite.errors import FcosliteError
from tests.exports import EXPORTS

_VALUES: list[Any] = [None, True, -1, 0, 0.5, 3, 2**63, 1e308, "", "1", "../a", "\ud800", "\x01", "<&>", [], {}]
_PIECES = [
    b"null", b"-1", b'"', b"[", b"}", b"1e999", b"nan", b"\\ud800", b"\xff", b"\x00", b"\n", b" ", b"/", b"..", b"\\",
    b"0", b"1.0 ", b"<object>", b"</object>", b"<name/>", b"&lt;", b"&#1;", b"train", b"names: ", b"- ", b": ",
]  # fmt: skip
_WRITERS: list[Callable[[AnnotationTable, list[str], Path], None]] = [write_coco, write_yolo, write_voc, write_createml]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """All exports, by name."""
    folder = tmp_path_factory.mktemp("exports")
    for name, (make, _, _) in EXPORTS.items():
        make(folder / name)
    return {name: folder / name for name in EXPORTS}


@contextmanager
def heard() -> Iterator[list[str]]:
    """The warnings that are given meanwhile."""
    told: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    log = logging.getLogger("fcoslite")
    log.addHandler(handler)
    try:
        yield told
    finally:
        log.removeHandler(handler)


def _damaged(content: bytes, suffix: str, data: st.DataObject) -> bytes:
    """The content of a file with values, lines or bytes changed."""
    kind = data.draw(st.sampled_from(["bytes", "lines", "values", "end"]))
    if kind == "end":
        return content[: data.draw(st.integers(0, len(content)))]
    if kind == "values":
        return _with_other_values(content, suffix, data)
    if kind == "lines":
        lines = content.splitlines(keepends=True) or [b""]
        for _ in range(data.draw(st.integers(1, 2))):
            place, other = (data.draw(st.integers(0, len(lines) - 1)) for _ in range(2))
            lines[place : place + data.draw(st.integers(0, 1))] = data.draw(st.sampled_from([[], [lines[other]]]))
            lines = lines or [b""]
        return b"".join(lines)
    for _ in range(data.draw(st.integers(1, 3))):
        start, length = data.draw(st.integers(0, len(content))), data.draw(st.integers(0, 3) | st.integers(0, 40))
        content = (
            content[:start] + data.draw(st.binary(max_size=3) | st.sampled_from(_PIECES)) + content[start + length :]
        )
    return content


def _with_other_values(content: bytes, suffix: str, data: st.DataObject) -> bytes:
    if suffix == ".json":
        tree = [json.loads(content)]
        places = list(_places(tree))
        container, key = data.draw(st.sampled_from(places))
        if data.draw(st.booleans()):
            container[key] = data.draw(st.sampled_from(_VALUES))
        elif isinstance(container, list) and data.draw(st.booleans()):
            container.append(container[key])
        else:
            del container[key]
        return json.dumps(tree[0] if tree else None).encode()
    words = rb"(?<=>)[^<>]+(?=<)" if suffix == ".xml" else rb"[^\s:,\[\]]+"
    found = list(re.finditer(words, content))
    if not found:
        return content
    match = data.draw(st.sampled_from(found))
    value = str(data.draw(st.sampled_from(_VALUES))).encode("utf-8", "surrogatepass")
    return content[: match.start()] + value + content[match.end() :]


def _places(container: Any) -> Iterator[tuple[Any, Any]]:
    for key in list(range(len(container)) if isinstance(container, list) else container):
        yield container, key
        if isinstance(container[key], list | dict):
            yield from _places(container[key])


def _boxes_in(folder: Path, form: Format, table: AnnotationTable) -> int | None:
    """Boxes that the files hold, counted by other parsers; None where those do not read them."""
    try:
        if form == "yolo":
            names = {folder / label_name(image.file_name) for image in table.images}
            texts = [path.read_text("utf-8-sig") for path in names if path.is_file()]
            return sum(1 for text in texts for line in text.splitlines() if line.strip())
        if form == "voc":
            trees = [ElementTree.parse(path) for path in folder.rglob("*.xml")]
            return sum(len(tree.getroot().findall("object")) for tree in trees)
        documents = [json.loads(path.read_text("utf-8-sig")) for path in folder.rglob("*.json")]
        if form == "coco":
            return sum(len(document["annotations"]) for document in documents)
        return sum(len(item["annotations"]) for document in documents for item in document)
    except (ValueError, ElementTree.ParseError, LookupError, TypeError):
        return None


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "createml"])
def test_a_damaged_export_is_refused_or_read(
    form: Format, exports: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    written = tmp_path_factory.mktemp("written")

    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        folder = exports[data.draw(st.sampled_from([name for name, (_, of, _) in EXPORTS.items() if of == form]))]
        texts = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".jpg")
        file = data.draw(st.sampled_from(texts))
        whole = file.read_bytes()
        file.write_bytes(_damaged(whole, file.suffix, data))
        try:
            with heard() as told:
                table = open_data(folder, form=form)
            counted = _boxes_in(folder, form, table)
            _check(table, counted, told, data.draw(st.sampled_from(_WRITERS)), written)
        except FcosliteError as error:
            assert error.message and error.hint
            (error.message + error.hint).encode()
        finally:
            file.write_bytes(whole)

    check()


def _check(
    table: AnnotationTable,
    counted: int | None,
    told: list[str],
    write: Callable[[AnnotationTable, list[str], Path], None],
    folder: Path,
) -> None:
    sides = np.array([(image.width, image.height) for image in table.images], float)
    sides[(sides == UNKNOWN_SIDES).all(axis=1)] = LONGEST_SIDE  # boxes stay, until the image is left out
    owners = np.repeat(np.arange(len(sides)), np.diff(table.starts))
    assert len(owners) == len(table.class_ids) == len(set(table.annotation_ids.tolist()))
    assert (table.boxes_xywh[:, :2] >= 0).all() and (table.boxes_xywh[:, 2:] > 0).all()
    assert (table.boxes_xywh[:, :2] + table.boxes_xywh[:, 2:] <= sides[owners] * (1 + 1e-12)).all()
    assert not table.dropped_boxes or told
    if counted is not None and len(table.class_ids) + table.dropped_boxes < counted:
        assert told
    shutil.rmtree(folder)
    folder.mkdir()
    try:
        write(table, [f"{number}.jpg" for number in range(len(table.images))], folder)
    except FcosliteError as error:
        assert error.message and error.hint
    for path in folder.rglob("*.xml"):
        assert ElementTree.parse(path).getroot().findall("object/name") is not None
    for path in folder.rglob("*.json"):
        assert json.loads(path.read_text("utf-8"))
