"""Makes inputs for the third-party networks that packs are measured on.

    python3 make.py PICTURES MODELS OUT

PICTURES is the folder skimage/data of scikit-image's wheel, MODELS the folder of the .onnx files.
Writes OUT/NAME.npz, to calibrate with, and OUT/NAME-test.npz, to measure with, each with x, channels
last: from other pictures, and from other words in other voices. The networks were trained on other
data than these (Speech Commands, CIFAR-10, Visual Wake Words), so this says how well integers follow
the floats, not how right the network is. Needs numpy, pillow, onnxruntime and espeak-ng.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "words"))
from synthesise import HERE, RATE, speak, voices  # noqa: E402

CALIBRATION = ["coffee.png", "rocket.jpg", "motorcycle_left.png", "grass.png", "brick.png", "coins.png", "page.png", "ihc.png"]
TEST = ["astronaut.png", "chelsea.png", "hubble_deep_field.jpg", "retina.jpg", "camera.png", "gravel.png", "moon.png", "text.png"]
# The ten words that the keyword network knows, and some that it does not.
KEYWORDS = "down go left no off on right stop up yes".split()


def crops(folder, names, side, count, rng):
    """Squares of many sizes out of the pictures, scaled to `side`, as uint8."""
    pictures = [Image.open(folder / name).convert("RGB") for name in names]
    out = []
    for i in range(count):
        picture = pictures[i % len(pictures)]
        largest = min(picture.size)
        size = int(rng.integers(min(side, largest), largest + 1))
        x = int(rng.integers(0, picture.width - size + 1))
        y = int(rng.integers(0, picture.height - size + 1))
        square = picture.crop((x, y, x + size, y + size))
        out.append(np.asarray(square.resize((side, side), Image.BILINEAR)))
    return np.stack(out)


def clips(words, speakers):
    """Each word in each voice, 16 kHz; the silent ones left out."""
    jobs = [(word, voice) for word in words for voice in speakers]
    with ThreadPoolExecutor() as threads:
        spoken = threads.map(lambda job: speak(*job), jobs)
    return [x for x in spoken if len(x) >= RATE // 10]


def noisy(x, length, rng):
    """The word somewhere in `length` samples, with noise 15 to 30 dB below it."""
    x = x[:length].astype(float)
    power = np.mean(x**2) / 10 ** (rng.uniform(1.5, 3.0))
    out = rng.normal(0, np.sqrt(power), length)
    at = int(rng.integers(0, length - len(x) + 1))
    out[at : at + len(x)] += x
    return np.clip(out, -32768, 32767)


def mel_filters(bands, low, high, bins):
    """Triangles between points that are even in mel, [bins, bands]; the first bin is no band's."""
    mel = lambda hz: 1127.0 * np.log1p(hz / 700.0)
    points = np.linspace(mel(low), mel(high), bands + 2)
    at = mel(np.linspace(0, RATE / 2, bins))[:, None]
    rise = (at - points[:-2]) / (points[1:-1] - points[:-2])
    fall = (points[2:] - at) / (points[2:] - points[1:-1])
    filters = np.maximum(0, np.minimum(rise, fall))
    filters[0] = 0
    return filters


def mfcc(x):
    """49 frames of 30 ms every 20 ms, 40 mel bands of 20 to 4,000 Hz, 10 cepstral coefficients."""
    x = x / np.abs(x).max()
    frames = np.stack([x[i * 320 : i * 320 + 480] for i in range(49)])
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(480) / 480)
    spectrum = np.abs(np.fft.rfft(frames * window, 512))
    log = np.log(spectrum @ mel_filters(40, 20, 4000, 257) + 1e-6)
    n = np.arange(40)
    basis = np.cos(np.pi * np.outer(n + 0.5, np.arange(10)) / 40) * np.sqrt(2 / 40)
    return log @ basis * np.where(np.arange(10) == 0, np.sqrt(0.5) * np.sqrt(2), 1.0)


def save(out, name, x):
    np.savez_compressed(out / f"{name}.npz", x=np.ascontiguousarray(x))
    print(f"{name}.npz {x.shape} {x.dtype}")


def main(pictures, models, out):
    out.mkdir(parents=True, exist_ok=True)
    lists = dict(line.split(maxsplit=1) for line in (HERE / "words.txt").read_text().splitlines())
    mel = onnxruntime.InferenceSession(models / "speech_melspectrogram.onnx")
    sets = [
        ("", CALIBRATION, "background", lists["background"].split()[:20], 128),
        ("-test", TEST, "target", lists["target"].split()[:20], 512),
    ]
    for seed, (suffix, names, role, words, count) in enumerate(sets):
        rng = np.random.default_rng(seed)
        small = crops(pictures, names, 32, count * 4, rng)
        save(out, f"resnet8{suffix}", small)
        large = crops(pictures, names, 96, count // 2, rng)
        save(out, f"vww{suffix}", (large / 255).astype(np.float32))
        save(out, f"efficientnet_lite0_b11{suffix}", ((large.astype(float) - 127) / 128).astype(np.float32))
        spoken = clips(KEYWORDS + words[:10], voices(role)[:30])
        x = [mfcc(noisy(clip, RATE, rng)) for clip in spoken]
        save(out, f"kws{suffix}", np.array(x, np.float32)[..., None])
        spoken = clips(words, voices(role)[:16])
        windows = []
        for clip in spoken:
            sound = noisy(clip, 12_640 + 512, rng).astype(np.float32)[None]
            frames = mel.run(None, {mel.get_inputs()[0].name: sound})[0].reshape(-1, 32) / 10 + 2
            windows.append(frames[:76])
        save(out, f"speech_embedding{suffix}", np.array(windows, np.float32)[..., None])


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
