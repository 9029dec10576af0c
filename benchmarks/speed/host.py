"""What the host does for an epoch at real size beside the networks: `python -m benchmarks.speed.host [--output FILE]`.

The trajectories of the published setting (432 pairs of 40 steps at 512 px, 9 GiB) without a network: noise, credit,
joining, dealing rows to updates, and handing out micro-batches. The first and the last go on while the card computes;
for the others it waits. Then writes docs/results/loop.md beside FILE.
"""

import argparse
import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch

from benchmarks.speed.loop_page import write_page
from benchmarks.speed.scale import TEXT_TOKENS
from fdfo.config.load import load_config
from fdfo.config.tree import Config
from fdfo.files import write_json
from fdfo.flow.noise import NoiseStreams
from fdfo.methods.branches import BranchRollout
from fdfo.methods.fdfo import FDFO
from fdfo.methods.settings.fdfo import FdfoConfig
from fdfo.models.sizes import policy_sizes
from fdfo.planning.batches import planner
from fdfo.planning.memory import GIB
from fdfo.records import Conditioning, Items, Prompt, Scores
from fdfo.training.batching import deal, micro_batches

RECIPE = "sd35-medium-80gb"
LATENT = (16, 64, 64)
TOKENS, POOLED = 4096, 2048
"""Widths of a prompt's embeddings."""
REPEATED = 20


def seconds(work: Callable[[], object]) -> float:
    start = time.monotonic()
    work()
    return time.monotonic() - start


def rollout_of(prompts: list[Prompt], steps: int) -> BranchRollout:
    """Trajectories of pairs as they wait in host memory, without meaning."""
    images, grid = 2 * len(prompts), torch.linspace(1, 0, steps + 1)
    states = torch.full((images, steps, *LATENT), 0.5, dtype=torch.bfloat16)
    return BranchRollout(
        prompts=prompts,
        conditioning=Conditioning(
            tuple(
                {
                    "0.encoder_hidden_states": torch.zeros(1, TEXT_TOKENS, TOKENS, dtype=torch.bfloat16),
                    "0.pooled_projections": torch.zeros(1, POOLED, dtype=torch.bfloat16),
                }
                for _ in prompts
            )
        ),
        group_size=2,
        x0=torch.randn(images, *LATENT),
        action=None,
        t=grid[:-1].expand(images, -1).contiguous(),
        s=grid[1:].expand(images, -1).contiguous(),
        share=torch.ones(images, steps),
        x=states,
        v=states.clone(),
        added=None,
    )


def measure(config: Config) -> dict[str, float]:
    """Seconds of each part: of an epoch, of a step of a sample batch, of a micro-batch."""
    settings = config.method
    assert isinstance(settings, FdfoConfig)
    assert policy_sizes(config.policy).latent == 4 * torch.Size(LATENT).numel()
    method, noise = FDFO(settings), NoiseStreams(0, 0)
    pairs, at_a_time, rows = config.prompts.pairs_per_epoch, config.train.sample_batch, config.train.micro_batch
    assert isinstance(at_a_time, int) and isinstance(rows, int)
    prompts = [Prompt(text="", number=number) for number in range(pairs)]
    parts = [rollout_of(prompts[start : start + at_a_time], settings.steps) for start in range(0, pairs, at_a_time)]
    total = torch.randn(2 * pairs)
    drawn = [seconds(lambda: noise.normal(LATENT, "perturb", range(2 * at_a_time))) for _ in range(REPEATED)]

    start, credited = time.monotonic(), []
    while parts:
        part = parts.pop(0)
        own = total[: len(part.x0)]
        credited.append(method.credit(part, Scores(total=own, components={}, batch=total)))
    credit_s = time.monotonic() - start
    start = time.monotonic()
    items = Items.cat(credited)
    join_s = time.monotonic() - start
    start = time.monotonic()
    dealt = deal(items.sample_number[:, 0], items.num_times, config.optim.updates_per_epoch, noise)
    deal_s = time.monotonic() - start
    pieces = list(micro_batches(dealt[0], rows))[:REPEATED]
    handed = [seconds(lambda piece=piece: items.rows(*piece)) for piece in pieces]
    return {
        "credit": credit_s,
        "joining": join_s,
        "dealing": deal_s,
        "noise of a step": median(drawn),
        "rows of a micro-batch": median(handed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/host.json"))
    options = parser.parse_args()
    config = load_config(RECIPE)
    trajectories = planner(config, torch.device("cuda"))(80 * GIB)[1].trajectories
    facts = {
        "date": time.strftime("%Y-%m-%d"),
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "torch": torch.__version__,
        "recipe": RECIPE,
        "sampled": 2 * int(config.train.sample_batch),
        "rows": config.train.micro_batch,
        "trajectories_gib": round(trajectories / GIB, 2),
        "seconds": {name: round(value, 5) for name, value in measure(config).items()},
    }
    write_json(options.output, facts)
    print(json.dumps(facts, indent=1))
    write_page(options.output.parent)


if __name__ == "__main__":
    main()
