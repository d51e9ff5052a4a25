#!/usr/bin/env python3
"""Scikit-learn's classifiers in the very episodes of `headstart evaluate`.

    headstart evaluate target.npz --background background.npz --ways 8 --shots 1,5,20 \
        --all-heads --json --export episodes.npz > heads.json
    python3 benches/sklearn_heads.py episodes.npz heads.json

Needs numpy, scikit-learn and joblib. Embeddings are divided by 127, so that they have norm 1;
every classifier has its default settings, apart from the discriminant's solver. Figures are the
mean accuracy in % over the episodes with 95 % intervals (1.96 standard errors). The last line of
a cell is the default head minus the best of all others, paired; "LOSES" marks more than 1 point.
"""

import json
import re
import sys
import warnings

import joblib
import numpy as np
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import NearestCentroid

CLASSIFIERS = {
    "LogisticRegression": lambda: LogisticRegression(max_iter=1000),
    "NearestCentroid": NearestCentroid,
    # The covariance is estimated within classes: one example of each has none.
    "LinearDiscriminantAnalysis": lambda: LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto"),
    "RidgeClassifier": RidgeClassifier,
}


def accuracies(x, support, query):
    """Each classifier's accuracy in one episode; NaN where it can't be fitted."""
    warnings.filterwarnings("ignore")
    ways, shots = support.shape
    # Without a signal there is nothing to learn, and the answer counts as wrong.
    taught = x[support.ravel()].any(axis=1)
    train = x[support.ravel()][taught] / 127
    labels = np.repeat(np.arange(ways), shots)[taught]
    truth = np.repeat(np.arange(ways), query.shape[1])[query.ravel() >= 0]
    asked = x[query.ravel()[query.ravel() >= 0]]
    found = []
    for name, make in CLASSIFIERS.items():
        if name == "LinearDiscriminantAnalysis" and shots == 1:
            found.append(np.nan)
            continue
        answers = make().fit(train, labels).predict(asked / 127)
        found.append(np.mean((answers == truth) & asked.any(axis=1)))
    return found


def interval(values):
    return 1.96 * np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.inf


def cells(export):
    """(protocol, shots) of the cells, in the order of the file."""
    found = (re.fullmatch(r"support_(.+)_(\d+)", name) for name in export.files)
    return [(cell[1], int(cell[2])) for cell in found if cell]


def heads(export, report, protocol, shots):
    """Our heads' accuracies, episode by episode, checked against the report."""
    first = report["rows"][0]
    found = {}
    for row in report["rows"]:
        own = (row["features"], row["encoder"]) == (first["features"], first["encoder"])
        if not own or (row["protocol"], row["shots"]) != (protocol, shots) or row["accuracy"] is None:
            continue
        values = export[f"accuracy_{protocol}_{shots}_{row['head']}"]
        if abs(values.mean() - row["accuracy"]) > 1e-6:
            sys.exit(f"{row['head']}: the export and the JSON are not of the same run")
        found[row["head"]] = values
    return found


def cell(export, report, protocol, shots):
    x, support, query = (export[name] for name in ("x", f"support_{protocol}_{shots}", f"query_{protocol}_{shots}"))
    # Processes of one thread each: linear algebra this small is slower on more.
    with joblib.parallel_config("loky", n_jobs=-1, inner_max_num_threads=1):
        rows = joblib.Parallel()(joblib.delayed(accuracies)(x, s, q) for s, q in zip(support, query))
    ours = heads(export, report, protocol, shots)
    theirs = dict(zip(CLASSIFIERS, np.array(rows).T))
    print(f"\n{protocol}, {support.shape[1]}-way, {shots}-shot: {len(support)} episodes")
    for origin, results in (("headstart", ours), ("scikit-learn", theirs)):
        for name, values in results.items():
            figures = "n/a" if np.isnan(values).any() else f"{100 * values.mean():6.2f} ± {100 * interval(values):.2f}"
            print(f"  {origin:<12}  {name:<26}  {figures}")
    if "auto" not in ours:
        return
    others = {**ours, **{f"scikit-learn's {name}": values for name, values in theirs.items()}}
    default = others.pop("auto")
    best = max(others, key=lambda name: np.nan_to_num(others[name].mean(), nan=-1))
    loss = default - others[best]
    mark = "  LOSES" if loss.mean() < -0.01 else ""
    print(f"  auto minus the best of all others ({best}): {100 * loss.mean():+.2f} ± {100 * interval(loss):.2f}{mark}")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    export = np.load(sys.argv[1])
    with open(sys.argv[2]) as file:
        report = json.load(file)
    first = report["rows"][0]
    print(f"{first['dataset']}, seed {report['seed']}")
    for protocol, shots in cells(export):
        cell(export, report, protocol, shots)


if __name__ == "__main__":
    main()
