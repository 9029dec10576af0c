"""The page of rehearsal.py and capped.py: `python -m benchmarks.memory.memory_page [FOLDER]`."""

import json
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from fdfo.planning.memory import GIB

HEAD = """# Memory of full-size recipes

Written by `python -m benchmarks.memory.rehearsal` on a CPU: the loop itself, with text encoders, transformer, decoder
and scores of their published shapes, on a [virtual CUDA card](../../benchmarks/memory/virtual/card.py). That one has
every tensor's shape, type and place, but not its content; it counts the bytes that torch's allocator would hand out,
refuses what mixes devices, and is out of memory where a card of that size would be. Not counted is what kernels take
beside their results.

## The virtual card against a real one

The same networks, with random weights, on an NVIDIA H200 ([policy](scale.md), [scores](rewards.md)) and on the virtual
card: GiB at the peak. Scores judge 32 images; theirs is what they take beside their weights.

| what | H200 | virtual | difference |
|---|---|---|---|
"""

PRESETS = """
Decoding is the exception: cuDNN's convolutions need room of their own, which the plan has in its factor.

## Recipes, phase by phase

GiB at the peak of each phase: counted / planned before anything loads. Two epochs of two sampling steps and one update,
and an evaluation, not compiled (compilation saves two fifths of what training rows hold, [measured](scale.md)), with
the batches of the recipe, or those that the plan chooses for this card: rows of a training step, and prompts sampled at
a time. Encoding begins and ends with the network there, which leaves for the text encoders; where it is larger than
they are, it is what is counted, and the plan has the encoders alone. The scores of the evaluation count as `score`.

| recipe | card, GB | rows, prompts | encode | sample | decode | score | train |
|---|---|---|---|---|---|---|---|
"""

COLUMNS = ("encode", "sample", "decode", "score", "train")


def measured_networks(data: Path) -> dict[str, float]:
    """GiB of a real card by the same titles."""
    policy = json.loads((data / "scale-h200.json").read_text(encoding="utf-8"))["measured"]
    scores = json.loads((data / "rewards-h200.json").read_text(encoding="utf-8"))["rates"]
    found = {row["name"]: row["peak_gib"] for row in policy if "peak_gib" in row}
    return found | {row["score"]: row["peak_bytes"] / GIB for row in scores if row.get("batch") == 32}


def network_row(name: str, counted: float, measured: float) -> str:
    difference = f"{counted / measured - 1:+.1%}".replace("-0.0", "0.0").replace("+0.0", "0.0")
    return f"| {name} | {measured:.2f} | {counted:.2f} | {difference} |"


def recipe_row(one: dict[str, Any], shared: Collection[str]) -> str:
    """A line of the second table, without the changes that all recipes share."""
    changes = " ".join(change for change in one["changes"] if change not in shared and "=auto" not in change)
    counted, planned = one["counted_gib"], one["planned_gib"]

    def cell(phase: str) -> str:
        return f"{counted[phase]:.1f} / {planned[phase]:.1f}"

    named = f"`{one['recipe']}`" + (f" `{changes}`" if changes else "")
    batches = f"{one['micro_batch']}, {one['sample_batch']}"
    return f"| {named} | {one['card_gib']:.0f} | {batches} | {' | '.join(map(cell, COLUMNS))} |"


def write_page(data: Path) -> None:
    """Write memory.md beside the folder of measurements."""
    virtual = json.loads((data / "memory-virtual.json").read_text(encoding="utf-8"))
    real = measured_networks(data)
    rows = [network_row(name, gib, real[name]) for name, gib in virtual["networks"].items() if name in real]
    recipes = virtual["recipes"]
    shared = set.intersection(*(set(one["changes"]) for one in recipes))
    lines = [recipe_row(one, shared) for one in recipes]
    page = HEAD + "\n".join(rows) + "\n" + PRESETS + "\n".join(lines) + "\n"
    (data.parent / "memory.md").write_text(f"{page}\n{virtual['date']}, torch {virtual['torch']}.\n", encoding="utf-8")


if __name__ == "__main__":
    write_page(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results/data"))
