"""The table of benches/pretext: python3 pretext.py FOLDER KIND TASK..."""

import json
import sys
from pathlib import Path


def cell(row):
    groups = row["ci95_groups"]
    spread = f" ({100 * groups:.1f})" if groups is not None else ""
    return f"{100 * row['accuracy']:.2f} ± {100 * row['ci95']:.2f}{spread}"


def main(folder, kind, tasks):
    rivals = {}
    columns = []
    lines = {}
    for task in tasks:
        for row in json.loads((Path(folder) / f"{kind}-{task}.json").read_text())["rows"]:
            column = f"{row['protocol']}, {row['head']}"
            if column not in columns:
                columns.append(column)
            if row["features"] == "encoder":
                lines.setdefault(f"`{task}`", {})[column] = row
            else:
                rivals.setdefault(f"*{row['features']}*", {})[column] = row
    first = columns[0]
    order = sorted(lines, key=lambda name: -lines[name][first]["accuracy"])
    print(f"\n| {kind} | " + " | ".join(columns) + " |")
    print("|---" * (len(columns) + 1) + "|")
    for name, cells in [(n, lines[n]) for n in order] + list(rivals.items()):
        print(f"| {name} | " + " | ".join(cell(cells[c]) for c in columns) + " |")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
