"""A tiny pipeline of each family, from configurations of our own; a further family is one more function here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from transformers import (
    MistralConfig,
    MistralForCausalLM,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen3ForCausalLM,
    Qwen3Model,
)

from tests.models.families.components import (
    LANGUAGE,
    VOCABULARY,
    WIDTH,
    _blocks,
    clip,
    dynamic,
    euler,
    livened,
    qwen3,
    t5,
    tokenizer,
    vae,
)

HEADS = {"num_attention_heads": 2, "attention_head_dim": WIDTH}


@dataclass(frozen=True)
class Case:
    """A family under test."""

    build: Callable[[], Any]
    """Its pipeline with random weights."""
    guided: bool = True
    """Whether it has classifier-free guidance."""
    negative: str = "blurred"
    """What guidance leads away from; empty where the pipeline takes no other."""
    tokens: int | None = None
    """Longest text, a byte a token: enough for the pipeline's template and the prompts; None: the pipeline's own."""
    size: tuple[int, int] = (64, 32)
    """Height and width of its images."""
    rounds: Any = None
    """A module of diffusers that rounds to bfloat16 in every precision: images are compared without that."""
    cuts: bool = True
    """Whether a text may be too long to be read."""
    step: float = 2e-3
    """Of differences that gradients are compared with; small where the network has kinks."""
    call: Callable[..., Any] = lambda pipeline, **given: pipeline(**given, return_dict=False)[0]
    """Its own call, which gives images."""
    save: Callable[[Any, Path], None] = lambda pipeline, folder: pipeline.save_pretrained(folder)


def stable_diffusion_3(dual_layers: tuple[int, ...] = (0,)) -> Any:
    """SD3.5-Medium; Large, and its Turbo, have no dual layers."""
    transformer = diffusers.SD3Transformer2DModel(
        **HEADS,
        sample_size=8,
        patch_size=2,
        in_channels=4,
        out_channels=4,
        num_layers=2,
        joint_attention_dim=2 * WIDTH,
        caption_projection_dim=2 * WIDTH,
        pooled_projection_dim=2 * WIDTH,
        pos_embed_max_size=8,
        dual_attention_layers=dual_layers,
        qk_norm="rms_norm",
    )
    return diffusers.StableDiffusion3Pipeline(
        scheduler=euler(shift=3.0),
        vae=vae(),
        text_encoder=clip(projects=True),
        tokenizer=tokenizer(77),
        text_encoder_2=clip(projects=True),
        tokenizer_2=tokenizer(77),
        text_encoder_3=t5(2 * WIDTH),
        tokenizer_3=tokenizer(),
        transformer=livened(transformer),
    )


def flux() -> Any:
    transformer = diffusers.FluxTransformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.FluxPipeline(
        scheduler=dynamic(),
        vae=vae(),
        text_encoder=clip(),
        tokenizer=tokenizer(77),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=livened(transformer),
    )


def _flux2_network(guidance_embeds: bool) -> Any:
    return diffusers.Flux2Transformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=3 * WIDTH,
        timestep_guidance_channels=8,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=guidance_embeds,
    )


def flux2_vae() -> Any:
    made = diffusers.AutoencoderKLFlux2(**_blocks(4))
    made.bn.running_mean.normal_()
    made.bn.running_var.uniform_(0.5, 2)
    return made


def flux2() -> Any:
    return diffusers.Flux2Pipeline(
        scheduler=dynamic(),
        vae=flux2_vae(),
        text_encoder=MistralForCausalLM(MistralConfig(num_hidden_layers=30, **LANGUAGE)),
        tokenizer=tokenizer(),
        transformer=livened(_flux2_network(True)),
    )


def flux2_klein() -> Any:
    return diffusers.Flux2KleinPipeline(
        scheduler=dynamic(),
        vae=flux2_vae(),
        text_encoder=Qwen3ForCausalLM(qwen3(27)),
        tokenizer=tokenizer(),
        transformer=livened(_flux2_network(False)),
    )


def z_image() -> Any:
    transformer = diffusers.ZImageTransformer2DModel(
        in_channels=4,
        dim=2 * WIDTH,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=WIDTH,
        axes_dims=[4, 6, 6],
        axes_lens=[512, 32, 32],
    )
    return diffusers.ZImagePipeline(
        scheduler=euler(shift=3.0),
        vae=vae(),
        text_encoder=Qwen3Model(qwen3(2)),
        tokenizer=tokenizer(),
        transformer=livened(transformer),
    )


def qwen_image() -> Any:
    transformer = diffusers.QwenImageTransformer2DModel(
        **HEADS, in_channels=16, out_channels=4, num_layers=1, joint_attention_dim=WIDTH, axes_dims_rope=(4, 6, 6)
    )
    return diffusers.QwenImagePipeline(
        scheduler=euler(use_dynamic_shifting=True, shift_terminal=0.02, base_shift=0.5, max_shift=0.9),
        vae=qwen_vae(),
        text_encoder=qwen_vl(),
        tokenizer=tokenizer(2048),
        transformer=livened(transformer),
    )


def qwen_vae() -> Any:
    return diffusers.AutoencoderKLQwenImage(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=torch.randn(4).tolist(),
        latents_std=(0.5 + torch.rand(4)).tolist(),
    )


def qwen_vl(layers: int = 1) -> Any:
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1e4}
    text = {**LANGUAGE, "num_hidden_layers": layers, "rope_parameters": rope}
    vision = {
        "depth": 1,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_heads": 1,
        "out_hidden_size": WIDTH,
        "fullatt_block_indexes": [0],
    }
    ids = {"image_token_id": 2, "video_token_id": 3, "vision_start_token_id": 4, "vision_end_token_id": 5}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids)
    assert len(VOCABULARY) > max(ids.values())
    return Qwen2_5_VLForConditionalGeneration(config)


CASES: dict[str, Case] = {
    "StableDiffusion3Pipeline": Case(stable_diffusion_3, tokens=64),
    "StableDiffusion3Pipeline of SD3.5-Large": Case(lambda: stable_diffusion_3(()), tokens=64),
    "FluxPipeline": Case(flux, tokens=64),
    "Flux2Pipeline": Case(flux2, guided=False, tokens=256),
    "Flux2KleinPipeline": Case(flux2_klein, negative="", tokens=64),
    "ZImagePipeline": Case(z_image, tokens=64),
    "QwenImagePipeline": Case(qwen_image),
}
"""By class of the pipeline, and what else tells it apart."""
