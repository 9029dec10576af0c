"""Architectures of published models, as in their repositories: plans and benchmarks then need no download.

Only the fields that decide shapes and sizes, as in the `config.json` files of the named hub repositories; where those
could not be read, as public loaders and converters restate them. The tests hold each network to the number of
parameters that is published.
"""

from collections.abc import Mapping
from typing import Any

Files = Mapping[str, Mapping[str, Any]]
"""Small configuration files of one model, by their path in its folder."""


def _clip_text(width: int, layers: int, heads: int) -> dict[str, Any]:
    """A CLIP text encoder whose projection is as wide as itself."""
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "projection_dim": width,
        "vocab_size": 49408,
        "max_position_embeddings": 77,
    }


def _qwen3(width: int, inner: int, tied: bool) -> dict[str, Any]:
    """A Qwen3 language model of 36 layers."""
    return {
        "hidden_size": width,
        "intermediate_size": inner,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "vocab_size": 151936,
        "tie_word_embeddings": tied,
    }


CLIP_L = ("CLIPTextModel", _clip_text(768, 12, 12))
T5_XXL = (
    "T5EncoderModel",
    {
        "d_model": 4096,
        "d_ff": 10240,
        "d_kv": 64,
        "num_heads": 64,
        "num_layers": 24,
        "vocab_size": 32128,
        "feed_forward_proj": "gated-gelu",
    },
)
QWEN3_4B, QWEN3_8B = _qwen3(2560, 9728, True), _qwen3(4096, 12288, False)
QWEN25_VL_7B = (
    "Qwen2_5_VLForConditionalGeneration",
    {
        "text_config": {
            "hidden_size": 3584,
            "intermediate_size": 18944,
            "num_hidden_layers": 28,
            "num_attention_heads": 28,
            "num_key_value_heads": 4,
            "vocab_size": 152064,
        },
        "vision_config": {
            "depth": 32,
            "hidden_size": 1280,
            "intermediate_size": 3420,
            "num_heads": 16,
            "out_hidden_size": 3584,
        },
    },
)
MISTRAL_SMALL_24B = (
    "Mistral3ForConditionalGeneration",
    {
        "tie_word_embeddings": False,
        "text_config": {
            "model_type": "mistral",
            "hidden_size": 5120,
            "intermediate_size": 32768,
            "num_hidden_layers": 40,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "vocab_size": 131072,
        },
        "vision_config": {
            "model_type": "pixtral",
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_hidden_layers": 24,
            "num_attention_heads": 16,
            "head_dim": 64,
            "image_size": 1540,
            "patch_size": 14,
        },
    },
)
"""Text encoders: class and configuration."""

KL_16 = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "use_quant_conv": False,
    "use_post_quant_conv": False,
    "latent_channels": 16,
}
FLUX_VAE = ("AutoencoderKL", {**KL_16, "scaling_factor": 0.3611, "shift_factor": 0.1159})

BY_SIZE = {"use_dynamic_shifting": True, "base_shift": 0.5, "base_image_seq_len": 256}
"""Of schedulers whose times depend on the size of images."""


def _model(pipeline: str, scheduler: Mapping[str, Any], **parts: tuple[str, Mapping[str, Any]]) -> Files:
    """Files of a model whose components have these classes and configurations."""
    libraries = {name: "transformers" if name.startswith("text_encoder") else "diffusers" for name in parts}
    index = {name: [libraries[name], kind] for name, (kind, _) in parts.items()}
    return {
        "model_index.json": {
            "_class_name": pipeline,
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            **index,
        },
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000, **scheduler},
        **{f"{name}/config.json": config for name, (_, config) in parts.items()},
    }


def _sd3(layers: int, heads: int, positions: int, dual_layers: int, qk_norm: str | None) -> Files:
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
    return _model(
        "StableDiffusion3Pipeline",
        {"shift": 3.0},
        transformer=("SD3Transformer2DModel", transformer),
        vae=("AutoencoderKL", {**KL_16, "scaling_factor": 1.5305, "shift_factor": 0.0609}),
        text_encoder=("CLIPTextModelWithProjection", _clip_text(768, 12, 12)),
        text_encoder_2=("CLIPTextModelWithProjection", _clip_text(1280, 32, 20)),
        text_encoder_3=T5_XXL,
    )


def _flux1(reads_guidance: bool) -> Files:
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
    return _model(
        "FluxPipeline",
        {"shift": 3.0, **BY_SIZE, "max_shift": 1.15, "max_image_seq_len": 4096} if reads_guidance else {"shift": 1.0},
        transformer=("FluxTransformer2DModel", transformer),
        vae=FLUX_VAE,
        text_encoder=CLIP_L,
        text_encoder_2=T5_XXL,
    )


def _flux2(
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
    files = _model(
        "Flux2KleinPipeline" if is_klein else "Flux2Pipeline",
        {"shift": 3.0, **BY_SIZE, "max_shift": 1.15, "max_image_seq_len": 4096},
        transformer=("Flux2Transformer2DModel", transformer),
        vae=("AutoencoderKLFlux2", {"block_out_channels": [128, 256, 512, 512], "latent_channels": 32}),
        text_encoder=text,
    )
    return {**files, "model_index.json": {**files["model_index.json"], **index}}


def _z_image(shift: float) -> Files:
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
    return _model(
        "ZImagePipeline",
        {"shift": shift},
        transformer=("ZImageTransformer2DModel", transformer),
        vae=FLUX_VAE,
        text_encoder=("Qwen3Model", QWEN3_4B),
    )


def _qwen_image() -> Files:
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
    return _model(
        "QwenImagePipeline",
        {"shift": 1.0, **BY_SIZE, "max_shift": 0.9, "max_image_seq_len": 8192, "shift_terminal": 0.02},
        transformer=("QwenImageTransformer2DModel", transformer),
        vae=(
            "AutoencoderKLQwenImage",
            {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "z_dim": 16, "temperal_downsample": [False, True, True]},
        ),
        text_encoder=QWEN25_VL_7B,
    )


KLEIN_4B = (5, 20, 24, ("Qwen3ForCausalLM", QWEN3_4B), 3 * 2560)
KLEIN_9B = (8, 24, 32, ("Qwen3ForCausalLM", QWEN3_8B), 3 * 4096)

KNOWN: Mapping[str, Files] = {
    "stabilityai/stable-diffusion-3.5-medium": _sd3(24, 24, 384, 13, "rms_norm"),
    "stabilityai/stable-diffusion-3.5-large": _sd3(38, 38, 192, 0, "rms_norm"),
    "stabilityai/stable-diffusion-3-medium-diffusers": _sd3(24, 24, 192, 0, None),
    "black-forest-labs/FLUX.1-dev": _flux1(True),
    "black-forest-labs/FLUX.1-Krea-dev": _flux1(True),
    "black-forest-labs/FLUX.1-schnell": _flux1(False),
    "black-forest-labs/FLUX.2-klein-4B": _flux2(*KLEIN_4B, is_distilled=True),
    "black-forest-labs/FLUX.2-klein-base-4B": _flux2(*KLEIN_4B, is_distilled=False),
    "black-forest-labs/FLUX.2-klein-9B": _flux2(*KLEIN_9B, is_distilled=True),
    "black-forest-labs/FLUX.2-klein-base-9B": _flux2(*KLEIN_9B, is_distilled=False),
    "black-forest-labs/FLUX.2-dev": _flux2(8, 48, 48, MISTRAL_SMALL_24B, 3 * 5120),
    "Tongyi-MAI/Z-Image": _z_image(6.0),
    "Tongyi-MAI/Z-Image-Turbo": _z_image(3.0),
    "Qwen/Qwen-Image": _qwen_image(),
    "Qwen/Qwen-Image-2512": _qwen_image(),
}
