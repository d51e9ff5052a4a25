#!/usr/bin/env python3
"""Turns seglearn's watch_dataset.npy into unseen.npz, pretrain.npz and full.npz.

    python3 convert.py WATCH_DATASET.NPY [FOLDER]

The split is fixed and written down in README.md. The same input gives the same bytes with every
version of Python and numpy: entries are stored, not deflated, without a time, and the array
headers are written here.
"""

import hashlib
import io
import math
import pathlib
import sys
import zipfile

import numpy as np

# The input is a pickle, which can run code when it is read: only these very bytes are.
SOURCE_SHA256 = "eb122f23cdf06ef6bd6c6c5312958ec5cf9d038e2e6d457b8081662c75a42537"

# Physical units per count of an IMU that is set to +-8 g and +-2000 degrees a second.
SCALE = np.array([1 / 4096] * 3 + [2000 / 32768 * math.pi / 180] * 3)
RATE_HZ = 50.0

PRETRAIN_SUBJECTS = range(1, 6)
PRETRAIN_CLASSES = range(0, 4)
UNSEEN_SUBJECTS = range(6, 11)
UNSEEN_CLASSES = range(4, 7)


def names(labels, width=16):
    """Class names as [classes, 16] bytes, padded with NUL."""
    table = np.zeros((len(labels), width), np.uint8)
    for row, label in zip(table, labels):
        row[: len(label)] = list(label.encode("ascii"))
    return table


def npy(array):
    """An array in the .npy format, version 1.0."""
    order = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    header = "{'descr': '%s', 'fortran_order': False, 'shape': %r, }" % (order.dtype.str, order.shape)
    padding = -(10 + len(header) + 1) % 64
    header = header.encode("ascii") + b" " * padding + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + order.tobytes()


def npz(arrays):
    """Arrays by name in the .npz format: a zip file whose bytes depend on nothing else."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = zipfile.ZipInfo(name + ".npy", (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, npy(array))
    return out.getvalue()


def stream(source, keep, labelled):
    """The recordings with the indices `keep`, one after the other."""
    recordings = [source["X"][i] for i in keep]
    counts = np.rint(np.concatenate(recordings) / SCALE)
    if np.abs(counts).max() > 32767:
        sys.exit("error: a value is outside the sensor's range of +-8 g and +-2000 degrees a second")

    def per_row(values, dtype):
        return np.repeat(np.array([values[i] for i in keep], dtype), [len(r) for r in recordings])

    arrays = {"x": counts.astype(np.int16)}
    if labelled:
        arrays["y"] = per_row(source["y"], np.uint8)
    arrays["group"] = per_row(source["subject"], np.uint8)
    arrays["recording"] = per_row(range(len(source["X"])), np.uint16)
    arrays["side"] = per_row(source["side"], np.uint8)
    arrays["scale"] = SCALE.astype(np.float32)
    arrays["rate"] = np.array([RATE_HZ], np.float32)
    if labelled:
        arrays["labels"] = names(source["y_labels"])
    return npz(arrays)


def main():
    if len(sys.argv) not in (2, 3):
        print("usage: convert.py WATCH_DATASET.NPY [FOLDER]", file=sys.stderr)
        sys.exit(2)
    path = pathlib.Path(sys.argv[1])
    folder = pathlib.Path(sys.argv[2] if len(sys.argv) == 3 else pathlib.Path(__file__).parent)
    try:
        content = path.read_bytes()
    except OSError as fault:
        sys.exit(f"error: could not read {path}: {fault.strerror}")
    found = hashlib.sha256(content).hexdigest()
    if found != SOURCE_SHA256:
        sys.exit(
            f"error: {path} is not the watch set of seglearn 1.2.5\n"
            f"  sha256 is {found}\n  should be {SOURCE_SHA256}"
        )
    source = np.load(io.BytesIO(content), allow_pickle=True).item()

    def chosen(subjects, classes):
        pairs = zip(source["subject"], source["y"])
        return [i for i, (subject, label) in enumerate(pairs) if subject in subjects and label in classes]

    everything = range(len(source["X"]))
    files = {
        "unseen.npz": stream(source, chosen(UNSEEN_SUBJECTS, UNSEEN_CLASSES), labelled=True),
        "pretrain.npz": stream(source, chosen(PRETRAIN_SUBJECTS, PRETRAIN_CLASSES), labelled=False),
        "full.npz": stream(source, everything, labelled=True),
    }
    for name, content in files.items():
        beside = folder / (name + ".tmp")
        beside.write_bytes(content)
        beside.replace(folder / name)
        print(f"{hashlib.sha256(content).hexdigest()}  {name}  {len(content)} bytes")


if __name__ == "__main__":
    main()
