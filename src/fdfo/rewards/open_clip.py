"""Names of a CLIP checkpoint of open_clip (or OpenAI) in transformers' CLIPModel."""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

_TOWERS = {"visual.": "vision_model.", "": "text_model."}
_PLAIN = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",  # sic
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_IN_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def as_transformers(checkpoint: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of an open_clip checkpoint, or of its `state_dict`, under transformers' names.

    Raises ValueError for a tensor that no CLIP of open_clip has.
    """
    weights = checkpoint.get("state_dict", checkpoint)
    return {new: tensor for old, value in weights.items() for new, tensor in _renamed(old, value)}


def _renamed(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    if name in _PLAIN:
        yield _PLAIN[name], value
    elif name in _TRANSPOSED:
        yield _TRANSPOSED[name], value.T
    elif "transformer.resblocks." in name:
        yield from _renamed_in_layer(name, value)
    elif name != "attn_mask":
        raise _unknown(name)


def _renamed_in_layer(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    tower, _, rest = name.partition("transformer.resblocks.")
    number, _, part = rest.partition(".")
    module, _, kind = part.rpartition(".")  # ("mlp.c_fc", "weight"), or ("attn", "in_proj_weight")
    layer = f"{_TOWERS.get(tower)}encoder.layers.{number}"
    if kind.startswith("in_proj_"):
        for letter, block in zip("qkv", value.chunk(3), strict=True):
            yield f"{layer}.self_attn.{letter}_proj.{kind.removeprefix('in_proj_')}", block
    elif module in _IN_LAYER and tower in _TOWERS:
        yield f"{layer}.{_IN_LAYER[module]}.{kind}", value
    else:
        raise _unknown(name)


def _unknown(name: str) -> ValueError:
    return ValueError(f"it has a tensor {name!r}, which no CLIP of open_clip has")
