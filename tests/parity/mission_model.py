"""The original detector as its own era would write it: TensorFlow 2.15 (Keras 2) and tensorflow-addons.

Run by `nox -s addons-parity` in an environment of its own; imports nothing of fcoslite. Into the folder given
it writes the same random weights in the two layouts that people of the time had, and what the model makes of
two images with them:

    checkpoint/model.*   tf.train.Checkpoint(model=..., optimizer=...)
    weights/model.*      model.save_weights in TensorFlow's format
    reference.npz        images, class_logits, distances, quality_logits
"""

import sys
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_addons as tfa
from tensorflow.keras import Model, Sequential, layers


def conv(filters, size, strides=1):
    return layers.Conv2D(filters, size, strides=strides, padding="same", use_bias=False)


def group_norm(groups):
    return tfa.layers.GroupNormalization(groups=groups, axis=-1)


def bottleneck(x, filters, strides=1):
    y = layers.ELU()(group_norm(32)(conv(filters, 1, strides)(x)))
    y = layers.ELU()(group_norm(32)(conv(filters, 3)(y)))
    y = conv(2 * filters, 1)(y)
    if strides > 1 or x.shape[-1] != 2 * filters:
        x = conv(2 * filters, 1, strides)(x)
    y = layers.ELU()(group_norm(32)(layers.Add()([y, x])))
    return layers.ELU()(group_norm(32)(conv(2 * filters, 3)(y)))


def build_fpn():
    images = layers.Input([512, 512, 3])
    x = layers.ELU()(group_norm(16)(conv(32, 5, 2)(images)))
    c1 = layers.MaxPooling2D(2, padding="same")(x)
    c2 = bottleneck(bottleneck(c1, 32), 32)
    c3 = bottleneck(bottleneck(c2, 64, strides=2), 64)
    c4 = bottleneck(c3, 128, strides=2)
    c5 = bottleneck(c4, 128, strides=2)

    lat_convs = [conv(128, 1) for _ in range(4)]
    lat_bns = [group_norm(32) for _ in range(4)]
    fuse_bns = [group_norm(32) for _ in range(3)]
    smooth_convs = [conv(128, 3) for _ in range(4)]
    smooth_bns = [group_norm(32) for _ in range(4)]
    merged, pyramid = None, []
    for i, c in enumerate([c5, c4, c3, c2]):
        m = layers.LeakyReLU(alpha=0.01)(lat_bns[i](lat_convs[i](c)))
        if merged is not None:
            m = layers.Add()([m, layers.UpSampling2D(2)(merged)])
            m = layers.LeakyReLU(alpha=0.01)(fuse_bns[i - 1](m))
        merged = m
        pyramid.append(layers.LeakyReLU(alpha=0.01)(smooth_bns[i](smooth_convs[i](m))))
    return Model(images, pyramid[::-1], name="FPN")


def head_tower():
    tower = Sequential()
    for _ in range(4):
        tower.add(conv(64, 3))
        tower.add(group_norm(16))
        tower.add(layers.Activation("swish"))
    return tower


class FCOSModel(Model):
    def __init__(self, num_classes):
        super().__init__()
        self.FPN = build_fpn()
        self.cls_tower = head_tower()
        self.reg_tower = head_tower()
        self.cls_head = layers.Conv2D(num_classes, 1, name="Classification")
        self.reg_head = layers.Conv2D(4, 1, name="Regression")
        self.ctr_head = layers.Conv2D(1, 1, name="Centerness")
        self.scale = [tf.Variable(0.1, trainable=True) for _ in range(4)]

    def call(self, images):
        classes, distances, centerness = [], [], []
        for i, level in enumerate(self.FPN(images)):
            box_features = self.reg_tower(level)
            classes.append(self.cls_head(self.cls_tower(level)))
            distances.append(tf.exp(self.reg_head(box_features) * self.scale[i]))
            centerness.append(self.ctr_head(box_features))
        return classes, distances, centerness


def check_summary(model):
    # the summary printed by the original code
    parts = [model.FPN, model.cls_tower, model.reg_tower, model.cls_head, model.reg_head, model.ctr_head]
    counts = [part.count_params() for part in parts]
    assert counts == [2_885_024, 184_832, 184_832, 65, 260, 65], counts
    assert model.count_params() == 3_255_082, model.count_params()  # with the four scales


def randomise(model, rng):
    """No weight keeps a value that another could have: a swap of any two must show in the outputs."""
    for weight in model.weights:
        kind = weight.name.split("/")[-1].split(":")[0]
        if kind == "kernel":
            value = rng.normal(0, np.prod(weight.shape[:-1]) ** -0.5, weight.shape)
        elif kind == "gamma":
            value = rng.uniform(0.5, 1.5, weight.shape)
        elif kind == "Variable":  # a scale
            value = rng.uniform(0.3, 1.0)
        else:
            value = rng.normal(0, 0.3, weight.shape)
        weight.assign(value)


def main(folder):
    rng = np.random.default_rng(0)
    model = FCOSModel(num_classes=1)
    images = rng.uniform(0, 1, (2, 512, 512, 3)).astype("float32")
    images[:, 100:300, 200:320] *= 0.2  # something with edges in the noise
    model(images[:1])
    check_summary(model)
    randomise(model, rng)
    optimizer = tf.keras.optimizers.AdamW()
    optimizer.build(model.trainable_variables)
    tf.train.Checkpoint(model=model, optimizer=optimizer).write(str(folder / "checkpoint" / "model"))
    model.save_weights(str(folder / "weights" / "model"), save_format="tf")
    outputs = [
        np.concatenate([level.numpy().reshape(len(images), -1, level.shape[-1]) for level in kind], axis=1)
        for kind in model(images)
    ]
    names = ["class_logits", "distances", "quality_logits"]
    np.savez(folder / "reference.npz", images=images, **dict(zip(names, outputs, strict=True)))
    for name, value in zip(names, outputs, strict=True):
        print(f"{name}: {value.shape}, {value.min():.3f} to {value.max():.3f}, deviation {value.std():.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
