"""The page of loop.py: `python -m benchmarks.speed.loop_page [FOLDER]` writes loop.md beside the folder."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.speed.scale_page import BEST, PAPER, epoch_seconds
from fdfo.evaluation.statistics import Interval, bootstrap

HEAD = """# Time outside the networks

Written by `python -m benchmarks.speed.loop` (and `--real-size` on one CUDA card): the loop itself, with its
checkpoints, evaluations and report. Networks are the transformer with its gradient, text encoders, decoder and scores;
outside them are noise, solver, credit, moving trajectories, dealing items to updates, the optimizer, averaged weights,
logs. In brackets: 95 % bootstrap intervals over epochs.

| model | machine | epoch, s | outside the networks | with checkpoints, evaluations | checkpoint, s | judging, s |
|---|---|---|---|---|---|---|
"""

FOOT = """
Judging: what an evaluation does outside the networks, its report included. Checkpoints and evaluations count as often
as the recipe has them.
"""

HOST = """
## What the host does at real size

Compiled, the loop has not been measured at real size. Its parts on the host have, on a CPU (`python -m
benchmarks.speed.host`): the trajectories of an epoch of `{recipe}`, without a network. In these loops the host does not
wait for the card ([a test](../../tests/training/test_on_a_card.py), on a virtual one): noise and rows are made while it
computes, and are there in time where they take less than the network.

| what | seconds here | beside it, on an H200 ([measured](scale.md)) |
|---|---|---|
| noise of a step of {sampled} images | {noise:.3f} | {sample:.3f} of the network |
| the {rows} rows of a micro-batch | {handed:.3f} | {train:.3f} of the network |
| credit, joining and dealing the trajectories of the epoch | {waited:.1f} | {epoch:.0f} of the epoch, {share:.1%} |

Not in it: copying the trajectories from the card, {gib:.1f} GiB. {date}, {machine}, torch {torch}, one run.
"""


def host_section(data: Path) -> str:
    """What benchmarks.speed.host found, beside an H200's rates; nothing where it has not run."""
    path = data / "host.json"
    if not path.exists():
        return ""
    host = json.loads(path.read_text())
    rates = {row["name"]: row for row in json.loads((data / "scale-h200.json").read_text())["measured"]}
    sample, train = (rates[name]["rows_per_s"] for name in BEST)
    parts, epoch = host["seconds"], sum(epoch_seconds(rates, PAPER, *BEST).values())
    waited = parts["credit"] + parts["joining"] + parts["dealing"]
    return HOST.format(
        **{key: host[key] for key in ("recipe", "sampled", "rows", "date", "machine", "torch")},
        noise=parts["noise of a step"],
        handed=parts["rows of a micro-batch"],
        sample=host["sampled"] / sample,
        train=host["rows"] / train,
        waited=waited,
        epoch=epoch,
        share=waited / epoch,
        gib=host["trajectories_gib"],
    )


VELOCITY = """
## A velocity beside its network

What `policy.velocity` takes more than the bare network for the same 4 rows (`python -m benchmarks.speed.overhead`):
packing, the time, the adapter's weights, precision, guidance. Both by turns in one process, in seconds of its CPU, the
fastest of 20 of each; in brackets, 95 % bootstrap intervals over blocks of so many. The aim is 3 %: two dozen small
operations are more than that where a network's own call takes some milliseconds.

| network | guidance | bare, ms | a velocity more |
|---|---|---|---|
"""


def velocity_section(data: Path) -> str:
    """What benchmarks.speed.overhead found; nothing where it has not run."""
    path = data / "overhead.json"
    if not path.exists():
        return ""
    found = json.loads(path.read_text())
    rows = [
        f"| {one['network']} | {one['guidance']:g} | {1000 * one['bare_s']:.2f} | "
        "{mean:+.1%} [{low:+.1%}, {high:+.1%}] |\n".format(**one["more"])
        for one in found["cases"]
    ]
    return (
        VELOCITY + "".join(rows) + "\n{date}, {machine}, {threads} threads, torch {torch}, one run.\n".format(**found)
    )


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
    page = HEAD + "\n".join(map(row, found)) + "\n" + FOOT + "\n" + "\n\n".join(settings) + "\n" + host_section(data)
    page += velocity_section(data)
    (data.parent / "loop.md").write_text(page)


if __name__ == "__main__":
    write_page(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/results/data"))
