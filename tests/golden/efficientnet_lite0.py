#!/usr/bin/env python3
"""What EfficientNet-Lite0 makes of a picture, from JPEG to embedding, in NumPy alone.

Writes picture.jpg (a scene drawn from a fixed seed) and efficientnet_lite0.txt (1,280 numbers)
beside itself. The scene is a mosaic of 8 x 8 tiles whose colours are far from a rounding's edge, so that
every JPEG decoder must agree on every pixel: decoders round differently, which alone moves an embedding
of a photograph by some hundredths, and it is what comes behind them that is compared. The network's file is read for its weights; its layers run here, in 64-bit floats.

    tests/golden/efficientnet_lite0.py MODELS      # the folder with efficientnet_lite0.onnx

Needs numpy, onnx and pillow (which decodes the JPEG; nothing else of it is used on pixels).
"""

import pathlib
import sys

import numpy as np
import onnx
from onnx import numpy_helper
from PIL import Image

SEED = 7
SIDE = 224
HERE = pathlib.Path(__file__).parent


def scene(height=38, width=50):
    """Soft light, a few things with edges, a little noise: [height, width, 3] bytes."""
    random = np.random.default_rng(SEED)
    y, x = np.mgrid[0:height, 0:width].astype(float)
    picture = np.zeros((height, width, 3))
    for channel in range(3):
        waves = random.uniform(0.03, 0.16, (4, 2))
        phases = random.uniform(0, 6.28, 4)
        light = sum(np.sin(a * x + b * y + p) for (a, b), p in zip(waves, phases))
        picture[..., channel] = 120 + 25 * light
    for _ in range(12):
        centre, size = random.uniform(0, [height, width]), random.uniform(2, 9)
        colour = random.uniform(0, 255, 3)
        if random.random() < 0.5:
            inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 < size**2
        else:
            inside = (abs(y - centre[0]) < size) & (abs(x - centre[1]) < size / 2)
        picture[inside] = 0.3 * picture[inside] + 0.7 * colour
    picture += random.normal(0, 3, picture.shape)
    return np.clip(np.round(picture), 0, 255).astype(np.uint8)


def coloured(tiles):
    """Each tile's brightness and colour differences, moved to where red, green and blue are not close
    to a half: [height, width, 3] bytes as a JPEG stores them."""
    red, green, blue = tiles.astype(float).transpose(2, 0, 1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    found = np.round(np.stack([y, 128 + (blue - y) / 1.772, 128 + (red - y) / 1.402], 2)).astype(int)
    for tile in found.reshape(-1, 3):
        near = [(b, r) for b in range(-3, 4) for r in range(-3, 4)]
        for b, r in sorted(near, key=lambda move: move[0] ** 2 + move[1] ** 2):
            cb, cr = tile[1] + b - 128, tile[2] + r - 128
            rgb = np.array([1.402 * cr, -0.344136 * cb - 0.714136 * cr, 1.772 * cb])
            inside = (0 <= tile[0] + rgb).all() and (tile[0] + rgb <= 255).all()
            if inside and (abs(rgb % 1 - 0.5) > 0.1).all():
                tile[1:] = cb + 128, cr + 128
                break
        else:
            tile[1:] = 128
    return found.astype(np.uint8)


def taps(old, new):
    """[new, old] whole-numbered weights: a triangle between pixel centres, as wide as the step when it
    shrinks."""
    i, x = np.arange(old), np.arange(new)[:, None]
    return np.maximum(0, 2 * max(old, new) - abs((2 * i + 1) * new - (2 * x + 1) * old))


def resized(picture, side):
    """Rounded once, halves to even, in whole numbers: floats would miss some halves."""
    rows, columns = (taps(n, side) for n in picture.shape[:2])
    sums = np.einsum("yi,ijc,xj->yxc", rows, picture.astype(int), columns, optimize=True)
    total = (rows.sum(1)[:, None] * columns.sum(1)[None])[..., None]
    whole, rest = np.divmod(sums, total)
    return whole + (2 * rest > total) + ((2 * rest == total) & (whole % 2 == 1))


def convolved(x, weights, bias, strides, pads, group):
    top, left, bottom, right = pads
    x = np.pad(x, ((0, 0), (top, bottom), (left, right)))
    out, depth, height, width = weights.shape
    windows = np.lib.stride_tricks.sliding_window_view(x, (height, width), axis=(1, 2))
    windows = windows[:, :: strides[0], :: strides[1]]
    result = np.empty((out, *windows.shape[1:3]))
    for g in range(group):
        inputs = windows[g * depth : (g + 1) * depth]
        own = slice(g * out // group, (g + 1) * out // group)
        result[own] = np.einsum("chwij,ocij->ohw", inputs, weights[own], optimize=True)
    return result + bias[:, None, None]


def embedded(graph, x):
    """Runs the layers that lead to `embedding`; x is [3, 224, 224]."""
    values = {t.name: numpy_helper.to_array(t).astype(float) for t in graph.initializer}
    values[graph.input[0].name] = x
    for node in graph.node:
        a = {k.name: onnx.helper.get_attribute_value(k) for k in node.attribute}
        i = [values[n] for n in node.input]
        if node.op_type == "Conv":
            result = convolved(*i, a["strides"], a["pads"], a["group"])
        elif node.op_type == "Clip":
            result = np.clip(*i)
        elif node.op_type == "Add":
            result = i[0] + i[1]
        elif node.op_type == "GlobalAveragePool":
            result = i[0].mean((1, 2))
        elif node.op_type == "Flatten":
            return i[0].ravel()
        else:
            raise SystemExit(f"no layer for {node.op_type}")
        values[node.output[0]] = result


def main():
    models = pathlib.Path(sys.argv[1])
    graph = onnx.load(models / "efficientnet_lite0.onnx").graph
    jpeg = HERE / "picture.jpg"
    tiles = np.kron(coloured(scene()), np.ones((8, 8, 1), np.uint8))
    Image.fromarray(tiles, "YCbCr").save(jpeg, quality=100, subsampling=0)
    picture = np.asarray(Image.open(jpeg).convert("RGB"))
    x = (resized(picture, SIDE) - 127) / 128
    embedding = embedded(graph, x.transpose(2, 0, 1))
    np.savetxt(HERE / "efficientnet_lite0.txt", embedding, fmt="%.6f")
    print(f"{jpeg.stat().st_size} bytes of JPEG, {embedding.size} values up to {embedding.max():.3f}")


main()
