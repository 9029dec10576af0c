"""How large a policy is, before any weight is read: its networks on the meta device, where tensors have no content."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import diffusers
import torch
import transformers
from torch.nn import Module

from fdfo.config.tree import AdapterConfig, PolicyConfig, Quantization
from fdfo.errors import ModelError
from fdfo.hub import quiet_loading
from fdfo.models.activations import Activations, Blocks, FusedAttention
from fdfo.models.decoding import TILE_PARTS, decode, vae_width
from fdfo.models.forward_memory import most_held
from fdfo.models.inputs import network_inputs
from fdfo.models.outline import Outline
from fdfo.models.policy import velocity_dtype
from fdfo.models.quantise import BITS, linear_layers
from fdfo.models.source import ModelSource, encodes_text
from fdfo.models.targets import blocks_of
from fdfo.models.weights import TrainableWeights


@dataclass(frozen=True)
class PolicySizes:
    """Bytes of a configured policy; a row is one state of one sample, without guidance."""

    frozen: int
    """The transformer but for what is trained; where all its weights are, the float32 copy of those before training."""
    trained: int
    """Trained weights, float32."""
    decoder: int
    decoder_saved: int
    """Kept for the backward pass by decoding one image."""
    text_encoders: int
    saved: int
    """Kept by the forward pass of a row for the backward pass, without checkpointing or compilation."""
    saved_inputs: int
    """Kept with checkpointing: what enters the blocks, and what surrounds them."""
    largest_block: int
    """Kept for one block; the most that exists at a time beside `saved_inputs`."""
    forward: int
    """The most that is there at a time where nothing is kept."""
    pixels: int
    """Of one image."""
    full_resolution_map: int
    """One feature map of an image, or of a tile of it, in the decoder's last, widest block at full resolution."""
    latent: int
    """One latent, float32."""
    state_and_velocity: int
    """Two of them, as they are kept for training."""


def policy_sizes(config: PolicyConfig, row: Mapping[str, Any] | None = None) -> PolicySizes:
    """Sizes of the model that a configuration names, from its small configuration files.

    `row` are its network's arguments for one row (FlowPolicy.row); None: those of its class (models/inputs.py). Raises
    ModelError, also where the class has none.
    """
    source = ModelSource.find(config.name, config.revision)
    outline = Outline.of(source)
    height, width = config.resolution or outline.native_resolution
    dtype: torch.dtype = getattr(torch, config.dtype)
    latent = outline.latent_shape((height, width))
    vae_config = source.component_config("vae")
    inputs = row or network_inputs(outline, config.text_tokens, (height, width), dtype)
    with quiet_loading(), torch.device("meta"):
        network = in_dtype(_of_index(source, "transformer"), dtype)
        packed = _saved_by(blocks_of(network), config.quantize, dtype)
        measured = _measure(network, outline.family.targets, config.adapter, inputs, dtype)
        decoder: Any = _of_index(source, "vae")
        decoder_saved = _decoder_saved(decoder.to(dtype), latent, outline.family.decoder)
        left_out = () if config.t5 else outline.family.dispensable
        names = [name for name in source.components if encodes_text(name) and name not in left_out]
        encoders = [_text_encoder(outline, name) for name in names]
    is_full = config.adapter.kind == "full"
    tile = [min(side, config.vae_tile or side) for side in (height, width)]
    return PolicySizes(
        frozen=measured.buffers + (4 * measured.trained if is_full else measured.frozen - packed),
        trained=4 * measured.trained,
        decoder=_numel(decoder) * dtype.itemsize,
        decoder_saved=round(_tiled_share((height, width), config.vae_tile) * decoder_saved),
        text_encoders=sum(map(_numel, encoders)) * dtype.itemsize - _saved_by(encoders, config.quantize_text, dtype),
        saved=measured.saved,
        saved_inputs=measured.saved_inputs,
        largest_block=measured.largest_block,
        forward=measured.forward,
        pixels=height * width,
        full_resolution_map=tile[0] * tile[1] * vae_width(vae_config) * dtype.itemsize,
        latent=4 * prod(latent),
        state_and_velocity=prod(latent) * (dtype.itemsize + velocity_dtype(config.guidance, dtype).itemsize),
    )


def _saved_by(modules: Sequence[Module], kind: Quantization | None, dtype: torch.dtype) -> int:
    """Bytes that are not needed where the linear layers of some modules are in few bits."""
    if kind is None:
        return 0
    return round(sum(layer.weight.numel() for layer in linear_layers(modules)) * (dtype.itemsize - BITS[kind] / 8))


@dataclass(frozen=True)
class _Measured:
    """Sizes of a network, and bytes that a row keeps for the backward pass."""

    frozen: int
    """Bytes of weights that are not trained."""
    buffers: int
    """Bytes of what is no weight, such as a table of positions."""
    trained: int
    """Parameters."""
    saved: int
    saved_inputs: int
    largest_block: int
    forward: int


def _measure(
    network: Module, targets: tuple[str, ...], adapter: AdapterConfig, inputs: Mapping[str, Any], dtype: torch.dtype
) -> _Measured:
    """Measures of a network on the meta device; its blocks are what it recomputes with checkpointing."""
    weights = TrainableWeights(network, targets)
    weights.attach(adapter, seed=0)
    if adapter.kind == "full":  # computed in the configured dtype from float32 weights
        weights.network.to(dtype)
    trained = sum(parameter.numel() for parameter in weights.named().values())

    around, blocks = Activations(), Blocks()
    weights.enable_checkpointing(blocks)
    with torch.enable_grad(), FusedAttention(), around.noting(network):
        output = _evaluated(weights.network, inputs)
    del output
    inside, entering = blocks.inside, blocks.entering
    return _Measured(
        frozen=sum(weight.nbytes for weight in weights.network.parameters() if not weight.requires_grad),
        buffers=sum(buffer.nbytes for buffer in weights.network.buffers()),
        trained=trained,
        saved=inside.joined(around).nbytes,
        saved_inputs=entering.joined(around).nbytes,
        largest_block=blocks.largest,
        forward=most_held(weights, lambda: _evaluated(weights.network, inputs), dtype),
    )


def _evaluated(network: Module, inputs: Mapping[str, Any]) -> Any:
    """The network's output. Raises ModelError for one that looks at what it is given, or asks where, in vain."""
    try:
        return network(**inputs)
    except RuntimeError as error:  # of torch, for what the meta device has not
        said = "the network cannot be evaluated without content, so its memory cannot be counted before it runs"
        raise ModelError(f"{said}; give train.micro_batch and train.sample_batch") from error


def in_dtype(network: Module, dtype: torch.dtype) -> Module:
    """The network in a precision, as `from_pretrained` loads it: what its class wants in float32 stays there."""
    kept = set(getattr(network, "_keep_in_fp32_modules", None) or ())
    network.to(dtype)
    for name, parameter in network.named_parameters():
        if kept.intersection(name.split(".")):
            parameter.data = parameter.data.float()
    return network


def _of_index(source: ModelSource, name: str) -> Module:
    """A component of diffusers by its class and configuration."""
    return getattr(diffusers, source.components[name]).from_config(source.component_config(name))


def _decoder_saved(decoder: Any, latent: tuple[int, int, int], instead: Mapping[str, float]) -> int:
    """Bytes that a frozen decoder keeps of one latent as a whole."""
    x0 = torch.empty(1, *latent, dtype=decoder.dtype).requires_grad_()
    kept = Activations()
    with torch.enable_grad(), FusedAttention(), kept.noting(decoder.requires_grad_(False)):
        output = decode(decoder, x0, instead)
    del output
    return kept.nbytes


def _tiled_share(sides: Sequence[int], tile: int | None) -> float:
    """Pixels that the overlapping tiles of an image decode, in those of the image."""
    if tile is None or max(sides) <= tile:
        return 1.0
    step = tile - tile // TILE_PARTS
    return prod(sum(min(tile, side - start) for start in range(0, side, step)) / side for side in sides)


def _text_encoder(outline: Outline, name: str) -> Module:
    kind = outline.source.components[name]
    if hasattr(diffusers, kind):
        return _of_index(outline.source, name)
    if not hasattr(transformers, kind):
        assert outline.pipeline_class, "whose module brings it (PRX)"
    encoder = getattr(transformers, kind)
    config = encoder.config_class(**outline.source.component_config(name))
    return encoder(getattr(config, "encoder", config))  # of a network in two halves, the one that reads


def _numel(network: Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
