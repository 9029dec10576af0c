"""Stable Diffusion 3, FLUX.1 and FLUX.2, Z-Image and Qwen-Image."""

from collections.abc import Mapping
from typing import Any

from fdfo.models.architectures.parts import (
    BY_1024,
    BY_SIZE,
    CLIP_L,
    FLUX_VAE,
    KL_16,
    MISTRAL_SMALL_24B,
    QWEN3_4B,
    QWEN3_8B,
    QWEN25_VL_7B,
    QWEN_VAE,
    T5_XXL,
    Files,
    clip_text,
    model,
)


def sd3(layers: int, heads: int, positions: int, dual_layers: int, qk_norm: str | None) -> Files:
    transformer = {
        "sample_size": 128,
        "patch_size": 2,
        "in_channels": 16,
        "out_channels": 16,
        "num_layers": layers,
        "attention_head_dim": 64,
        "num_attention_heads": heads,
        "joint_attention_dim": 4096,
        "caption_projection_dim": 64 * heads,
        "pooled_projection_dim": 2048,
        "pos_embed_max_size": positions,
        "dual_attention_layers": list(range(dual_layers)),
        "qk_norm": qk_norm,
    }
    return model(
        "StableDiffusion3Pipeline",
        {"shift": 3.0},
        transformer=("SD3Transformer2DModel", transformer),
        vae=("AutoencoderKL", {**KL_16, "scaling_factor": 1.5305, "shift_factor": 0.0609}),
        text_encoder=("CLIPTextModelWithProjection", clip_text(768, 12, 12)),
        text_encoder_2=("CLIPTextModelWithProjection", clip_text(1280, 32, 20)),
        text_encoder_3=T5_XXL,
    )


def flux1(reads_guidance: bool) -> Files:
    transformer = {
        "in_channels": 64,
        "num_layers": 19,
        "num_single_layers": 38,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 4096,
        "pooled_projection_dim": 768,
        "guidance_embeds": reads_guidance,
    }
    return model(
        "FluxPipeline",
        {"shift": 3.0, **BY_1024} if reads_guidance else {"shift": 1.0},
        transformer=("FluxTransformer2DModel", transformer),
        vae=FLUX_VAE,
        text_encoder=CLIP_L,
        text_encoder_2=T5_XXL,
    )


def flux2(
    layers: int, single_layers: int, heads: int, text: tuple[str, Mapping[str, Any]], width: int, **index: bool
) -> Files:
    """width is that of three stacked layers of the text encoder; index, what model_index.json says beside."""
    is_klein = text is not MISTRAL_SMALL_24B
    transformer = {
        "patch_size": 1,
        "in_channels": 128,
        "num_layers": layers,
        "num_single_layers": single_layers,
        "attention_head_dim": 128,
        "num_attention_heads": heads,
        "joint_attention_dim": width,
        "guidance_embeds": not is_klein,
    }
    files = model(
        "Flux2KleinPipeline" if is_klein else "Flux2Pipeline",
        {"shift": 3.0, **BY_1024},
        transformer=("Flux2Transformer2DModel", transformer),
        vae=("AutoencoderKLFlux2", {"block_out_channels": [128, 256, 512, 512], "latent_channels": 32}),
        text_encoder=text,
    )
    return {**files, "model_index.json": {**files["model_index.json"], **index}}


def z_image(shift: float) -> Files:
    transformer = {
        "all_patch_size": [2],
        "all_f_patch_size": [1],
        "in_channels": 16,
        "dim": 3840,
        "n_layers": 30,
        "n_refiner_layers": 2,
        "n_heads": 30,
        "n_kv_heads": 30,
        "cap_feat_dim": 2560,
    }
    return model(
        "ZImagePipeline",
        {"shift": shift},
        transformer=("ZImageTransformer2DModel", transformer),
        vae=FLUX_VAE,
        text_encoder=("Qwen3Model", QWEN3_4B),
    )


def qwen_image() -> Files:
    transformer = {
        "patch_size": 2,
        "in_channels": 64,
        "out_channels": 16,
        "num_layers": 60,
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": 3584,
        "guidance_embeds": False,
    }
    return model(
        "QwenImagePipeline",
        {"shift": 1.0, **BY_SIZE, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02},
        transformer=("QwenImageTransformer2DModel", transformer),
        vae=QWEN_VAE,
        text_encoder=QWEN25_VL_7B,
    )


KLEIN_4B = (5, 20, 24, ("Qwen3ForCausalLM", QWEN3_4B), 3 * 2560)
KLEIN_9B = (8, 24, 32, ("Qwen3ForCausalLM", QWEN3_8B), 3 * 4096)

POPULAR: Mapping[str, Files] = {
    "stabilityai/stable-diffusion-3.5-medium": sd3(24, 24, 384, 13, "rms_norm"),
    "stabilityai/stable-diffusion-3.5-large": sd3(38, 38, 192, 0, "rms_norm"),
    "stabilityai/stable-diffusion-3-medium-diffusers": sd3(24, 24, 192, 0, None),
    "black-forest-labs/FLUX.1-dev": flux1(True),
    "black-forest-labs/FLUX.1-Krea-dev": flux1(True),
    "black-forest-labs/FLUX.1-schnell": flux1(False),
    "black-forest-labs/FLUX.2-klein-4B": flux2(*KLEIN_4B, is_distilled=True),
    "black-forest-labs/FLUX.2-klein-base-4B": flux2(*KLEIN_4B, is_distilled=False),
    "black-forest-labs/FLUX.2-klein-9B": flux2(*KLEIN_9B, is_distilled=True),
    "black-forest-labs/FLUX.2-klein-base-9B": flux2(*KLEIN_9B, is_distilled=False),
    "black-forest-labs/FLUX.2-dev": flux2(8, 48, 48, MISTRAL_SMALL_24B, 3 * 5120),
    "Tongyi-MAI/Z-Image": z_image(6.0),
    "Tongyi-MAI/Z-Image-Turbo": z_image(3.0),
    "Qwen/Qwen-Image": qwen_image(),
    "Qwen/Qwen-Image-2512": qwen_image(),
}
