#!/usr/bin/env python3
"""Golden values of the log-mel front end: writes log_mel.bin beside this file.

Needs NumPy. Case after case: the samples (int16), then the bands in dB (float32), little-endian,
`[frames][bands]`. src/frontend/settings/tests.rs has the same cases with the same settings.

With the path of speech_melspectrogram.onnx as its argument, and ONNX Runtime, it compares instead:
the reference here against that file, on the cases that have its settings.
"""

import pathlib
import sys

import numpy as np

SPEECH = dict(rate=16000, frame=400, fft=512, hop=160, bands=32, low=60, high=3800,
              mel="slaney", norm="slaney", floor=1e-10, range=80, frames=3)
OTHER = dict(rate=8000, frame=200, fft=256, hop=80, bands=20, low=0, high=4000,
             mel="htk", norm="none", floor=1.0, range=60, frames=4)


def to_mel(hz, scale):
    if scale == "htk":
        return 2595 * np.log10(1 + hz / 700)
    return hz * 3 / 200 if hz < 1000 else 15 + 27 * np.log(hz / 1000) / np.log(6.4)


def to_hz(mel, scale):
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))


def triangles(s):
    ends = to_mel(s["low"], s["mel"]), to_mel(s["high"], s["mel"])
    corners = to_hz(np.linspace(*ends, s["bands"] + 2), s["mel"])
    hz = np.arange(s["fft"] // 2 + 1)[:, None] * s["rate"] / s["fft"]
    left, top, right = corners[:-2], corners[1:-1], corners[2:]
    weights = np.maximum(0, np.minimum((hz - left) / (top - left), (right - hz) / (right - top)))
    return weights * 2 / (right - left) if s["norm"] == "slaney" else weights


def log_mel(samples, s):
    window = np.zeros(s["fft"])
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(s["frame"]) / s["frame"])
    start = (s["fft"] - s["frame"]) // 2
    window[start:start + s["frame"]] = hann
    frames = np.lib.stride_tricks.sliding_window_view(samples.astype(float), s["fft"])
    power = np.abs(np.fft.rfft(frames[::s["hop"]] * window)) ** 2 @ triangles(s)
    db = 10 * np.log10(np.maximum(power, s["floor"]))
    return np.maximum(db, db.max() - s["range"])


def cases():
    rng = np.random.default_rng(7)
    length = 2 * SPEECH["hop"] + SPEECH["fft"]
    t = np.arange(length) / SPEECH["rate"]
    buzz = sum(np.sin(2 * np.pi * 120 * k * t) / k for k in range(1, 30))
    vowel = 9000 * buzz * np.linspace(0.1, 1, length) + rng.normal(0, 20, length)
    click = np.zeros(length)
    click[400] = 1
    chirp_length = 3 * OTHER["hop"] + OTHER["fft"]
    u = np.arange(chirp_length) / OTHER["rate"]
    chirp = 300 * np.sin(2 * np.pi * (200 * u + 25000 * u * u))
    all = [(SPEECH, vowel), (SPEECH, rng.integers(-2, 3, length)), (SPEECH, click), (OTHER, chirp)]
    return [(s, np.clip(np.round(x), -32768, 32767).astype("<i2")) for s, x in all]


def main():
    if len(sys.argv) > 1:
        import onnxruntime

        session = onnxruntime.InferenceSession(sys.argv[1])
        for s, samples in cases():
            if s is SPEECH:
                found = session.run(None, {"input": samples[None].astype(np.float32)})[0]
                print(np.abs(found.reshape(s["frames"], -1) - log_mel(samples, s)).max(), "dB")
        return
    path = pathlib.Path(__file__).with_suffix(".bin")
    parts = [samples.tobytes() + log_mel(samples, s).astype("<f4").tobytes() for s, samples in cases()]
    path.write_bytes(b"".join(parts))


if __name__ == "__main__":
    main()
