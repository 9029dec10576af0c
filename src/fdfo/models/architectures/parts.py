"""Text encoders and decoders that published models share, and the files of a model made of parts."""

from collections.abc import Mapping
from typing import Any

Files = Mapping[str, Mapping[str, Any]]
"""Small configuration files of one model, by their path in its folder."""


def clip_text(width: int, layers: int, heads: int) -> dict[str, Any]:
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


CLIP_L = ("CLIPTextModel", clip_text(768, 12, 12))
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
_GEMMA_2B = {
    "hidden_size": 2304,
    "intermediate_size": 9216,
    "num_hidden_layers": 26,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 256000,
}
GEMMA2_2B = ("Gemma2Model", _GEMMA_2B)
T5_GEMMA_2B = ("T5GemmaEncoder", {"encoder": _GEMMA_2B})
QWEN3_VL_4B = (
    "Qwen3VLModel",
    {
        "tie_word_embeddings": True,
        "text_config": QWEN3_4B,
        "vision_config": {
            "depth": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_heads": 16,
            "patch_size": 16,
            "out_hidden_size": 2560,
            "deepstack_visual_indexes": [5, 11, 17],
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

QWEN_VAE = (
    "AutoencoderKLQwenImage",
    {"base_dim": 96, "dim_mult": [1, 2, 4, 4], "z_dim": 16, "temperal_downsample": [False, True, True]},
)
_DC_SIDES = {
    "block_out_channels": [128, 256, 512, 512, 1024, 1024],
    "block_types": ["ResBlock"] * 3 + ["EfficientViTBlock"] * 3,
    "qkv_multiscales": [[], [], [], [5], [5], [5]],
}
DC_AE = (
    "AutoencoderDC",
    {
        "latent_channels": 32,
        **{f"{side}_{name}": value for side in ("encoder", "decoder") for name, value in _DC_SIDES.items()},
        "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
        "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
        "upsample_block_type": "interpolate",
        "downsample_block_type": "Conv",
        "scaling_factor": 0.41407,
    },
)
"""Decoders, likewise."""

EULER = "FlowMatchEulerDiscreteScheduler"

BY_SIZE = {"use_dynamic_shifting": True, "base_shift": 0.5, "base_image_seq_len": 256}
BY_1024 = {**BY_SIZE, "max_shift": 1.15, "max_image_seq_len": 4096}
"""Schedulers whose times depend on the size of images; of the latter, up to 1024 px as for FLUX."""


def model(
    pipeline: str, scheduler: Mapping[str, Any], scheduler_class: str = EULER, **parts: tuple[str, Mapping[str, Any]]
) -> Files:
    """Files of a model whose components have these classes and configurations."""
    libraries = {name: "transformers" if name.startswith("text_encoder") else "diffusers" for name in parts}
    index = {name: [libraries[name], kind] for name, (kind, _) in parts.items()}
    return {
        "model_index.json": {
            "_class_name": pipeline,
            "scheduler": ["diffusers", scheduler_class],
            **index,
        },
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000, **scheduler},
        **{f"{name}/config.json": config for name, (_, config) in parts.items()},
    }
