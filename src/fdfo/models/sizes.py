"""How large a policy is, before any weight is read: its networks on the meta device, where tensors have no content."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
import transformers
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.transformers.transformer_sd3 import SD3Transformer2DModel
from torch import Tensor
from torch.nn import Module
from torch.overrides import TorchFunctionMode

from fdfo.config.tree import AdapterConfig, PolicyConfig
from fdfo.hub import quiet_loading
from fdfo.models.sd3 import LORA_TARGETS, TILE_PARTS, SD3Policy, velocity_dtype
from fdfo.models.source import EMBEDDED_TEXT_TOKENS, ModelSource
from fdfo.models.weights import TrainableWeights


@dataclass(frozen=True)
class PolicySizes:
    """Bytes of a configured policy; a row is one state of one sample, without guidance."""

    frozen: int
    """Weights of the transformer that are not trained; where all are, the float32 copy of those before training."""
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
    pixels: int
    """Of one image."""
    full_resolution_map: int
    """One feature map of an image, or of a tile of it, in the decoder's last, widest block at full resolution."""
    latent: int
    """One latent, float32."""
    state_and_velocity: int
    """Two of them, as they are kept for training."""


def policy_sizes(config: PolicyConfig) -> PolicySizes:
    """Sizes of the model that a configuration names, from its small configuration files. Raises ModelError."""
    source = ModelSource.find(config.name, config.revision)
    height, width = config.resolution or SD3Policy.native_resolution(source)
    dtype: torch.dtype = getattr(torch, config.dtype)
    latent = SD3Policy.latent_shape_of(source, (height, width))
    clip_tokens = int(source.component_config("text_encoder")["max_position_embeddings"])
    tokens = clip_tokens + (EMBEDDED_TEXT_TOKENS if source.is_embedded else config.text_tokens)
    vae_config = source.component_config("vae")
    with quiet_loading(), torch.device("meta"):
        transformer, block = _transformer(source.component_config("transformer"), config.adapter, latent, tokens, dtype)
        decoder: Any = AutoencoderKL.from_config(vae_config)
        decoder_saved = _decoder_saved(decoder.to(dtype), latent)
        encoders = [_text_encoder(source, name) for name in _encoder_names(config.t5)]
    is_full = config.adapter.kind == "full"
    tile = [min(side, config.vae_tile or side) for side in (height, width)]
    return PolicySizes(
        frozen=4 * transformer.trained if is_full else transformer.frozen * dtype.itemsize,
        trained=4 * transformer.trained,
        decoder=_numel(decoder) * dtype.itemsize,
        decoder_saved=round(_tiled_share((height, width), config.vae_tile) * decoder_saved),
        text_encoders=sum(map(_numel, encoders)) * dtype.itemsize,
        saved=transformer.saved,
        saved_inputs=transformer.saved_inputs,
        largest_block=block,
        pixels=height * width,
        full_resolution_map=tile[0] * tile[1] * int(vae_config["block_out_channels"][0]) * dtype.itemsize,
        latent=4 * prod(latent),
        state_and_velocity=prod(latent) * (dtype.itemsize + velocity_dtype(config.guidance, dtype).itemsize),
    )


@dataclass(frozen=True)
class _Measured:
    """Parameters, and bytes that a row keeps for the backward pass."""

    frozen: int
    trained: int
    saved: int
    saved_inputs: int


def _transformer(
    published: Mapping[str, Any], adapter: AdapterConfig, latent: tuple[int, int, int], tokens: int, dtype: torch.dtype
) -> tuple[_Measured, int]:
    """Measures of a transformer, and what the largest of its blocks keeps.

    Blocks of a kind (with or without a second attention; the last is of its own) are equal: a network with one of each
    is measured, then one more of each kind, and the rest follows.
    """
    others = int(published["num_layers"]) - 1
    dual = sum(layer < others for layer in published.get("dual_attention_layers", ()))
    plain = others - dual
    counts = {"dual": dual, "plain": plain}

    def measured(**layers: int) -> _Measured:
        small = {
            **published,
            "num_layers": sum(layers.values()) + 1,
            "dual_attention_layers": list(range(layers["dual"])),
        }
        return _measure(SD3Transformer2DModel.from_config(small).to(dtype), adapter, latent, tokens, dtype)  # type: ignore[attr-defined]

    first = {kind: min(count, 1) for kind, count in counts.items()}
    sums = vars(base := measured(**first)).copy()
    blocks = []
    for kind, count in counts.items():
        if count > 1:
            more = vars(measured(**{**first, kind: 2}))
            for name, value in more.items():
                sums[name] += (count - 1) * (value - vars(base)[name])
            blocks.append(more["saved"] - base.saved)
    return _Measured(**sums), max(blocks, default=base.saved)


def _measure(
    network: SD3Transformer2DModel,
    adapter: AdapterConfig,
    latent: tuple[int, int, int],
    tokens: int,
    dtype: torch.dtype,
) -> _Measured:
    config: Any = network.config
    inputs = {
        "hidden_states": torch.empty(1, *latent, dtype=dtype),
        "timestep": torch.empty(1),
        "encoder_hidden_states": torch.empty(1, tokens, config.joint_attention_dim, dtype=dtype),
        "pooled_projections": torch.empty(1, config.pooled_projection_dim, dtype=dtype),
    }
    weights = TrainableWeights(network, LORA_TARGETS)
    weights.attach(adapter, seed=0)
    if adapter.kind == "full":  # computed in the configured dtype from float32 weights
        weights.network.to(dtype)
    trained = sum(parameter.numel() for parameter in weights.named().values())

    def saved() -> int:
        return saved_bytes(weights.network, lambda: weights.network(**inputs, return_dict=False))

    whole = saved()
    weights.enable_checkpointing()
    return _Measured(
        frozen=_numel(weights.network) - trained,
        trained=trained,
        saved=whole,
        saved_inputs=saved(),
    )


def _decoder_saved(decoder: Any, latent: tuple[int, int, int]) -> int:
    """Bytes that a frozen decoder keeps of one latent as a whole."""
    x0 = torch.empty(1, *latent, dtype=decoder.dtype).requires_grad_()
    return saved_bytes(decoder.requires_grad_(False), lambda: decoder.decode(x0))


def _tiled_share(sides: Sequence[int], tile: int | None) -> float:
    """Pixels that the overlapping tiles of an image decode, in those of the image."""
    if tile is None or max(sides) <= tile:
        return 1.0
    step = tile - tile // TILE_PARTS
    return prod(sum(min(tile, side - start) for start in range(0, side, step)) / side for side in sides)


def saved_bytes(network: Module, forward: Callable[[], object]) -> int:
    """Bytes that a forward pass keeps for the backward pass, beside parameters; attention as its fused kernels do."""
    kept: dict[int, tuple[int, Tensor]] = {}  # by storage; the tensors live as long as their addresses count
    parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            kept[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    with torch.enable_grad(), FusedAttention(), torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    del output
    return sum(size for size, _ in kept.values())


class _KeepsInputs(torch.autograd.Function):
    """Attention that keeps what the fused kernels keep: queries, keys, values, output, and a float32 for each query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, output, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return output


class FusedAttention(TorchFunctionMode):
    """On the meta device torch decomposes attention, and would keep its matrix."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is F.scaled_dot_product_attention:
            return _KeepsInputs.apply(*args[:3])
        return func(*args, **(kwargs or {}))


def _encoder_names(t5: bool) -> list[str]:
    return [name for name in ("text_encoder", "text_encoder_2", "text_encoder_3") if t5 or name != "text_encoder_3"]


def _text_encoder(source: ModelSource, name: str) -> Module:
    _, kind = source.index[name]
    encoder = getattr(transformers, kind)
    return encoder(encoder.config_class(**source.component_config(name)))


def _numel(network: Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())
