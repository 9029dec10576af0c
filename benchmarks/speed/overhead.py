"""What a velocity costs beside its network: `python -m benchmarks.speed.overhead [SECONDS]`.

A policy's velocity against the bare network with the same arguments, alternately, in seconds of this process's CPU
(on a card: of its clock), for a tiny and a medium FLUX.1 with an adapter, without guidance and with it.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from diffusers import FluxTransformer2DModel

from benchmarks.speed.timing import now
from fdfo.config.tree import AdapterConfig
from fdfo.hub import quiet_loading
from fdfo.models.families import FAMILIES, Wishes
from fdfo.models.policy import FlowPolicy
from tests.models.families.builders import flux
from tests.models.families.components import WIDTH

PROMPTS = ["a red circle", "three blue squares", "a green triangle", "two dogs"]
SIDES = {"tiny": 64, "medium": 256}
"""Pixels; a side of a latent has an eighth."""


def policy_of(size: str, guidance: float, device: torch.device) -> FlowPolicy:
    torch.manual_seed(0)
    with quiet_loading():
        pipeline = flux()
        if size == "medium":
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


def overhead(policy: FlowPolicy, seconds: float) -> tuple[float, float]:
    """Median seconds of the bare network, and the median excess of a velocity over the call beside it."""
    pair = works(policy)
    clock = time.process_time if policy.device.type == "cpu" else lambda: now(policy.device)
    times: list[list[float]] = [[], []]
    end = time.monotonic() + seconds
    with torch.no_grad():
        while time.monotonic() < end or len(times[0]) < 20:
            for work, kept in zip(pair, times, strict=True):
                start = clock()
                work()
                kept.append(clock() - start)
    bare = statistics.median(times[1])
    return bare, statistics.median(a - b for a, b in zip(*times, strict=True)) / bare


def main(seconds: float = 10.0) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    print("| network | guidance | bare, ms | velocity more |\n|---|---|---|---|")
    for size in SIDES:
        for guidance in (1.0, 2.5):
            bare, more = overhead(policy_of(size, guidance, device), seconds)
            print(f"| {size} | {guidance:g} | {1000 * bare:.2f} | {more:+.1%} |", flush=True)


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
