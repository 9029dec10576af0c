"""LoRA files under the names of the original Stable Diffusion 3 network, as sd-scripts and ComfyUI write them.

Fused projections are taken apart by the rows of B: A is the same for all of their parts. Which module is which, and
where halves change places, is what diffusers does to a checkpoint of the original network
(diffusers.loaders.single_file_utils, convert_sd3_transformer_checkpoint_to_diffusers).
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_KEY = re.compile(
    r"(?:lora_unet_|lora_transformer_|lycoris_|transformer\.|diffusion_model\.|model\.)*"
    r"(?P<module>(?:joint_blocks|final_layer|t_embedder|y_embedder)[._].+?)(?P<end>\.(?:lora|alpha).*)"
)
_BLOCK = re.compile(r"joint_blocks_(?P<number>\d+)_(?P<inside>.+)")

_IN_A_BLOCK = {
    "x_block_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block_attn_proj": ("attn.to_out.0",),
    "x_block_attn2_qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "x_block_attn2_proj": ("attn2.to_out.0",),
    "x_block_mlp_fc1": ("ff.net.0.proj",),
    "x_block_mlp_fc2": ("ff.net.2",),
    "x_block_adaLN_modulation_1": ("norm1.linear",),
    "context_block_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block_attn_proj": ("attn.to_add_out",),
    "context_block_mlp_fc1": ("ff_context.net.0.proj",),
    "context_block_mlp_fc2": ("ff_context.net.2",),
    "context_block_adaLN_modulation_1": ("norm1_context.linear",),
}
_AROUND = {
    "final_layer_linear": ("proj_out",),
    "final_layer_adaLN_modulation_1": ("norm_out.linear",),
    "t_embedder_mlp_0": ("time_text_embed.timestep_embedder.linear_1",),
    "t_embedder_mlp_2": ("time_text_embed.timestep_embedder.linear_2",),
    "y_embedder_mlp_0": ("time_text_embed.text_embedder.linear_1",),
    "y_embedder_mlp_2": ("time_text_embed.text_embedder.linear_2",),
}


def in_names_of_diffusers(tensors: Mapping[str, Tensor], blocks: int) -> dict[str, Tensor]:
    """The same tensors with keys of the original network in names of diffusers; other keys stay as they are.

    `blocks`: of the network. In the last one the text has a scale and a shift alone, in another order.
    """
    named: dict[str, Tensor] = {}
    for key, value in tensors.items():
        match = _KEY.fullmatch(key)
        modules, swaps = _modules(match["module"].replace(".", "_"), blocks) if match else ((), False)
        if match is None or not modules:
            named[key] = value
            continue
        has_rows = not match["end"].startswith((".alpha", ".lora_down", ".lora.down", ".lora_A"))
        rows = torch.cat(value.chunk(2)[::-1]) if swaps and has_rows else value
        parts = rows.chunk(len(modules)) if has_rows else [value] * len(modules)
        named |= {f"{module}{match['end']}": part for module, part in zip(modules, parts, strict=True)}
    return named


def _modules(name: str, blocks: int) -> tuple[tuple[str, ...], bool]:
    """Modules of diffusers of one of the original, and whether the halves of its rows change places."""
    if (match := _BLOCK.fullmatch(name)) is None:
        return _AROUND.get(name, ()), name == "final_layer_adaLN_modulation_1"
    number, inside = int(match["number"]), match["inside"]
    inner = tuple(f"transformer_blocks.{number}.{module}" for module in _IN_A_BLOCK.get(inside, ()))
    return inner, inside == "context_block_adaLN_modulation_1" and number == blocks - 1
