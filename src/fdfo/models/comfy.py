"""A workflow for ComfyUI with an exported adapter, in the form that its server and "Load" take."""

from pathlib import Path
from typing import Any

from fdfo.config.tree import PolicyConfig
from fdfo.files import write_json
from fdfo.models.lora_files import LORA_FILE
from fdfo.models.policy import FlowPolicy

WORKFLOW = "comfyui-workflow.json"

CHECKPOINTS = {
    "stabilityai/stable-diffusion-3.5-medium": "sd3.5_medium.safetensors",
    "stabilityai/stable-diffusion-3.5-large": "sd3.5_large.safetensors",
    "stabilityai/stable-diffusion-3-medium-diffusers": "sd3_medium_incl_clips.safetensors",
}
"""Names of the single files of published models."""


def write_workflow(folder: Path, policy: FlowPolicy, settings: PolicyConfig, steps: int) -> None:
    """Write the workflow beside an exported adapter, where there is one for the family."""
    if (nodes := workflow(policy, settings.name, steps, settings.negative_prompt)) is not None:
        write_json(folder / WORKFLOW, nodes)


def workflow(policy: FlowPolicy, base: str, steps: int, negative_prompt: str = "") -> dict[str, Any] | None:
    """Nodes by number that draw with the adapter (put its file into ComfyUI's `models/loras`); None for a family that
    has no single checkpoint file there.

    Loader, adapter, shift of the times, texts, an empty latent, Euler steps, decoder.
    """
    if type(policy.pipeline).__name__ != "StableDiffusion3Pipeline":
        return None
    height, width = policy.resolution
    shift = float(policy.pipeline.scheduler.config.shift)
    sampler = {"seed": 0, "steps": steps, "cfg": policy.guidance, "sampler_name": "euler", "scheduler": "simple"}
    links = {"model": ["3", 0], "positive": ["4", 0], "negative": ["5", 0], "latent_image": ["6", 0]}
    latent = {"width": width, "height": height, "batch_size": 1}
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "1": ("CheckpointLoaderSimple", {"ckpt_name": CHECKPOINTS.get(base, "your_checkpoint.safetensors")}),
        "2": ("LoraLoaderModelOnly", {"model": ["1", 0], "lora_name": LORA_FILE, "strength_model": 1.0}),
        "3": ("ModelSamplingSD3", {"model": ["2", 0], "shift": shift}),
        "4": ("CLIPTextEncode", {"clip": ["1", 1], "text": "a photo of a cat"}),
        "5": ("CLIPTextEncode", {"clip": ["1", 1], "text": negative_prompt}),
        "6": ("EmptySD3LatentImage", latent),
        "7": ("KSampler", {**links, **sampler, "denoise": 1.0}),
        "8": ("VAEDecode", {"samples": ["7", 0], "vae": ["1", 2]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "fdfo"}),
    }
    return {number: {"class_type": kind, "inputs": inputs} for number, (kind, inputs) in nodes.items()}
