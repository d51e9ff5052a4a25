"""Quantises an ONNX file the way ONNX Runtime does it itself: NAME_u8s8.onnx and NAME_s8s8.onnx.

    benches/qdq.py ENCODER.onnx FOLDER [DATA.npz]

Static, QDQ, weights per channel; activations as uint8 or int8. Calibrated with `x` of the data, else
with noise, which makes no difference to the time. Needs onnx and onnxruntime.
"""

import sys
from pathlib import Path

import numpy as np
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

INPUTS = 64


class Inputs(CalibrationDataReader):
    """Batches of one."""

    def __init__(self, encoder, data):
        session = onnxruntime.InferenceSession(encoder, providers=["CPUExecutionProvider"])
        [first, *_] = session.get_inputs()
        shape = [d if isinstance(d, int) else 1 for d in first.shape]
        if data:
            rows = np.load(data)["x"].astype(np.float32)
            count = min(INPUTS, rows.size // np.prod(shape))
            values = rows.reshape(-1)[: count * np.prod(shape)].reshape(count, *shape)
        else:
            values = np.random.default_rng(0).standard_normal((8, *shape)).astype(np.float32)
        self.rows = iter([{first.name: row} for row in values])

    def get_next(self):
        return next(self.rows, None)


def main(encoder, folder, data=None):
    encoder, folder = Path(encoder), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    prepared = folder / f"{encoder.stem}_prepared.onnx"
    quant_pre_process(encoder, prepared, skip_symbolic_shape=True)
    for name, activations in [("u8s8", QuantType.QUInt8), ("s8s8", QuantType.QInt8)]:
        quantize_static(
            prepared,
            folder / f"{encoder.stem}_{name}.onnx",
            Inputs(prepared, data),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=activations,
            weight_type=QuantType.QInt8,
        )


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
