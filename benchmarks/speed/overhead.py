"""What a velocity costs beside its network: `python -m benchmarks.speed.overhead [SECONDS]`.

A policy's velocity against the bare network with the same arguments, by turns, in seconds of this process's CPU (on a
card: of its clock): the embedded model, and a tiny and a medium FLUX.1, with an adapter, without guidance and with it.
Writes docs/results/data/overhead.json and the page of benchmarks.speed.loop, whose section it is.
"""

import platform
import statistics
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import torch
from diffusers import FluxTransformer2DModel

from benchmarks.speed.loop_page import write_page
from benchmarks.speed.timing import now
from fdfo.config.tree import AdapterConfig
from fdfo.evaluation.statistics import Interval, bootstrap
from fdfo.files import write_json
from fdfo.hub import quiet_loading
from fdfo.models import load_policy
from fdfo.models.families import FAMILIES, Wishes
from fdfo.models.policy import FlowPolicy, of_pipeline
from tests.models.families.builders import flux
from tests.models.families.components import WIDTH

PROMPTS = ["a red circle", "three blue squares", "a green triangle", "two dogs"]
EMBEDDED = "the embedded model"
SIDES = {"a tiny FLUX.1": 64, "a medium FLUX.1": 256}
"""Pixels; a side of a latent has an eighth."""

SIZES = (EMBEDDED, *SIDES)
ROUND, FEWEST = 20, 4
"""Pairs of calls in a block, and the fewest blocks."""


def policy_of(size: str, guidance: float, device: torch.device) -> FlowPolicy:
    if size == EMBEDDED:
        return of_pipeline(load_policy("shapes", adapter=AdapterConfig(rank=4), guidance=guidance, device=device))
    torch.manual_seed(0)
    with quiet_loading():
        pipeline = flux()
        if size != "a tiny FLUX.1":
            pipeline.transformer = FluxTransformer2DModel(
                num_attention_heads=8,
                attention_head_dim=64,
                in_channels=16,
                num_layers=2,
                num_single_layers=4,
                joint_attention_dim=WIDTH,
                pooled_projection_dim=WIDTH,
                guidance_embeds=True,
                axes_dims_rope=(16, 24, 24),
            )
    side = SIDES[size]
    wishes = Wishes((side, side), guidance, text_tokens=64)
    policy = FlowPolicy(pipeline, FAMILIES["FluxPipeline"], wishes, (4, side // 8, side // 8), device=device)
    policy.weights.attach(AdapterConfig(rank=4), seed=0)
    return policy


def works(policy: FlowPolicy) -> tuple[Callable[[], object], Callable[[], object]]:
    """One velocity of a batch, and one bare call of its network for the same rows."""
    given: list[dict[str, object]] = []
    x, t = torch.randn(len(PROMPTS), *policy.latent_shape, device=policy.device), 0.5
    cond = policy.encode(PROMPTS)
    network = policy.weights.peft

    def note(_module: object, arguments: tuple[()], named: dict[str, object]) -> None:
        given.append(named)

    hook = network.register_forward_pre_hook(note, with_kwargs=True)
    policy.velocity(x, t, cond)
    hook.remove()
    (named,) = given
    return lambda: policy.velocity(x, t, cond), lambda: network(**named)


def ratios(policy: FlowPolicy, seconds: float) -> tuple[float, Interval]:
    """Seconds of the bare network, and how many times that a velocity takes.

    Each block has ROUND calls of both by turns, whichever comes first; the interval is over blocks.
    """
    velocity, bare = works(policy)
    clock = time.process_time if policy.device.type == "cpu" else lambda: now(policy.device)

    def timed(work: Callable[[], object]) -> float:
        start = clock()
        work()
        return clock() - start

    blocks, alone = [], []
    end = time.monotonic() + seconds
    with torch.no_grad():
        while time.monotonic() < end or len(blocks) < FEWEST:
            times = []
            for number in range(ROUND):
                order = (velocity, bare) if number % 2 else (bare, velocity)
                taken = [timed(work) for work in order]
                times.append(taken if number % 2 else taken[::-1])
            ours, theirs = map(min, zip(*times, strict=True))  # what else the machine did only adds
            blocks.append(ours / theirs)
            alone.append(theirs)
    return statistics.median(alone), bootstrap(np.array(blocks))


def main(seconds: float = 12.0, data: Path = Path("docs/results/data")) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    cases = []
    for size in SIZES:
        for guidance in (1.0, 2.5):
            bare, ratio = ratios(policy_of(size, guidance, device), seconds)
            print(f"{size:<20} guidance {guidance:g}: {1000 * bare:.2f} ms, {ratio.told('.4f')}", flush=True)
            more = {name: getattr(ratio, name) - 1 for name in ("mean", "low", "high")}
            cases.append({"network": size, "guidance": guidance, "bare_s": bare, "more": more})
    facts = {"date": f"{date.today()}", "machine": platform.machine(), "threads": torch.get_num_threads()}
    write_json(data / "overhead.json", {**facts, "torch": torch.__version__, "cases": cases})
    write_page(data)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
