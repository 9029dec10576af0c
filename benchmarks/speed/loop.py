"""The time outside the networks, as a share of an epoch: `python -m benchmarks.speed.loop [--real-size] [--output F]`.

Runs the loop itself, with its checkpoints, evaluations and report, on the embedded model; --real-size: on
SD3.5-Medium from its configuration with random weights, on one CUDA card, with few pairs. There, epochs in which each
call of a network is waited for tell the networks' own seconds, and others, in which the device may run ahead, all of
them. Then writes docs/results/loop.md from all measurements beside FILE.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from accelerate import Accelerator

from benchmarks.speed.loop_page import write_page
from benchmarks.speed.scale import MEDIUM, random_policy
from benchmarks.speed.timing import Stopwatch, now
from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig, Config
from fdfo.models.policy import FlowPolicy
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.distributed import Team
from fdfo.training.interrupt import StopRequest
from fdfo.training.run import Run
from fdfo.training.setup import held_out_prompts, run_folder, training_prompts

EMBEDDED = ("shapes", "train.overlap_scoring=false")
REAL = (
    "sd35-medium-paper",
    "policy.compile=true",
    "reward=[jpeg]",
    "eval.rewards=[]",
    "eval.prompts=8",
    "eval.steps=4",
    "prompts.name=shapes-train",
    "prompts.eval_name=shapes-validation",
    "prompts.pairs_per_epoch=8",
    "train.micro_batch=16",
    "train.sample_batch=8",
    "train.overlap_scoring=false",
)
"""The published setting but for 8 pairs of 432 and few evaluated images; PNG size stands in for the scores."""

NETWORKS = (
    (FlowPolicy, "_network"),
    (FlowPolicy, "prepare"),
    (FlowPolicy, "decode"),
    (WeightedSum, "components"),
    (torch.Tensor, "backward"),
)
"""What counts as network: the transformer and its gradient, text encoders, decoder and scores."""


@contextmanager
def networks_timed(device: torch.device) -> Iterator[Stopwatch]:
    """The seconds in all networks, from now on."""
    watch = Stopwatch(device)
    patches = [patch.object(owner, name, watch.wrap(getattr(owner, name))) for owner, name in NETWORKS]
    for one in patches:
        one.start()
    try:
        yield watch
    finally:
        for one in patches:
            one.stop()


def measure(config: Config, epochs: int) -> dict[str, list[float]]:
    """Seconds of each epoch and of what is outside its networks; the same of an evaluation; of a checkpoint.

    One epoch and one evaluation come before, and are not counted.
    """
    team = Team(Accelerator(cpu=not torch.cuda.is_available()))
    found: dict[str, list[float]] = {"epoch": [], "outside": [], "evaluation outside": [], "checkpoint": []}
    with TemporaryDirectory() as folder, ExitStack() as stack, networks_timed(team.device) as watch:
        held = stack.enter_context(run_folder(config, Path(folder) / "run", team))
        run = Run(config, held, training_prompts(config, team), held_out_prompts(config, team), team, StopRequest())

        def timed(work: Callable[[], object]) -> tuple[float, float]:
            """All seconds, and those outside the networks."""
            inside, start = watch.seconds, now(team.device)
            work()
            total = now(team.device) - start
            return total, total - (watch.seconds - inside)

        with run.console:
            run._evaluate()
            run._epoch()
            for _ in range(epochs):
                total, outside = timed(run._epoch)
                if team.device.type == "cuda":
                    inside = total - outside
                    watch.is_on = False
                    total = timed(run._epoch)[0]
                    watch.is_on, outside = True, total - inside
                found["epoch"].append(total)
                found["outside"].append(outside)
            for _ in range(2):
                found["evaluation outside"].append(timed(run._evaluate)[1])
                found["checkpoint"].append(timed(lambda: run._save(run._state()))[0])
    return found


def real_policy(*_: Any, **__: Any) -> FlowPolicy:
    """SD3.5-Medium with random weights, compiled."""
    policy = random_policy(MEDIUM, AdapterConfig())
    policy.compile()
    return policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--real-size", action="store_true")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/loop-embedded.json"))
    options = parser.parse_args()
    recipe, *overrides = REAL if options.real_size else EMBEDDED
    config = load_config(recipe, overrides)
    if options.real_size:
        with patch("fdfo.training.setup.policy_from_config", real_policy):
            found = measure(config, options.epochs)
    else:
        found = measure(config, options.epochs)
    cuda = torch.cuda.is_available()
    facts = {
        "model": f"{MEDIUM}, random weights" if options.real_size else "the embedded model",
        "settings": " ".join((recipe, *overrides)),
        "machine": torch.cuda.get_device_name() if cuda else f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "evaluated every": config.eval.every,
        "saved every": config.train.checkpoint_every,
        "seconds": found,
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(facts, indent=1) + "\n")
    print(json.dumps(facts))
    write_page(options.output.parent)


if __name__ == "__main__":
    main()
