"""Floating-point operations of a row of a published network: `python -m benchmarks.flops`; nothing is computed.

The network runs on the meta device, where tensors have shapes and no content, under torch's operation counter.
"""

from dataclasses import dataclass

import torch
from diffusers import SD3Transformer2DModel
from torch.utils.flop_counter import FlopCounterMode

from fdfo.config.tree import AdapterConfig
from fdfo.models.known import KNOWN
from fdfo.models.sd3 import LORA_TARGETS
from fdfo.models.weights import TrainableWeights

CLIP_TOKENS = 77


@dataclass(frozen=True)
class RowCost:
    """TFLOP of one row, and the parameters of its network."""

    forward: float
    trained: float
    """Forward and backward with frozen weights and adapters."""
    parameters: int
    adapters: int


def row_cost(model: str, latent: tuple[int, int] = (64, 64), text_tokens: int = 128, rank: int = 32) -> RowCost:
    """Cost of one row of a model of `KNOWN` with latents of (height, width), with LoRA of this rank.

    A multiplication and an addition count as two operations; matrix products, convolutions and attention are counted.
    """
    with torch.device("meta"):
        network = SD3Transformer2DModel.from_config(KNOWN[model]["transformer/config.json"])
        weights = TrainableWeights(network, LORA_TARGETS)
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


def main() -> None:
    print("TFLOP of a row at 512 x 512 pixels, 128 T5 tokens, LoRA of rank 32")
    print(f"{'model':<50} {'parameters':>10} {'adapters':>9} {'forward':>8} {'trained':>8} {'ratio':>6}")
    for model in KNOWN:
        cost = row_cost(model)
        print(
            f"{model:<50} {cost.parameters / 1e9:>8.2f} B {cost.adapters / 1e6:>7.1f} M {cost.forward:>8.3f} "
            f"{cost.trained:>8.3f} {cost.trained / cost.forward:>6.2f}"
        )


if __name__ == "__main__":
    main()
