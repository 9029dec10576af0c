"""Frozen linear layers in few bits; they compute in the precision of what they are given.

nf4 is that of QLoRA (arXiv:2305.14314) by bitsandbytes, a float32 scale for each 64 weights; int8 and fp8 keep a scale
for each row of a weight (torchao, weight only).
"""

import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch.nn import Linear, Module

from fdfo.config.tree import Quantization
from fdfo.models.targets import blocks_of

BITS = {"nf4": 4 + 32 / 64, "int8": 8.0, "fp8": 8.0}
"""Of a weight, with the scales that belong to single groups."""


def linear_layers(modules: Iterable[Module]) -> list[Linear]:
    """The linear layers within some modules."""
    found = [layer for module in modules for layer in module.modules() if isinstance(layer, Linear)]
    return list(dict.fromkeys(found))


def quantise(
    network: Module, encoders: Sequence[Module], kind: Quantization | None, kind_of_text: Quantization | None
) -> None:
    """Keep a network and text encoders in few bits, where that is asked for."""
    if kind is not None:
        quantise_network(network, kind)
    if kind_of_text is not None:
        for encoder in encoders:
            quantise_encoder(encoder, kind_of_text)


def quantise_network(network: Module, kind: Quantization) -> None:
    """Keep the linear layers of a network's blocks in few bits; what comes before and after them stays as it is."""
    _quantise(blocks_of(network), kind)


def quantise_encoder(encoder: Module, kind: Quantization) -> None:
    """Keep the linear layers of a text encoder in few bits."""
    _quantise([encoder], kind)


def _quantise(modules: Iterable[Module], kind: Quantization) -> None:
    for module in modules:
        module.requires_grad_(False)
        if kind == "nf4":
            _to_four_bits(module)
        else:
            with quietly():
                from torchao.quantization import Float8WeightOnlyConfig, Int8WeightOnlyConfig, quantize_

                config = Int8WeightOnlyConfig() if kind == "int8" else Float8WeightOnlyConfig()
                quantize_(module, config, filter_fn=lambda layer, name: _has_scales(layer))


def _has_scales(layer: Module) -> bool:
    """Whether it is a linear layer whose rows all have a largest weight: fp8 divides by it."""
    return isinstance(layer, Linear) and bool(layer.weight.abs().amax(1).all())


def _to_four_bits(module: Module) -> None:
    """Replace linear layers; bitsandbytes packs their weights when they move to the device."""
    import bitsandbytes

    layers: Any = bitsandbytes.nn
    for parent in list(module.modules()):
        for name, layer in list(parent.named_children()):
            if type(layer) is not Linear:
                continue
            packed: Any = layers.Linear4bit(
                layer.in_features, layer.out_features, compute_dtype=layer.weight.dtype, quant_type="nf4", device="meta"
            )
            packed.weight = layers.Params4bit(layer.weight.data, requires_grad=False, quant_type="nf4")
            packed.bias = layer.bias
            setattr(parent, name, packed.to(layer.weight.device))


@contextmanager
def quietly() -> Iterator[None]:
    """Without words about torchao's kernels for other machines, and about merging, which is refused here."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
