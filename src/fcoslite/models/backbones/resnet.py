"""Keras' own weights files (`.h5`): what they may hold before Keras reads them."""

from pathlib import Path

import h5py

from fcoslite.errors import WeightsError

_LARGEST = 2**28  # bytes; ResNet-50 without its top takes 94 million


def check_keras_file(path: Path) -> None:
    """Refuse a file that is not HDF5, that leads to other files, or that would take more memory than weights do.

    Keras follows links and reads data sets whole before it compares their shapes.

    Raises:
        WeightsError: The file cannot be used.
    """
    if not path.is_file():
        raise WeightsError(f"no backbone weights at {path}", "model.backbone_weights names a local file")
    if path.suffix != ".h5":
        raise WeightsError(f"{path} is no .h5 file", "resnet50 starts from the weights that Keras keeps as .h5")
    try:
        with h5py.File(path, "r") as file:
            fault = _fault(file)
    except Exception as error:  # the parser raises whatever its input leads it to
        raise WeightsError(f"{path} cannot be read: {error}", "the file is damaged or of another format") from None
    if fault:
        raise WeightsError(f"{path} is refused: {fault}", "take the file of keras.applications, without the top")


def _fault(file: h5py.File) -> str | None:
    size = 0

    def look(name: str, link: object) -> str | None:
        nonlocal size
        if not isinstance(link, h5py.HardLink):
            return f"{name} leads elsewhere"
        item = file[name]
        if isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                return f"{name} keeps its values elsewhere"
            size += item.nbytes
        return f"it holds more than {_LARGEST:,} bytes" if size > _LARGEST else None

    return file.visititems_links(look)
