"""Published models on a virtual card and their plan: `python -m benchmarks.memory.planned [--output FILE] [NAME ...]`.

Each network and decoder of its published shapes, with LoRA as in training, evaluates a row without and with gradient
(with checkpointing, once gradients are there) and decodes an image on a virtual card (virtual/), which counts what
torch would hold. No download, no card; some minutes in all. Models given by name are added to what the file has. Tests
hold the plan to what is written here.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from torch.utils.checkpoint import checkpoint

from benchmarks.memory.virtual import CARD, VirtualCard
from fdfo.config.tree import AdapterConfig
from fdfo.files import write_json
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.decoding import decode
from fdfo.models.inputs import network_inputs
from fdfo.models.outline import Outline
from fdfo.models.sizes import in_dtype
from fdfo.models.source import ModelSource
from fdfo.models.weights import TrainableWeights
from fdfo.planning.memory import GIB

RESOLUTION = (512, 512)
DTYPE = torch.bfloat16
PARTS = ("transformer", "vae")
CARD_BYTES = 400 * GIB
"""Larger than any card: networks are made in float32."""


def counted(name: str) -> dict[str, float]:
    """GiB on a virtual card: the weights, and what each kind of work holds beside them."""
    source = ModelSource.find(name)
    outline = Outline.of(source)
    inputs = network_inputs(outline, None, RESOLUTION, DTYPE)
    found: dict[str, float] = {}
    with VirtualCard(CARD_BYTES) as card:
        network = _random(source, "transformer")
        weights = TrainableWeights(network, outline.family.targets)
        weights.attach(AdapterConfig(), seed=0)
        weights.network.to(CARD)
        found["weights"] = card.held / GIB
        given = {key: _on_card(value) for key, value in inputs.items()}

        def count(work: str, do: Callable[[], object]) -> None:
            before = card.held
            card.reset_peak()
            do()
            found[work] = (card.peak - before) / GIB

        def sample() -> None:
            with torch.no_grad():
                weights.network(**given)

        def train() -> None:
            output = weights.network(**given)[0]
            (torch.stack(output) if isinstance(output, list) else output).float().square().mean().backward()

        def with_autocast(do: Callable[[], None]) -> None:
            with torch.autocast("cuda", DTYPE):
                do()

        count("sample", lambda: with_autocast(sample))
        weights.enable_checkpointing(lambda block, *arguments: checkpoint(block, *arguments, use_reentrant=False))
        with_autocast(train)
        count("train", lambda: with_autocast(train))
    with VirtualCard(CARD_BYTES) as card:
        decoder: Any = _random(source, "vae")
        found["decoder"] = card.held / GIB
        x0 = torch.empty(1, *outline.latent_shape(RESOLUTION), device=CARD)

        def image() -> None:
            with torch.no_grad():
                decode(decoder, x0, outline.family.decoder)

        count("decode", image)
    return {part: round(gib, 4) for part, gib in found.items()}


def _random(source: ModelSource, component: str) -> Any:
    with torch.device("cuda"):
        kind = getattr(diffusers, source.index[component][1])
        return in_dtype(kind.from_config(source.component_config(component)), DTYPE).requires_grad_(False).eval()


def _on_card(value: Any) -> Any:
    """An argument with its shapes on the card."""
    if isinstance(value, torch.Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device=CARD)
    return [_on_card(item) for item in value] if isinstance(value, list) else value


def unlike() -> list[str]:
    """One published model of each network and decoder."""
    shapes = {
        json.dumps([ARCHITECTURES[name][f"{part}/config.json"] for part in PARTS]): name
        for name in reversed(ARCHITECTURES)
    }
    return [name for name in ARCHITECTURES if name in shapes.values()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--output", type=Path, default=Path("docs/results/data/memory-families.json"))
    options = parser.parse_args()
    kept = json.loads(options.output.read_text(encoding="utf-8"))["counted_gib"] if options.names else {}
    for name in options.names or unlike():
        start = time.monotonic()
        kept[name] = counted(name)
        print(f"{name:<48}{kept[name]}  {time.monotonic() - start:.0f} s", flush=True)
        found = {known: kept[known] for known in ARCHITECTURES if known in kept}
        write_json(
            options.output, {"date": time.strftime("%Y-%m-%d"), "torch": torch.__version__, "counted_gib": found}
        )


if __name__ == "__main__":
    main()
