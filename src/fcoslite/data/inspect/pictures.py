"""The pictures of a data set, wherever they are."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from fcoslite.data.dataset import AnnotationTable
from fcoslite.data.image_files_hint import explain
from fcoslite.data.images import decode_image, follows_links, read_content
from fcoslite.data.skipped import SkippedImage


class Pictures(Protocol):
    """Pictures by position in their table."""

    def read(self, index: int) -> tuple[bytes, np.ndarray]:
        """What is stored, and its pixels [height, width, 3] uint8, RGB, as the boxes are for.

        Raises:
            UnusableImageError: It cannot be used.
        """

    def explain(self, unusable: Sequence[SkippedImage], indexes: Sequence[int]) -> str:
        """What is the matter with those of the pictures at `indexes` that cannot be used, and what to do."""


class FilePictures:
    """Files in the folder of a table."""

    def __init__(self, table: AnnotationTable) -> None:
        self._table = table
        self._follow_links = follows_links(table.folder)

    def read(self, index: int) -> tuple[bytes, np.ndarray]:
        """See `Pictures`."""
        image, folder = self._table.images[index], self._table.folder
        content = read_content(image, folder, self._follow_links)
        return content, decode_image(content, folder / image.file_name, (image.height, image.width))

    def explain(self, unusable: Sequence[SkippedImage], indexes: Sequence[int]) -> str:
        """See `Pictures`."""
        return explain(unusable, (self._table.images[index] for index in indexes), self._table.folder)
