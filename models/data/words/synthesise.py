"""Speaks the words of words.txt in every voice variant that espeak-ng has.

    python3 synthesise.py OUT

writes OUT/{background,target,other}/WORD/VOICE.wav: 16 kHz, mono, 16 bit. A clip is as long as
the word, silence cut off at both ends. The voice is the group: a learner is asked in voices that it
was not taught in, and the background has voices of its own. Needs numpy and espeak-ng (Debian:
python3-numpy espeak-ng).
"""

import hashlib
import io
import subprocess
import sys
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

RATE = 16_000
HERE = Path(__file__).parent


BACKGROUND_VOICES = 35


def voices(role):
    """The variants' file names, each once: those first by hash are the background's."""
    table = subprocess.run(
        ["espeak-ng", "--voices=variant"], capture_output=True, text=True, check=True
    ).stdout
    names = {line.split("!v/")[1].split()[0] for line in table.splitlines() if "!v/" in line}
    names = sorted(names, key=lambda name: hashlib.sha256(name.encode()).digest())
    if role == "background":
        return names[:BACKGROUND_VOICES]
    return names[BACKGROUND_VOICES:]


def speak(word, voice):
    """One word as int16 at 16 kHz; empty where the voice is silent."""
    command = ["espeak-ng", "-v", f"en+{voice}", "--stdout", word]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    with wave.open(io.BytesIO(spoken)) as clip:
        rate = clip.getframerate()
        x = np.frombuffer(clip.readframes(clip.getnframes()), "<i2").astype(float)
    loud = np.flatnonzero(np.abs(x) > 0.02 * np.abs(x).max(initial=1))
    if len(loud) == 0:
        return np.zeros(0, "<i2")
    return resample(x[loud[0] : loud[-1] + 1], rate)


def resample(x, rate):
    """To 16 kHz by cutting the spectrum: nothing above 8 kHz folds back."""
    length = len(x) * RATE // rate
    spectrum = np.fft.rfft(x)[: length // 2 + 1]
    y = np.fft.irfft(spectrum, length) * length / len(x)
    return np.clip(np.round(y), -32768, 32767).astype("<i2")


def save(path, word, voice):
    x = speak(word, voice)
    if len(x) < RATE // 10:  # a voice that says nothing
        return 0
    path.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path / f"{voice}.wav"), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(RATE)
        clip.writeframes(x.tobytes())
    return 1


def main(out):
    jobs = []
    for line in (HERE / "words.txt").read_text().splitlines():
        role, *words = line.split()
        jobs += [(out / role / word, word, voice) for word in words for voice in voices(role)]
    with ThreadPoolExecutor() as threads:
        made = sum(threads.map(lambda job: save(*job), jobs))
    print(f"{made} clips of {len(jobs)} in {out}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(Path(sys.argv[1]))
