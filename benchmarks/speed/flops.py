"""Floating-point operations of a row of each published network: `python -m benchmarks.speed.flops`; none is executed.

Writes docs/results/flops.md.

The network runs on the meta device, where tensors have shapes and no content, under torch's operation counter.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import SD3Transformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from fdfo.config.tree import AdapterConfig
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.families import JOINT_ATTENTION
from fdfo.models.weights import TrainableWeights

COUNTED = [
    name
    for name, files in ARCHITECTURES.items()
    if files["model_index.json"]["_class_name"] == "StableDiffusion3Pipeline"
]
"""Published models whose operations are counted here."""

CLIP_TOKENS = 77
ROWS = 34_560
"""Sampled, and trained, in an epoch of the published setting."""


@dataclass(frozen=True)
class RowCost:
    """TFLOP of one row, and the parameters of its network."""

    forward: float
    trained: float
    """Forward and backward with frozen weights and adapters."""
    parameters: int
    adapters: int


def row_cost(model: str, latent: tuple[int, int] = (64, 64), text_tokens: int = 128, rank: int = 32) -> RowCost:
    """Cost of one row of a model of `COUNTED` with latents of (height, width), with LoRA of this rank.

    A multiplication and an addition count as two operations; matrix products, convolutions and attention are counted.
    """
    with torch.device("meta"):
        network = SD3Transformer2DModel.from_config(ARCHITECTURES[model]["transformer/config.json"])
        weights = TrainableWeights(network, JOINT_ATTENTION)
        parameters = sum(parameter.numel() for parameter in network.parameters())
        weights.attach(AdapterConfig(rank=rank, alpha=2 * rank), seed=0)
        config = network.config
        inputs = {
            "hidden_states": torch.empty(1, config.in_channels, *latent),
            "timestep": torch.empty(1),
            "encoder_hidden_states": torch.empty(1, CLIP_TOKENS + text_tokens, config.joint_attention_dim),
            "pooled_projections": torch.empty(1, config.pooled_projection_dim),
        }

    def count(trained: bool) -> float:
        with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(trained):
            (v,) = weights.network(**inputs, return_dict=False)
            if trained:
                v.sum().backward()
        return counter.get_total_flops() / 1e12

    adapters = sum(parameter.numel() for parameter in weights.named().values())
    return RowCost(forward=count(False), trained=count(True), parameters=parameters, adapters=adapters)


HEAD = """# Operations of a row

Written by `python -m benchmarks.speed.flops`: counted on torch's meta device, at 512 x 512 pixels with 128 T5 tokens
and LoRA of rank 32. A row is one state of one sample; `trained` is forward and backward. An epoch is the published one,
of {rows} sampled and as many trained rows; its card-seconds are its operations over the rate of a card
([measured](scale.md)).

| model | parameters, B | adapters, M | forward, TFLOP | trained, TFLOP | an epoch, PFLOP |
|---|---|---|---|---|---|
"""


def row(model: str) -> str:
    """A line of the table."""
    cost = row_cost(model)
    numbers = (
        f"{cost.parameters / 1e9:.2f}",
        f"{cost.adapters / 1e6:.1f}",
        f"{cost.forward:.2f}",
        f"{cost.trained:.2f}",
        f"{ROWS * (cost.forward + cost.trained) / 1e3:.0f}",
    )
    return f"| {model} | {' | '.join(numbers)} |"


def main() -> None:
    page = HEAD.format(rows=ROWS) + "\n".join(map(row, COUNTED)) + "\n"
    Path("docs/results/flops.md").write_text(page, encoding="utf-8")
    print(page)


if __name__ == "__main__":
    main()
