"""Recipes at full size on cards that are not there: `python -m benchmarks.memory.rehearsal [--output FILE]`.

Each runs two epochs and an evaluation on a virtual card (virtual/) of the size that it is for, with few steps
and prompts and without compilation, and ends where it does not fit. What each phase allocates stands beside the plan;
what the same networks allocate of a real card, and of a virtual one, beside that. Writes docs/results/memory.md from
this and from measurements with benchmarks.memory.capped. Minutes on a CPU; it goes on where it was interrupted.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.memory.capped import measured, told
from benchmarks.memory.memory_page import write_page
from benchmarks.memory.virtual import CARD, VirtualCard
from benchmarks.scores.network_shapes import PUBLISHED
from benchmarks.scores.reward_cases import cases, loaded
from benchmarks.scores.rewards import asked_about
from benchmarks.speed import scale
from fdfo.config.tree import AdapterConfig
from fdfo.files import write_json
from fdfo.planning.describe import USABLE_SHARE
from fdfo.planning.memory import GIB

SMALL = ("policy.compile=false", "method.steps=2", "optim.updates_per_epoch=1")
AUTO = ("train.micro_batch=auto", "train.sample_batch=auto")
LARGE = "policy.name=stabilityai/stable-diffusion-3.5-large"

RECIPES: Sequence[tuple[str, float, Sequence[str]]] = (
    ("sd35-medium-24gb", 24, ("train.micro_batch=auto",)),
    ("sd35-medium-24gb", 24, ("policy.gradient_checkpointing=true",)),
    ("sd35-medium-48gb", 48, ("train.micro_batch=auto",)),
    ("sd35-medium-80gb", 80, ("train.micro_batch=auto",)),
    ("sd35-medium-24gb", 48, (LARGE, *AUTO)),
    ("sd35-medium-80gb", 80, ("policy.adapter.kind=full", "reward=[pickscore]", *AUTO)),
    ("sd35-medium-paper", 80, ("method.direction=score_gradient", "reward=[pickscore]", *AUTO)),
    ("sd35-draft", 80, AUTO),
    ("sd35-refl", 80, AUTO),
    ("sd35-flow-grpo-classic", 80, AUTO),
)
"""Name, card in GB and changes beside SMALL."""

SCORES = ("pickscore", "hpsv2", "clip-l14", "aesthetic", "image-reward", "detect", "vlm-alignment")
SCORED = 32
"""Images that a score judges at a time."""


def counted_networks() -> dict[str, float]:
    """GiB that parts of speed/scale.py and scores/rewards.py allocate of a virtual card, by their titles."""
    found = {}
    with VirtualCard() as card:
        policy = scale.random_policy(scale.MEDIUM, AdapterConfig())

        def count(name: str, work: Callable[[], object]) -> None:
            work()
            card.reset_peak()
            work()
            found[name] = card.peak / GIB

        for mixed, label in ((False, "eager, float32 adapters"), (True, "eager, autocast")):
            policy.mixed = mixed
            count(f"sample, {label}", scale.sampling(policy, 32))
            count(f"train, {label}", scale.training(policy, 12))
        count("decode", scale.decoding(policy, 8))
    with TemporaryDirectory() as root:
        for case in (case for case in cases(Path(root), PUBLISHED) if case.title in SCORES):
            with VirtualCard() as card, torch.no_grad():
                reward, _ = loaded(case, CARD)
                asked = asked_about(case, SCORED, CARD)
                reward(*asked)
                before = card.held
                card.reset_peak()
                reward(*asked)
                found[case.title] = (card.peak - before) / GIB
    return {name: round(gib, 4) for name, gib in found.items()}


def rehearsed(recipe: str, gib: float, changes: Sequence[str]) -> dict[str, Any]:
    """A recipe on a virtual card of this size."""
    with VirtualCard(round(gib * USABLE_SHARE * GIB)):
        peaks = measured(recipe, [*SMALL, *changes], gib, CARD)
    print(told(peaks), flush=True)
    return asdict(peaks)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/memory-virtual.json"))
    parser.add_argument("--again", action="store_true", help="count everything again, whatever the file has")
    options = parser.parse_args()
    path: Path = options.output
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() and not options.again else {}
    done = {(one["recipe"], one["card_gib"], tuple(one["changes"])): one for one in kept.get("recipes", ())}
    facts = {"date": time.strftime("%Y-%m-%d"), "card": "virtual", "torch": torch.__version__}
    networks = kept.get("networks") or counted_networks()
    recipes: list[dict[str, Any]] = []
    for recipe, gib, changes in RECIPES:
        recipes.append(done.get((recipe, gib, (*SMALL, *changes))) or rehearsed(recipe, gib, changes))
        write_json(path, {**facts, "networks": networks, "recipes": recipes})
    write_page(path.parent)


if __name__ == "__main__":
    main()
