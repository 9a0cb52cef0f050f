"""ResNet-50 of keras.applications, and what its weights files (`.h5`) may hold before Keras reads them."""

from pathlib import Path

import h5py
import keras

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


def resnet50(images: keras.KerasTensor, weights: str | None = None) -> dict[int, keras.KerasTensor]:
    """ResNet-50 of keras.applications, strides 8 to 32.

    Its ImageNet weights expect BGR in 0-255 with the channel means taken off; that happens here, so that every
    backbone takes the same input.
    """
    if weights is not None:
        check_keras_file(Path(weights))
        weights = str(Path(weights).resolve())  # keras.applications takes some names for what it can download
    mean = [103.939, 116.779, 123.68]  # BGR, keras.applications' "caffe" preprocessing
    bgr = keras.layers.Rescaling(255.0, offset=[-value for value in reversed(mean)], name="backbone_scale")(images)
    # not flip: in ONNX that is a ReverseSequence, which OpenCV does not have
    bgr = keras.ops.take(bgr, [2, 1, 0], axis=-1)
    try:
        network = keras.applications.ResNet50(
            include_top=False, weights=weights, input_tensor=bgr, name="backbone_resnet50"
        )
    except Exception as error:  # Keras takes the file for granted, and fails wherever it is not what it expects
        if weights is None:
            raise
        raise WeightsError(f"{weights} does not fit ResNet-50: {error}", "take the file without the top") from None
    names = {8: "conv3_block4_out", 16: "conv4_block6_out", 32: "conv5_block3_out"}
    return {stride: network.get_layer(name).output for stride, name in names.items()}
