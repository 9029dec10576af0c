"""Architectures of published models, as in their repositories: plans and benchmarks then need no download.

Only the fields that decide shapes and sizes; sources are the `config.json` files of the named hub repositories.
"""

from typing import Any


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


def _sd3(layers: int, heads: int, positions: int, dual_layers: int, qk_norm: str | None) -> dict[str, dict[str, Any]]:
    """Small configuration files of one Stable Diffusion 3 model, by their path in its folder."""
    return {
        "model_index.json": {
            "_class_name": "StableDiffusion3Pipeline",
            "transformer": ["diffusers", "SD3Transformer2DModel"],
            "vae": ["diffusers", "AutoencoderKL"],
            "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
            "text_encoder": ["transformers", "CLIPTextModelWithProjection"],
            "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
            "text_encoder_3": ["transformers", "T5EncoderModel"],
        },
        "text_encoder/config.json": _clip_text(768, 12, 12),
        "text_encoder_2/config.json": _clip_text(1280, 32, 20),
        "text_encoder_3/config.json": {
            "d_model": 4096,
            "d_ff": 10240,
            "d_kv": 64,
            "num_heads": 64,
            "num_layers": 24,
            "vocab_size": 32128,
            "feed_forward_proj": "gated-gelu",
        },
        "transformer/config.json": {
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
        },
        "vae/config.json": {
            "block_out_channels": [128, 256, 512, 512],
            "down_block_types": ["DownEncoderBlock2D"] * 4,
            "up_block_types": ["UpDecoderBlock2D"] * 4,
            "layers_per_block": 2,
            "use_quant_conv": False,
            "use_post_quant_conv": False,
            "latent_channels": 16,
            "scaling_factor": 1.5305,
            "shift_factor": 0.0609,
        },
        "scheduler/scheduler_config.json": {"num_train_timesteps": 1000, "shift": 3.0},
    }


KNOWN = {
    "stabilityai/stable-diffusion-3.5-medium": _sd3(24, 24, 384, 13, "rms_norm"),
    "stabilityai/stable-diffusion-3.5-large": _sd3(38, 38, 192, 0, "rms_norm"),
    "stabilityai/stable-diffusion-3-medium-diffusers": _sd3(24, 24, 192, 0, None),
}
