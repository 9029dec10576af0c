"""The demo on several seeds, judged on captions and noises used for nothing else: `python -m benchmarks.evidence.demo`.

Trains the recipe `shapes` once for each seed (resumable: repeat the command), evaluates base and result on the
captions of the split `test` with a noise seed of its own, and writes docs/results/demo.md and its data beside it.
`--table` only rewrites the page from the stored numbers.
"""

import argparse
import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from fdfo.evaluation.alarms import alarms
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.ledger import Ledger
from fdfo.evaluation.runs import read_evaluations, read_events
from fdfo.evaluation.statistics import Interval, bootstrap
from fdfo.files import write_atomically
from fdfo.prompts import load_prompts
from fdfo.prompts.source import evenly_spread

PAGE, DATA = Path("docs/results/demo.md"), Path("docs/results/data/demo.json")
TEST_NOISE_SEED = 2026
TEST_PROMPTS, IMAGES = 144, 4
STEPS = (10, 20)
"""Sampling steps of the evaluation: as trained, and as many again."""
SCORES = ("shapes-verifier", "shapes-contrastive", "shapes-neatness")
DIVERSITY = "diversity"


def train_and_judge(seed: int, root: Path) -> dict[str, Any]:
    """Scores per prompt before and after, for each number of steps, and the seconds of training."""
    folder = root / f"seed-{seed}"
    subprocess.run(
        [sys.executable, "-m", "fdfo", "train", "shapes", f"train.seed={seed}", "--run", str(folder)], check=True
    )
    result: dict[str, Any] = {"seed": seed, "steps": {}}
    prompts = evenly_spread(load_prompts(None, "shapes-test"), TEST_PROMPTS)
    for steps in STEPS:
        output = folder / f"test-{steps}"
        options = {
            "--prompts": "shapes-test",
            "--rewards": ",".join(SCORES),
            "--count": TEST_PROMPTS,
            "--images": IMAGES,
            "--steps": steps,
            "--seed": TEST_NOISE_SEED,
            "--adapter": latest(folder),
            "--output": output,
        }
        flat = [str(part) for pair in options.items() for part in pair]
        subprocess.run([sys.executable, "-m", "fdfo", "eval", "--run", str(folder), *flat], check=True)
        judged = {"steps": steps, "images_per_prompt": IMAGES}
        result["steps"][str(steps)] = {
            name: compact(Ledger(output).evaluation(name, prompts, **judged).to_dict()) for name in ("base", "adapter")
        }
    events = read_events(folder)
    epochs = [event for event in events if event["event"] == "rollout"]
    history = read_evaluations(folder)
    result["alarms"] = [alarm.name for alarm in alarms(history, SCORES[1:])]
    result["velocity"] = history[-1].interval("velocity_rms").mean / history[0].interval("velocity_rms").mean
    result["training_seconds"] = sum(sum(event["seconds"].values()) for event in epochs)
    result["cost"] = epochs[-1]["total"]
    return result


def compact(evaluation: dict[str, Any]) -> dict[str, Any]:
    """The same evaluation with scores to four digits, without signals."""
    rounded = {name: [round(value, 4) for value in values] for name, values in evaluation["scores"].items()}
    return {**evaluation, "scores": rounded, "signals": {}}


def latest(folder: Path) -> Path:
    """The last checkpoint: no choice by any evaluation."""
    return sorted((folder / "checkpoints").glob("epoch-*"))[-1]


def gains(results: list[dict[str, Any]], steps: int, score: str, category: str | None = None) -> list[Interval]:
    """Paired gain over the test prompts, for each seed."""
    found = []
    for result in results:
        base, trained = (Evaluation(**result["steps"][str(steps)][name]) for name in ("base", "adapter"))
        found.append(trained.gain(base, score, category))
    return found


def page(results: list[dict[str, Any]], facts: dict[str, str]) -> str:
    """The results page."""
    first = Evaluation(**results[0]["steps"][str(STEPS[0])]["base"])
    seconds = [result["training_seconds"] for result in results]
    lines = [
        "# The demo, on seeds",
        "",
        f"Written by `python -m benchmarks.evidence.demo` on {facts['date']}: fdfo {facts['fdfo']}, "
        f"torch {facts['torch']}, {facts['machine']}. "
        f"Seeds {', '.join(str(result['seed']) for result in results)}; no seed was left out.",
        "",
        f"Recipe `shapes` (trained on `{SCORES[0]}`; `{SCORES[1]}` and `{SCORES[2]}` are unseen). Judged on "
        f"{len(first.prompts)} captions, {IMAGES} images each, of the split `test`, which pre-training, post-training "
        "and the choice of settings never saw, with start noises used for nothing else, without guidance. In brackets: "
        "95 % bootstrap intervals over the captions, paired with the base.",
        "",
        f"Training (evaluations not counted) took {np.mean(seconds):.0f} s on average "
        f"({min(seconds):.0f} to {max(seconds):.0f}{facts['note']}), "
        f"{results[0]['cost']['images']} images, {results[0]['cost']['forwards']} forward evaluations and "
        f"{results[0]['cost']['trained']} with gradient.",
        "",
    ]
    raised = [f"seed {result['seed']}: {', '.join(result['alarms'])}" for result in results if result["alarms"]]
    velocities = ", ".join(f"{result['velocity']:.2f}" for result in results)
    rules = "[their rules](../design.md#alarms)"
    lines += [
        f"Alarms of the last evaluation inside the run ({rules}): {'; '.join(raised) or 'none'}. "
        f"There the velocity's RMS was {velocities} times that before training.",
        "",
    ]
    lines += [f"The price: images of one prompt differ less. {' '.join(_price(results, steps) for steps in STEPS)}", ""]
    for steps in STEPS:
        lines += [f"## {steps} sampling steps", "", *_table(results, steps), ""]
    return "\n".join(lines)


def _price(results: list[dict[str, Any]], steps: int) -> str:
    """What became of the diversity, over the seeds."""
    each = [gain.mean for gain in gains(results, steps, DIVERSITY)]
    base = Evaluation(**results[0]["steps"][str(steps)]["base"]).interval(DIVERSITY).mean
    change = bootstrap([gain / base for gain in each])
    return (
        f"With {steps} steps their diversity changed by {change.mean:+.1%} [{change.low:+.1%}, {change.high:+.1%}] "
        f"over the seeds, from {base:.3f}: by {', '.join(f'{gain:+.3f}' for gain in each)}."
    )


def _table(results: list[dict[str, Any]], steps: int) -> list[str]:
    first = Evaluation(**results[0]["steps"][str(steps)]["base"])
    header = ["score", "base", *(f"gain, seed {result['seed']}" for result in results), "mean gain over seeds"]
    rows = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for score in SCORES:
        for category in (None, *first.category_names):
            each = gains(results, steps, score, category)
            over_seeds = bootstrap([gain.mean for gain in each])
            label = f"**{score}**" if category is None else f"{score}, {category}"
            cells = [label, f"{first.interval(score, category).mean:.3f}"]
            cells += [f"{gain.mean:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" for gain in each]
            cells += [f"{over_seeds.mean:+.3f} [{over_seeds.low:+.3f}, {over_seeds.high:+.3f}]"]
            rows.append("| " + " | ".join(cells) + " |")
    return rows


def rewrite_page() -> None:
    stored = json.loads(DATA.read_text())
    for result in stored["results"]:
        for steps, parts in result["steps"].items():
            parts["base"] = stored["bases"][steps]
    write_atomically(PAGE, page(stored["results"], stored["facts"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--root", type=Path, default=Path("runs/demo-seeds"))
    parser.add_argument("--note", default="", help="about the seconds, such as what else ran on the machine")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        rewrite_page()
        return
    results = [train_and_judge(seed, options.root) for seed in range(options.seeds)]
    bases = {steps: results[0]["steps"][str(steps)]["base"] for steps in STEPS}
    for result in results:
        for steps in STEPS:
            if result["steps"][str(steps)].pop("base") != bases[steps]:
                raise SystemExit("the base scored differently in two runs: same captions and noises were expected")
    facts = {
        "date": datetime.now(UTC).date().isoformat(),
        "fdfo": version("fdfo"),
        "torch": version("torch"),
        "machine": f"{platform.machine()}, 2 CPU cores",
        "note": f"; {options.note}" if options.note else "",
    }
    write_atomically(DATA, json.dumps({"facts": facts, "bases": bases, "results": results}) + "\n")
    rewrite_page()


if __name__ == "__main__":
    main()
