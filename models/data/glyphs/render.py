"""Renders the glyph set: characters of many scripts in many fonts, as a small camera would see them.

    python3 render.py FONTS OUT

FONTS is searched for .ttf and .otf files; OUT/pretrain.npz and OUT/unseen.npz are written. Needs
numpy, pillow and fontTools (Debian: python3-numpy python3-pil python3-fonttools). The same fonts
give the same arrays; nothing is drawn from a random stream, only from hashes of names.
"""

import hashlib
import logging
import os
import sys
import unicodedata
from collections import Counter, defaultdict
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from fontTools import unicodedata as scripts
from fontTools.ttLib import TTFont
from PIL import Image, ImageDraw, ImageFilter, ImageFont

SIDE = 32  # of an item
LARGE = 128  # of the picture it is made from
BOX = 88  # the longer side of a glyph in the large picture, before the camera

# Hundreds of fonts, or fonts that share their kanji and syllables with such: pretraining, by decree.
FIXED = ["Latin", "Greek", "Cyrillic", "Han", "Hangul", "Hiragana", "Katakana"]
# Scripts that had six families or more in Debian 12; the first UNSEEN by hash are kept unseen.
MANY_FONTS = [
    "Arabic", "Armenian", "Bengali", "Cherokee", "Devanagari", "Ethiopic", "Georgian", "Gujarati",
    "Gurmukhi", "Hebrew", "Khmer", "Lao", "Malayalam", "Tamil", "Telugu", "Thai", "Tibetan",
    "Tifinagh",
]  # fmt: skip
UNSEEN = 10

STYLES = 3  # of a family, at most
FAMILIES_UNSEEN = 6  # in which an unseen class must exist
CLASSES_UNSEEN = 60  # of a script, at most
CLASSES = {"Latin": 52, "Greek": 60, "Cyrillic": 70, "Han": 250, "Hangul": 150}
CLASSES_MANY, CLASSES_FEW = 60, 7  # of the other pretraining scripts: six fonts or more, fewer
ITEMS = 70  # of a pretraining class, at most
ALIKE = 0.97  # cosine of two clean renderings of one class above which one is dropped


def digest(*names):
    return hashlib.sha256("\0".join(map(str, names)).encode()).digest()


def uniform(*names):
    """Numbers in 0..1 that are a function of the names."""
    words = np.frombuffer(digest(*names) + digest(*names, "more"), "<u4")
    return words / 2.0**32


def roles():
    order = sorted(MANY_FONTS, key=digest)
    return {script: "unseen" for script in order[:UNSEEN]}


def plain(u):
    """A letter that stands alone: no mark, no ligature, no accented form, no width or shape variant."""
    c = chr(u)
    return (
        unicodedata.category(c) in ("Lo", "Lu", "Ll")
        and unicodedata.normalize("NFKD", c) == c
        or 0xAC00 <= u < 0xD7A4
    )


def read(path):
    """(path, family, style, {script: characters}) or nothing, where fontTools can't."""
    try:
        font = TTFont(path, lazy=True)
        characters = {u for u, name in (font.getBestCmap() or {}).items() if name != ".notdef" and plain(u)}
        family = font["name"].getBestFamilyName() or path.stem
        weight = font["OS/2"].usWeightClass
        slanted = font["post"].italicAngle != 0
        narrow = font["OS/2"].usWidthClass < 5
    except Exception:
        return None
    found = defaultdict(list)
    for u in characters:
        found[scripts.script_name(scripts.script(chr(u)))].append(u)
    found = {s: us for s, us in found.items() if len(us) >= 15 and s not in ("Common", "Inherited", "Unknown")}
    family = family.strip().removesuffix(" UI")
    return (str(path), family, (weight, slanted, narrow), found) if found else None


def fonts(folder):
    paths = sorted(p for p in Path(folder).rglob("*") if p.suffix.lower() in (".ttf", ".otf"))
    paths = [p for p in paths if "UI-" not in p.name]  # Noto's narrower lines: the same letters
    with ProcessPoolExecutor() as pool:
        read_fonts = [font for font in pool.map(read, paths, chunksize=16) if font]
    # Of a family the styles that differ most: regular, then bold, then the lightest and slanted ones.
    families = defaultdict(list)
    for font in read_fonts:
        families[font[1]].append(font)
    kept = []
    for family in families.values():
        def rank(font):
            weight, slanted, narrow = font[2]
            wanted = {400: 0, 700: 1, 100: 2, 200: 3, 900: 3, 300: 4}
            return (narrow, wanted.get(weight, 5) + 2.5 * slanted, Path(font[0]).name)

        kept += sorted(family, key=rank)[:STYLES]
    return sorted(kept, key=lambda font: (font[1], Path(font[0]).name))


def clean(font, u):
    """The glyph as ink 0..255, its longer side BOX, in the middle of the large picture."""
    text = chr(u)
    left, top, right, bottom = font.getbbox(text)
    if right - left < 3 or bottom - top < 3 or max(right - left, bottom - top) > 700:
        return None
    image = Image.new("L", (right - left + 8, bottom - top + 8))
    ImageDraw.Draw(image).text((4 - left, 4 - top), text, fill=255, font=font)
    box = image.getbbox()
    if box is None:
        return None
    image = image.crop(box)
    scale = BOX / max(image.size)
    size = [max(2, round(scale * side)) for side in image.size]
    image = image.resize(size, Image.Resampling.BOX if scale < 0.6 else Image.Resampling.BICUBIC)
    large = Image.new("L", (LARGE, LARGE))
    large.paste(image, ((LARGE - size[0]) // 2, (LARGE - size[1]) // 2))
    return large


def camera(large, name, u):
    """Turned, scaled, sheared, moved, thickened, blurred, and made grey and noisy; README.md says how much."""
    r = uniform(name, u)
    r = np.concatenate([r, uniform(name, u, "camera")])
    if r[0] < 0.35:
        large = large.filter(ImageFilter.MaxFilter(3 if r[0] < 0.2 else 5))
    angle = np.deg2rad(12 * (2 * r[1] - 1))
    sx, sy = 0.8 + 0.3 * r[2], 0.8 + 0.3 * r[3]
    shear = 0.2 * (2 * r[4] - 1)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    back = np.linalg.inv(turn @ np.array([[sx, shear], [0, sy]]))
    middle = np.full(2, LARGE / 2)
    moved = middle + SHIFT * LARGE / SIDE * (2 * r[5:7] - 1)
    offset = middle - back @ moved
    large = large.transform(
        large.size, Image.Transform.AFFINE, (*back[0], offset[0], *back[1], offset[1]), Image.Resampling.BILINEAR
    )
    large = large.filter(ImageFilter.GaussianBlur(float(LARGE / SIDE * (0.2 + 0.8 * r[7]))))
    x = np.asarray(large.resize((SIDE, SIDE), Image.Resampling.BOX), float)
    dark = 30 * r[8]
    bright = 150 + 105 * r[9]
    noise = np.random.default_rng(int.from_bytes(digest(name, u, "noise")[:8], "little"))
    x = dark + (bright - dark) * x / 255 + (2 + 8 * r[10]) * noise.standard_normal(x.shape)
    return np.clip(np.round(x), 0, 255).astype(np.uint8)


SHIFT = 1.5  # pixels of an item, either way


def render(job):
    """One font's items: [(character, clean 16 x 16, item)]."""
    (path, family, _, _), characters = job
    try:
        font = ImageFont.truetype(path, 96, layout_engine=ImageFont.Layout.BASIC)
    except OSError:
        return []
    made = []
    name = Path(path).name
    missing = clean_bytes(font, 0x10FFFE)
    for u in characters:
        try:
            large = clean(font, u)
        except OSError:
            continue
        if large is None or large.tobytes() == missing:
            continue
        small = np.asarray(large.resize((24, 24), Image.Resampling.BOX), np.float32).ravel()
        made.append((u, small / np.linalg.norm(small), camera(large, name, u)))
    return made


def clean_bytes(font, u):
    try:
        large = clean(font, u)
    except OSError:
        return None
    return large and large.tobytes()


def choose(role, having):
    """The characters of each script: those that most families have, then by hash.

    having: {script: {character: families}}."""
    chosen = {}
    for script, characters in having.items():
        families = set().union(*characters.values())
        if role == "unseen":
            limit = CLASSES_UNSEEN
            characters = {u: f for u, f in characters.items() if len(f) >= FAMILIES_UNSEEN}
        else:
            limit = CLASSES.get(script, CLASSES_MANY if len(families) >= 6 else CLASSES_FEW)
        if role == "unseen" or len(families) >= 6:
            # Whatever twelve families have is as good as more; among such the hash picks.
            best = sorted(characters, key=lambda u: (-min(len(characters[u]), 12), digest(u)))
        else:
            best = sorted(characters, key=digest)
        chosen[script] = set(best[:limit])
    return chosen


def make(role, selected):
    """selected: [(font, scripts that it may stand for)]."""
    having = defaultdict(lambda: defaultdict(set))
    for font, allowed in selected:
        for script in allowed:
            for u in font[3][script]:
                having[script][u].add(font[1])
    chosen = choose(role, having)
    jobs = [
        (font, sorted(u for script in allowed for u in font[3][script] if u in chosen[script]))
        for font, allowed in selected
    ]
    script_of = {u: script for script, us in chosen.items() for u in us}
    classes = defaultdict(list)
    with ProcessPoolExecutor() as pool:
        for (font, _), made in zip(jobs, pool.map(render, jobs, chunksize=4)):
            # A font that draws one picture for many characters has none of them.
            seen = Counter(small.tobytes() for _, small, _ in made)
            for u, small, item in made:
                if seen[small.tobytes()] < 3:
                    classes[u].append((font[1], Path(font[0]).name, small, item))
    kept = []
    for u, items in sorted(classes.items(), key=lambda c: (script_of[c[0]], c[0])):
        different = []
        for item in items:
            if all(item[2] @ other[2] < ALIKE for other in different):
                different.append(item)
        different.sort(key=lambda item: digest(u, item[1]))
        if role == "unseen":
            if len({item[0] for item in different}) < FAMILIES_UNSEEN:
                continue
        else:
            different = different[:ITEMS]
        kept.append((u, different))
    families = sorted({item[0] for _, items in kept for item in items})
    number = {family: i + 1 for i, family in enumerate(families)}
    names = sorted({script_of[u] for u, _ in kept})
    rows = [(i, u, item) for i, (u, items) in enumerate(kept) for item in items]
    rows.sort(key=lambda row: digest(row[1], row[2][1]))  # any part of the file is a fair sample of it
    return {
        "x": np.stack([item[3] for _, _, item in rows]),
        "y": np.array([i for i, _, _ in rows], np.int32),
        "group": np.array([number[item[0]] for _, _, item in rows], np.int32),
        "labels": np.array([f"{script_of[u]} U+{u:04X}" for u, _ in kept]),
        "script": np.array([names.index(script_of[u]) for _, u, _ in rows], np.int32),
        "scripts": np.array(names),
        "families": np.array(["", *families]),
    }


def report(name, arrays):
    print(
        f"{name}: {len(arrays['x']):,} items, {len(arrays['labels']):,} classes, "
        f"{len(arrays['scripts'])} scripts, {len(arrays['families']) - 1} font families"
    )
    count = Counter(label.rsplit(" ", 1)[0] for label in arrays["labels"])
    items = Counter(arrays["scripts"][arrays["script"]])
    print("  " + ", ".join(f"{s} {count[s]}/{items[s]}" for s in arrays["scripts"]))


def main(folder, out):
    logging.disable(logging.WARNING)
    found = fonts(folder)
    if not found:
        sys.exit(f"error: no .ttf or .otf file with letters in {folder}; packages.txt lists the packages")
    role = roles()
    unseen, pretrain = [], []
    used = set()
    for font in found:
        mine = [s for s in font[3] if s in role]
        if mine:
            unseen.append((font, mine))
            used.add(font[1])
    # A family that writes an unseen script, writes nothing in pretraining.
    for font in found:
        if font[1] not in used:
            pretrain.append((font, list(font[3])))
    made = {"unseen": make("unseen", unseen), "pretrain": make("pretrain", pretrain)}
    for name, arrays in made.items():
        report(name, arrays)
        with open(out / f"{name}.npz.tmp", "wb") as file:
            np.savez(file, **arrays)
        os.replace(out / f"{name}.npz.tmp", out / f"{name}.npz")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
