"""A plain folder of photographs: a data set without a box."""

from collections.abc import Sequence
from pathlib import Path

from fcoslite.data.dataset import AnnotationTable, Category
from fcoslite.data.formats.class_choice import chosen_names
from fcoslite.data.formats.files import images_below, number_images
from fcoslite.data.formats.table import BoxList, assemble
from fcoslite.errors import DataError


def find_photographs(folder: Path) -> str | None:
    """The first image of a folder; None if there is none."""
    return next(iter(images_below(folder, folder)), None)


def open_photographs(folder: Path, classes: Sequence[str] | None = None) -> AnnotationTable:
    """The images of a folder and those below it.

    Args:
        folder: The folder.
        classes: Names of the classes that no image has a box of; None: person.

    Raises:
        DataError: There is no image.
    """
    names = images_below(folder, folder)
    if not names:
        raise DataError(f"no image in {folder}", "a data set needs at least one")
    categories = [
        Category(number, name) for number, name in enumerate(chosen_names(classes or ["person"], ()), start=1)
    ]
    columns = BoxList().columns(categories, categories, lambda image, place: "")
    return assemble(folder, folder, categories, number_images(dict.fromkeys(names), folder), columns)
