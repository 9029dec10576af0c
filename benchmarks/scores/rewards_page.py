"""The page of rewards.py: `python -m benchmarks.scores.rewards_page FILE.json... > docs/results/rewards.md`."""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fdfo.evaluation.statistics import Interval, bootstrap, paired_difference

_RATES = """
Images of {sides} pixels with a prompt each, through the score as a run calls it, with its preprocessing; medians of
repeated calls in one process. Networks are in float32, that of `vlm` is in bfloat16. A score that takes its batch in
pieces (`batch_size`, by default 8 for `vlm`, 16 for `detect`, 32 for the others) does so here. `detect a colour` finds
on every image an object whose colour a CLIP then names; `detect` never gets so far. {memory} Not here: `vlm-server` and
`remote`, which compute elsewhere, and `vlm-pair`, which asks the network of `vlm` about two images at a time.
"""
_ON_CUDA = "`beside` is the most that one call allocates on the card beside weights and images."
_ON_CPU = "`beside` is the most that one call holds in tensors of torch beside weights and images (torch.profiler)."
_OVERLAPS = """
An epoch up to its update: sampling, decoding and scoring of {images} images in {batches} batches, `{recipe}`. The same
epochs, with the same noise, with `train.overlap_scoring` off and on in turn. The last of {batches} batches has no next
one to hide behind: at most {most:.0%} of scoring can be hidden, and no more than sampling the others takes. `waited
for` is what is left of the phase `score`. `hidden` is what an epoch takes less, and `share` that over its scoring, with
95 % bootstrap intervals over pairs of epochs: where both want the same processor, a score that is no longer waited for
may still make sampling slower.
"""


def page(measured: Sequence[Mapping[str, Any]], source: str) -> str:
    """Markdown of the content of files that benchmarks.scores.rewards wrote."""
    lines = [
        "# Scores: speed, memory, overlap",
        "",
        f"This page: `python -m benchmarks.scores.rewards_page {source}`. Networks have random weights, which cost "
        "what trained ones do; `shapes-contrastive` has its own.",
    ]
    for part in measured:
        versions = ", ".join(f"{name} {number}" for name, number in part["versions"].items())
        kind = "published architectures at full size" if part["full_size"] else "small networks of the same classes"
        lines += ["", f"## {part['machine']}", ""]
        note = f"; {part['note']}" if part["note"] else ""
        lines += [f"Measured by `{part['command']}` on {part['date']}: {versions}; {kind}{note}."]
        lines += _rates(part["full_size"], part.get("rates", []))
        lines += _overlaps(part.get("overlaps", []))
    return "\n".join(lines) + "\n"


def _rates(full_size: bool, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    measured, failed = _apart(rows)
    batches = sorted({row["batch"] for row in measured})
    by_score: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in measured:
        by_score.setdefault(row["score"], {})[row["batch"]] = row
    sides = " or ".join(f"{side} x {side}" for side in sorted({row["side"] for row in measured}))
    head = [f"images/s at {batch}" for batch in batches] + [f"beside at {batch}" for batch in batches]
    return [
        "",
        _line(_RATES.format(sides=sides, memory=_ON_CUDA if full_size else _ON_CPU)),
        "",
        *_table(["score", "network", "parameters", "weights", *head], (_rate(r, batches) for r in by_score.values())),
        *_not_measured(failed),
    ]


def _rate(by_batch: Mapping[int, Mapping[str, Any]], batches: Iterable[int]) -> list[str]:
    rows = [by_batch.get(batch) for batch in batches]
    first = next(row for row in rows if row is not None)
    return [
        f"`{first['score']}`",
        first["network"],
        f"{first['parameters'] / 1e6:,.1f} M" if first["parameters"] else "",
        _size(first["weight_bytes"]) if first["weight_bytes"] else "",
        *(_number(row["images_per_s"]) if row else "failed" for row in rows),
        *(_size(row["peak_bytes"]) if row else "failed" for row in rows),
    ]


def _overlaps(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    measured, failed = _apart(rows)
    if not rows:
        return []
    lines = ["", "### Overlap"]
    if measured:
        shape = {name: measured[0][name] for name in ("images", "batches", "recipe")}
        lines += ["", _line(_OVERLAPS.format(**shape, most=1 - 1 / shape["batches"]))]
        head = [
            "score",
            "pairs",
            "apart, s",
            "of it scoring, s",
            "overlapped, s",
            "waited for, s",
            "hidden, s",
            "share",
        ]
        lines += ["", *_table(head, map(_overlap, measured))]
    return [*lines, *_not_measured(failed)]


def _overlap(row: Mapping[str, Any]) -> list[str]:
    hidden, share = hidden_seconds(row), hidden_share(row)
    means = (f"{np.mean(row[name]):.2f}" for name in ("apart_s", "score_s", "together_s", "waited_s"))
    return [
        row["score"],
        str(hidden.n),
        *means,
        f"{hidden.mean:.2f} [{hidden.low:.2f}, {hidden.high:.2f}]",
        f"{share.mean:.0%} [{share.low:.0%}, {share.high:.0%}]",
    ]


def hidden_seconds(row: Mapping[str, Any]) -> Interval:
    """Seconds by which an epoch is shorter when its scoring overlaps."""
    return paired_difference(np.array(row["apart_s"]), np.array(row["together_s"]))


def hidden_share(row: Mapping[str, Any]) -> Interval:
    """The same over the seconds that scoring takes by itself."""
    return bootstrap((np.array(row["apart_s"]) - np.array(row["together_s"])) / np.array(row["score_s"]))


def _apart(rows: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """What was measured, and what failed."""
    return [row for row in rows if "failed" not in row], [row for row in rows if "failed" in row]


def _not_measured(failed: Sequence[Mapping[str, Any]]) -> list[str]:
    if not failed:
        return []
    at = [f"`{row['score']}`" + (f" at {row['batch']}" if row["batch"] else "") for row in failed]
    return ["", "Not measured:", "", *(f"- {name}: {row['failed']}" for name, row in zip(at, failed, strict=True))]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def _line(text: str) -> str:
    return " ".join(text.split())


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _size(count: int) -> str:
    return f"{count / 2**30:.2f} GiB" if count >= 2**30 else f"{count / 2**20:.2f} MiB"


if __name__ == "__main__":
    contents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    print(page(contents, " ".join(sys.argv[1:])), end="")
