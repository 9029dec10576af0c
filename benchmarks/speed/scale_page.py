"""Tables of what scale.py measured: `python -m benchmarks.speed.scale_page FILE.json... > docs/results/scale.md`.

The first file holds the whole measurement; further ones, repeated parts.
"""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.speed.flops import ROWS
from benchmarks.speed.scale import IMAGES
from fdfo.comparison.counting import epoch_cost
from fdfo.config.load import load_config

EPOCHS = 100
PUBLISHED_S = 1728
"""GPU-seconds of an epoch of the authors' setting: 48 H200-hours for 100 epochs."""

BEST = ("sample, compiled, autocast", "train, compiled, autocast")
PLAIN = ("sample, eager, float32 adapters", "train, eager, float32 adapters")
CAPPED = ("sample, compiled, autocast, 24 GiB cap", "train after a step, 24 GiB cap")
PAPER = "sd35-medium-paper"
PRESETS = {"sd35-medium-80gb": BEST, "sd35-medium-48gb": BEST, "sd35-medium-24gb": CAPPED, "sd35-medium-fast": BEST}
"""By the measured rates that they run at."""

SCORES = ("pickscore", "vlm-alignment")
"""That the paper's setting trains on, as a run calls them (benchmarks.scores.rewards), 32 images at a time."""
SCORES_MEASURED = Path("docs/results/data/rewards-h200.json")


def score_rates() -> dict[str, float]:
    """Images a second of each score."""
    rates = json.loads(SCORES_MEASURED.read_text(encoding="utf-8"))["rates"]
    return {row["score"]: row["images_per_s"] for row in rates if row["score"] in SCORES and row["batch"] == 32}


def epoch_seconds(measured: dict[str, dict[str, Any]], preset: str, sample: str, train: str) -> dict[str, float]:
    """Seconds of each part of an epoch of a preset at these rates, one after the other."""
    work = epoch_cost(load_config(preset))
    counts = {sample: work.forwards, train: work.trained, "decode": work.images}
    return {name: count / measured[name]["rows_per_s"] for name, count in counts.items()} | {
        f"score, {name}": work.images / rate for name, rate in score_rates().items()
    }


HEAD = (
    "| what | rows | rows/s | TFLOP/s | share of that rate | peak GiB | first, s |",
    "|---|---|---|---|---|---|---|",
)


def _row(row: dict[str, Any]) -> str:
    if "failed" in row:
        return f"| {row['name']} | {row['rows']} | {row['failed']} | | | | |"
    flop = (f"{row['tflop_per_s']:.0f}", f"{row['share']:.0%}") if row["tflop_per_s"] else ("", "")
    return (
        f"| {row['name']} | {row['rows']} | {row['rows_per_s']:.1f} | {flop[0]} | {flop[1]} | "
        f"{row['peak_gib']:.1f} | {row['first_s']:.0f} |"
    )


def page(facts: dict[str, Any], repeated: list[dict[str, Any]], source: str) -> str:
    """Markdown of the measurements."""
    measured = {row["name"]: row for row in facts["measured"]}
    lines = [
        "# Full size on one card",
        "",
        f"Measured by `python -m benchmarks.speed.scale` on {facts['date']}: {facts['card']}, "
        f"torch {facts['torch']}, {facts['model']} built from its configuration with random weights, "
        f"512 px, LoRA of rank 32, bfloat16. "
        f"This page: `python -m benchmarks.speed.scale_page {source}`. "
        "Medians of one process; one run, so no interval.",
        "",
        f"The card's own rate for a bfloat16 matrix product of 8192 x 8192 in the same run: "
        f"{facts['matrix_tflop_per_s']} TFLOP/s. A row is one state of one sample; `train` is forward and backward. "
        "`float32 adapters` computes the adapters in float32, `autocast` in bfloat16 from float32 weights. "
        "`first` includes compilation.",
        "",
        *HEAD,
        *map(_row, facts["measured"]),
    ]
    best, plain = (epoch_seconds(measured, PAPER, *rates) for rates in (BEST, PLAIN))
    for more in repeated:
        lines += ["", f"Repeated on {more['date']}, {more['card']}, matrix rate {more['matrix_tflop_per_s']}:", ""]
        lines += [*HEAD, *map(_row, more["measured"])]
    lines += [
        "",
        f"## An epoch of the paper's setting: {ROWS} sampled and {ROWS} trained rows, {IMAGES} images",
        "",
        "Extrapolated from the rates above and [those of the scores](rewards.md), as a run calls them, one part after "
        "the other, as a run on one card does it. Not in it, and not measured yet: encoding prompts that are new, with "
        "the text encoders in the transformer's place, moving scores that take turns on the card, bookkeeping and "
        "evaluation. The rate of the vision-language model is that of code which held a float32 copy of its output "
        "layer; that layer is converted piece by piece now, which has not been timed on a card.",
        "",
        "| part | seconds |",
        "|---|---|",
        *(f"| {name} | {seconds:.0f} |" for name, seconds in best.items()),
        f"| **all** | **{sum(best.values()):.0f}** |",
        f"| all, nothing optimised | {sum(plain.values()):.0f} |",
        f"| published, the authors' code on H200 cards | {PUBLISHED_S} |",
        "",
        f"{EPOCHS} epochs: {EPOCHS * sum(best.values()) / 3600:.1f} GPU-hours "
        f"(published: {EPOCHS * PUBLISHED_S / 3600:.0f}).",
    ]
    everything = measured | {row["name"]: row for more in repeated for row in more["measured"]}
    lines += [
        "",
        "## An epoch of each preset, likewise",
        "",
        "`sd35-medium-24gb` at the rates under the cap. `sd35-medium-fast`, of ten steps and two trained times, is "
        "cheap; what it reaches on Stable Diffusion has not been tried.",
        "",
        "| preset | seconds of one card | GPU-hours for 100 epochs |",
        "|---|---|---|",
    ]
    for preset, rates in PRESETS.items():
        seconds = sum(epoch_seconds(everything, preset, *rates).values())
        lines.append(f"| `{preset}` | {seconds:.0f} | {EPOCHS * seconds / 3600:.1f} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    first, *others = (json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:])
    print(page(first, others, " ".join(sys.argv[1:])), end="")
