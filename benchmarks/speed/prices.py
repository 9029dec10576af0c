"""What costs how much beside a row forward: `python -m benchmarks.speed.prices [--recipe RECIPE] [KEY=VALUE]...`.

Times a row forward, a row forward and backward, and an image decoded and scored, forward and backward, in turn, on the
same inputs. Ratios are of the processor's seconds where there is no other device, so that other work on the machine
hardly changes them. Writes docs/results/prices.md.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median, quantiles

import torch
from torch import Tensor

from fdfo.config.load import load_config
from fdfo.config.tree import Config
from fdfo.files import write_atomically, write_json
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.folder import environment
from fdfo.training.interrupt import StopRequest
from fdfo.training.setup import build_engine, training_prompts

ROUNDS = 24
ROWS = 32
"""Of one call."""

DATA, PAGE = Path("docs/results/data/prices.json"), Path("docs/results/prices.md")


def measure(config: Config) -> dict[str, list[float]]:
    """Seconds of ROWS rows or images, for every kind of work in every round."""
    engine = build_engine(config, this_team(), StopRequest(), Console(False, 1))
    policy, reward = engine.policy, engine.reward
    prompts = training_prompts(config, this_team()).take(0, ROWS)
    texts, metadata = [prompt.text for prompt in prompts], [prompt.metadata for prompt in prompts]
    cond = policy.encode(texts)
    x = torch.randn(ROWS, *policy.latent_shape, generator=torch.Generator().manual_seed(0)).to(policy.device)
    clock = time.process_time if policy.device.type == "cpu" else _synchronised

    def forward() -> None:
        with torch.no_grad():
            policy.velocity(x, 0.5, cond)

    def trained() -> None:
        policy.velocity(x, 0.5, cond).square().mean().backward()
        engine.optimizer.zero_grad(set_to_none=True)

    def decoder_gradient() -> None:
        latents = x.clone().requires_grad_()
        policy.decode(latents).mean().backward()

    images = policy.decode(x).detach()

    def score_gradient() -> None:
        pixels = images.clone().requires_grad_()
        total: Tensor = reward(pixels, texts, metadata).sum()
        total.backward()

    works: dict[str, Callable[[], None]] = {
        "forward": forward,
        "trained": trained,
        "decoder_gradient": decoder_gradient,
    }
    if reward.differentiable:
        works["score_gradient"] = score_gradient
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for round_number in range(ROUNDS + 2):
        for name, work in works.items():
            started = clock()
            work()
            if round_number >= 2:  # the first two are not counted
                seconds[name].append(clock() - started)
    return seconds


def _synchronised() -> float:
    torch.cuda.synchronize()
    return time.monotonic()


def page(recipe: str, overrides: list[str], seconds: dict[str, list[float]], place: dict[str, object]) -> str:
    """A table of the ratios."""
    lines = [
        "# What costs how much beside a row forward",
        "",
        f"Written by `python -m benchmarks.speed.prices --recipe {' '.join([recipe, *overrides])}` on "
        f"{str(place['started'])[:10]}, {place['threads']} thread(s), {ROWS} rows or images a call, {ROUNDS} rounds in "
        "turn. Seconds of the processor; a price is the median over rounds of the ratio within a round, with its "
        "quartiles. `fdfo compare` charges these (src/fdfo/comparison/prices.py).",
        "",
        "| work | ms a row or image | price in rows forward | quartiles |",
        "|---|---|---|---|",
    ]
    for name, own in seconds.items():
        ratios = [one / base for one, base in zip(own, seconds["forward"], strict=True)]
        low, _, high = quantiles(ratios, n=4)
        lines.append(f"| {name} | {1000 * median(own) / ROWS:.3f} | {median(ratios):.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="shapes-draft")
    parser.add_argument("overrides", nargs="*")
    options = parser.parse_args()
    seconds, place = measure(load_config(options.recipe, options.overrides)), environment()
    write_json(DATA, {"recipe": options.recipe, "rows": ROWS, "seconds": seconds, "environment": place})
    write_atomically(PAGE, page(options.recipe, options.overrides, seconds, place))
    print(f"wrote {PAGE}")


if __name__ == "__main__":
    main()
