"""Decodes what people have recorded for free programs: words, letters, syllables, short sentences.

    python3 human.py PACKAGES OUT

PACKAGES is the root into which the packages of human.txt are unpacked. Writes
OUT/SOURCE/VOICE/CLIP.wav: 16 kHz, mono, 16 bit, silence cut off at both ends; what is shorter than
0.1 s or longer than 6 s is left out. There are no labels: the clips are to pretrain on. Needs numpy and
ffmpeg (Debian: python3-numpy ffmpeg).
"""

import os
import subprocess
import sys
import tempfile
import wave
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

RATE = 16_000


def first(path):
    """The folder's name: a language, or a voice."""
    return path.parts[0]


def fish(path):
    """LEVEL/LANGUAGE/LEVEL-FISH-WORDS.ogg: the small fish is m, the big one v; others are no words."""
    parts = path.stem.split("-")
    if len(path.parts) == 3 and len(parts) > 2 and parts[1] in ("m", "v"):
        return f"{path.parts[1]}-{parts[1]}"
    return None


SOURCES = {  # where it is, and who speaks
    "klettres": ("usr/share/klettres", first),
    "ktuberling": ("usr/share/ktuberling/sounds", first),
    "asterisk": ("usr/share/asterisk/sounds", first),
    "fillets": ("usr/share/games/fillets-ng/sound", fish),
}


def decode(paths, scratch):
    """Writes path i's samples at 16 kHz to scratch/i. One run for many files: most of a run is its start."""
    command = ["ffmpeg", "-nostdin", "-v", "quiet"]
    for path in paths:
        command += ["-i", path]
    for i in range(len(paths)):
        command += ["-map", f"{i}:a", "-ac", "1", "-ar", str(RATE), "-f", "s16le", scratch / str(i)]
    return subprocess.run(command).returncode == 0


def save(jobs):
    """Decodes jobs of (path, where to) and writes what is speech; gives each one's samples."""
    with tempfile.TemporaryDirectory() as scratch:
        if not decode([path for path, _ in jobs], Path(scratch)):
            if len(jobs) == 1:
                return [0]
            return [length for job in jobs for length in save([job])]  # one of them is damaged
        return [write(np.fromfile(Path(scratch, str(i)), "<i2"), out) for i, (_, out) in enumerate(jobs)]


def write(x, out):
    level = np.abs(x.astype(int))
    loud = np.flatnonzero(level > 0.02 * level.max(initial=1))
    x = x[loud[0] : loud[-1] + 1] if len(loud) else x[:0]
    if not RATE // 10 <= len(x) <= 6 * RATE:
        return 0
    out.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(out), "wb") as clip:
        clip.setnchannels(1)
        clip.setsampwidth(2)
        clip.setframerate(RATE)
        clip.writeframes(x.tobytes())
    return len(x)


def main(packages, out):
    jobs = []
    for source, (folder, voice) in SOURCES.items():
        root = packages / folder
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root)
            if path.suffix not in (".ogg", ".wav", ".g722") or "silence" in name.parts or path.is_symlink():
                continue
            speaker = voice(name)
            if speaker:
                clip = "-".join(name.with_suffix(".wav").parts[1:])
                jobs.append((path, out / source / speaker / clip))
    if not jobs:
        sys.exit(f"error: no recordings below {packages}; human.txt lists the packages")
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        batches = threads.map(save, [jobs[i : i + 40] for i in range(0, len(jobs), 40)])
        lengths = [length for batch in batches for length in batch]
    clips, voices = Counter(), {}
    for (_, path), length in zip(jobs, lengths):
        if length:
            clips[path.parts[-3]] += 1
            voices.setdefault(path.parts[-3], set()).add(path.parts[-2])
    for source, count in clips.items():
        print(f"{source:12} {count:5} clips, {len(voices[source])} voices or languages")
    print(f"{sum(clips.values())} clips, {sum(lengths) / RATE / 60:.0f} minutes, in {out}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
