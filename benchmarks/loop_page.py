"""The page of benchmarks.loop: `python -m benchmarks.loop_page [FOLDER]` writes loop.md beside the folder."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from fdfo.evaluation.statistics import Interval, bootstrap

HEAD = """# Time outside the networks

Written by `python -m benchmarks.loop` (and `--real-size` on one CUDA card): the loop itself, with its checkpoints,
evaluations and report. Networks are the transformer with its gradient, text encoders, decoder and scores; outside them
are noise, solver, credit, moving trajectories, dealing items to updates, the optimizer, averaged weights, logs. In
brackets: 95 % bootstrap intervals over epochs.

| model | machine | epoch, s | outside the networks | with checkpoints, evaluations | checkpoint, s | judging, s |
|---|---|---|---|---|---|---|
"""

FOOT = """
Judging: what an evaluation does outside the networks, its report included. Checkpoints and evaluations count as often
as the recipe has them.
"""


def shares(facts: dict[str, Any]) -> tuple[Interval, Interval]:
    """Share of an epoch outside the networks: of the epoch alone, and with its part of checkpoints and evaluations."""
    seconds = facts["seconds"]
    epoch, outside = np.array(seconds["epoch"]), np.array(seconds["outside"])
    more = np.mean(seconds["checkpoint"]) / facts["saved every"]
    more += np.mean(seconds["evaluation outside"]) / facts["evaluated every"]
    return bootstrap(outside / epoch), bootstrap((outside + more) / (epoch + more))


def row(facts: dict[str, Any]) -> str:
    """A line of the table."""
    seconds = facts["seconds"]
    alone, together = (f"{s.mean:.1%} [{s.low:.1%}, {s.high:.1%}]" for s in shares(facts))
    return (
        f"| {facts['model']} | {facts['machine']} | {np.mean(seconds['epoch']):.2f} | {alone} | {together} | "
        f"{np.mean(seconds['checkpoint']):.2f} | {np.mean(seconds['evaluation outside']):.2f} |"
    )


def write_page(data: Path) -> None:
    """Write loop.md beside the folder of measurements."""
    found = [json.loads(path.read_text()) for path in sorted(data.glob("loop-*.json"))]
    settings = [
        f"{one['model']}: {one['date']}, torch {one['torch']}, {len(one['seconds']['epoch'])} epochs of "
        f"`{one['settings']}`" + (f" ({one['note']})." if "note" in one else ".")
        for one in found
    ]
    page = HEAD + "\n".join(map(row, found)) + "\n" + FOOT + "\n" + "\n\n".join(settings) + "\n"
    (data.parent / "loop.md").write_text(page)


if __name__ == "__main__":
    write_page(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results/data"))
