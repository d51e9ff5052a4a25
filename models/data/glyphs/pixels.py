"""What pixels reach without any encoder: 20-way 1-shot, nearest neighbour by cosine.

    python3 models/data/glyphs/pixels.py models/data/glyphs/unseen.npz

600 episodes of 20 unseen classes, one example each; up to five queries a class, of other font families than
the example's. Needs numpy.
"""

import sys

import numpy as np

WAYS, QUERIES, EPISODES = 20, 5, 600


def main(path):
    data = np.load(path)
    pixels = data["x"].reshape(len(data["x"]), -1).astype(np.float32)
    classes, families = data["y"], data["group"]
    members = [np.flatnonzero(classes == c) for c in np.unique(classes)]
    off = pixels - pixels.mean(1, keepdims=True)
    for name, x, centred in [
        ("pixels as they are", pixels, False),
        ("mean taken off", off, False),
        ("and that of the examples", off, True),
    ]:
        x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
        rng = np.random.default_rng(0)
        accuracies = []
        for _ in range(EPISODES):
            support, queries, right = [], [], []
            for way, c in enumerate(rng.choice(len(members), WAYS, replace=False)):
                own = rng.permutation(members[c])
                support.append(own[0])
                others = own[families[own] != families[own[0]]][:QUERIES]
                queries.extend(others)
                right.extend([way] * len(others))
            taught, asked = x[support], x[queries]
            if centred:
                mean = taught.mean(0)
                taught, asked = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (taught - mean, asked - mean))
            answers = (asked @ taught.T).argmax(1)
            accuracies.append((answers == right).mean())
        spread = 1.96 * np.std(accuracies, ddof=1) / EPISODES**0.5
        print(f"{name}: {100 * np.mean(accuracies):.1f} +- {100 * spread:.1f} %")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
