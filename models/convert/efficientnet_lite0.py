#!/usr/bin/env python3
"""Turns the weights of EfficientNet-Lite0 into an ONNX file with its first 11 blocks.

    python3 efficientnet_lite0.py WEIGHTS.PTH OUT.ONNX

The input is [1, 3, 96, 96], (pixel - 127) / 128; the output `embedding` is [1, 112], the mean over
height and width of the 11th block. Batch norm is folded into the convolutions. Needs numpy and onnx,
no torch: the weights' format (torch.save before 1.6) is read here, and nothing in it is run.
"""

import pathlib
import pickle
import sys
from collections import OrderedDict

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper, save_model

SIDE = 96
EPSILON = 1e-3
# Repeats, kernel, first stride, expansion, channels out: the stages up to the 11th block
# (EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, Tan and Le, 2019; Lite
# has ReLU6 in place of swish, and no squeeze-and-excitation).
STAGES = [(1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112)]


class Unpickler(pickle.Unpickler):
    """Knows dictionaries and tensors, and refuses everything else."""

    TYPES = {"FloatStorage": "<f4", "LongStorage": "<i8"}

    def find_class(self, module, name):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, size, stride, *_: (*storage, offset, size, stride)
        if module == "torch" and name in self.TYPES:
            return self.TYPES[name]
        raise pickle.UnpicklingError(f"{module}.{name} is not expected in weights")

    def persistent_load(self, pid):
        _, dtype, key, *_ = pid
        return key, dtype


def load(path):
    """The arrays in the file, by name."""
    with open(path, "rb") as file:
        for _ in range(3):  # a magic number, a version, the machine
            Unpickler(file).load()
        tensors = Unpickler(file).load()
        dtypes = {key: dtype for key, dtype, *_ in tensors.values()}
        storages = {}
        for key in Unpickler(file).load():
            count = int.from_bytes(file.read(8), "little")
            dtype = np.dtype(dtypes[key])
            storages[key] = np.frombuffer(file.read(count * dtype.itemsize), dtype)

    def array(key, dtype, offset, size, stride):
        steps = [s * storages[key].itemsize for s in stride]
        return np.lib.stride_tricks.as_strided(storages[key][offset:], size, steps, writeable=False)

    return {name: array(*tensor) for name, tensor in tensors.items()}


class Graph:
    """Nodes in order, each on the output of the one before."""

    def __init__(self, weights):
        self.weights = weights
        self.nodes = []
        self.initializers = [
            numpy_helper.from_array(np.array([0], np.float32), "lo"),
            numpy_helper.from_array(np.array([6], np.float32), "hi"),
        ]
        self.last = "input"
        self.side = SIDE

    def node(self, kind, inputs, output=None, **attributes):
        self.last = output or f"t{len(self.nodes) + 1}"
        self.nodes.append(helper.make_node(kind, inputs, [self.last], **attributes))

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(array.astype(np.float32), name))
        return name

    def conv(self, name, norm, stride=1, groups=1, relu=True):
        """A convolution with the batch norm `norm` folded in, padded as TensorFlow's SAME."""
        gamma, beta, mean, var = (
            self.weights[f"{norm}.{part}"].astype(np.float64)
            for part in ("weight", "bias", "running_mean", "running_var")
        )
        gain = gamma / np.sqrt(var + EPSILON)
        kernel = self.weights[f"{name}.weight"] * gain[:, None, None, None]
        size = kernel.shape[2]
        out = -(-self.side // stride)
        padding = max((out - 1) * stride + size - self.side, 0)
        before, after = padding // 2, padding - padding // 2
        self.side = out
        inputs = [
            self.last,
            self.constant(f"{name}.w", kernel),
            self.constant(f"{name}.b", beta - mean * gain),
        ]
        self.node(
            "Conv",
            inputs,
            kernel_shape=[size, size],
            strides=[stride, stride],
            pads=[before, before, after, after],
            group=groups,
        )
        if relu:
            self.node("Clip", [self.last, "lo", "hi"])


def build(weights):
    graph = Graph(weights)
    graph.conv("_conv_stem", "_bn0", stride=2)
    channels, block = 32, 0
    for repeats, size, first_stride, expansion, out in STAGES:
        for repeat in range(repeats):
            name = f"_blocks.{block}"
            stride = first_stride if repeat == 0 else 1
            before, wide = graph.last, channels * expansion
            if expansion != 1:
                graph.conv(f"{name}._expand_conv", f"{name}._bn0")
            assert weights[f"{name}._depthwise_conv.weight"].shape == (wide, 1, size, size)
            graph.conv(f"{name}._depthwise_conv", f"{name}._bn1", stride=stride, groups=wide)
            graph.conv(f"{name}._project_conv", f"{name}._bn2", relu=False)
            if stride == 1 and channels == out:
                graph.node("Add", [before, graph.last])
            channels, block = out, block + 1
    graph.node("GlobalAveragePool", [graph.last])
    graph.node("Flatten", [graph.last], "embedding", axis=1)
    value = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
    return helper.make_model(
        helper.make_graph(
            graph.nodes,
            "efficientnet_lite0_b11",
            [value("input", [1, 3, SIDE, SIDE])],
            [value("embedding", [1, channels])],
            graph.initializers,
        ),
        opset_imports=[helper.make_opsetid("", 13)],
        ir_version=8,
    )


def main():
    if len(sys.argv) != 3:
        print("usage: efficientnet_lite0.py WEIGHTS.PTH OUT.ONNX", file=sys.stderr)
        sys.exit(2)
    out = pathlib.Path(sys.argv[2])
    model = build(load(sys.argv[1]))
    checker.check_model(model)
    beside = out.with_name(out.name + ".tmp")
    save_model(model, str(beside))
    beside.replace(out)


if __name__ == "__main__":
    main()
