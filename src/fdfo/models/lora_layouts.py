"""LoRA weights under the names that other programs read."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

from fdfo.errors import ModelError
from fdfo.models.lora_files import LORA_FILE

LoraLayout = Literal["diffusers", "comfyui", "kohya"]
LAYOUTS: tuple[LoraLayout, ...] = get_args(LoraLayout)

FILES: Mapping[LoraLayout, str] = {
    "diffusers": LORA_FILE,
    "comfyui": "comfyui_lora.safetensors",
    "kohya": "kohya_lora.safetensors",
}

COMFYUI = (
    "AuraFlowPipeline",
    "FluxPipeline",
    "Kandinsky5T2IPipeline",
    "Lumina2Pipeline",
    "QwenImagePipeline",
    "StableDiffusion3Pipeline",
    "ZImagePipeline",
)
"""Pipelines whose names of diffusers ComfyUI reads (its comfy/lora.py, early 2026: `transformer.MODULE`)."""

NO_LOADER = ("PRXPipeline",)
"""Pipelines of diffusers without a loader of LoRA for their network."""


def in_layout(layers: Mapping[str, Tensor], layout: LoraLayout, pipeline_class: str) -> dict[str, Tensor]:
    """Weights by the network's module names, with scale 1, under a layout's names. Raises ModelError."""
    if layout == "comfyui" and pipeline_class not in COMFYUI:
        known = ", ".join(COMFYUI)
        raise ModelError(
            f"--to comfyui: which names ComfyUI reads for a {pipeline_class} is not known here, but for {known}; "
            "use --to diffusers or merged"
        )
    if layout == "diffusers" and pipeline_class in NO_LOADER:
        raise ModelError(f"--to diffusers: it has no loader of LoRA for a {pipeline_class}; use --to merged")
    if layout != "kohya":
        return {f"transformer.{name}": value for name, value in layers.items()}
    return _kohya(layers)


def _kohya(layers: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`lora_unet_MODULE` with underscores for dots, lora_down, lora_up, and alpha = rank, so that the scale is 1."""
    named: dict[str, Tensor] = {}
    for name, value in layers.items():
        module, _, part = name.partition(".lora_")
        key = f"lora_unet_{module.replace('.', '_')}"
        if part == "A.weight":
            named |= {f"{key}.lora_down.weight": value, f"{key}.alpha": torch.tensor(float(len(value)))}
        elif part == "B.weight":
            named[f"{key}.lora_up.weight"] = value
        else:
            raise ModelError("--to kohya: its layout has no such place as diffusers' for DoRA; use --to diffusers")
    return named
