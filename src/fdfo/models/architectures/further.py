"""SANA, PRX, Krea 2, Chroma, Ovis-Image, LongCat-Image and Wan 2.1."""

from collections.abc import Mapping
from typing import Any

from fdfo.models.architectures.parts import (
    BY_1024,
    BY_SIZE,
    DC_AE,
    FLUX_VAE,
    GEMMA2_2B,
    QWEN3_4B,
    QWEN3_VL_4B,
    QWEN25_VL_7B,
    QWEN_VAE,
    T5_GEMMA_2B,
    T5_XXL,
    Files,
    model,
)


def sana(layers: int, qk_norm: str | None) -> Files:
    transformer = {
        "sample_size": 32,
        "patch_size": 1,
        "in_channels": 32,
        "out_channels": 32,
        "num_layers": layers,
        "num_attention_heads": 70,
        "attention_head_dim": 32,
        "num_cross_attention_heads": 20,
        "cross_attention_head_dim": 112,
        "cross_attention_dim": 2240,
        "caption_channels": 2304,
        "mlp_ratio": 2.5,
        "interpolation_scale": None,
        "qk_norm": qk_norm,
    }
    return model(
        "SanaPipeline",
        {"flow_shift": 3.0, "use_flow_sigmas": True, "prediction_type": "flow_prediction"},
        "DPMSolverMultistepScheduler",
        transformer=("SanaTransformer2DModel", transformer),
        vae=DC_AE,
        text_encoder=GEMMA2_2B,
    )


def prx(side: int) -> Files:
    """side is that of the images it was trained with."""
    transformer = {
        "in_channels": 16,
        "patch_size": 2,
        "context_in_dim": 2304,
        "hidden_size": 1792,
        "mlp_ratio": 3.5,
        "num_heads": 28,
        "depth": 16,
        "axes_dim": [32, 32],
    }
    files = model(
        "PRXPipeline",
        {"shift": 3.0},
        transformer=("PRXTransformer2DModel", transformer),
        vae=FLUX_VAE,
        text_encoder=T5_GEMMA_2B,
    )
    return {**files, "model_index.json": {**files["model_index.json"], "default_sample_size": side}}


def krea2(is_distilled: bool) -> Files:
    transformer = {
        "in_channels": 64,
        "num_layers": 28,
        "attention_head_dim": 128,
        "num_attention_heads": 48,
        "num_key_value_heads": 12,
        "intermediate_size": 16384,
        "text_hidden_dim": 2560,
        "num_text_layers": 12,
        "text_num_attention_heads": 20,
        "text_num_key_value_heads": 20,
        "text_intermediate_size": 6912,
    }
    files = model(
        "Krea2Pipeline",
        {**BY_SIZE, "max_shift": 1.15, "max_image_seq_len": 6400},
        transformer=("Krea2Transformer2DModel", transformer),
        vae=QWEN_VAE,
        text_encoder=QWEN3_VL_4B,
    )
    return {**files, "model_index.json": {**files["model_index.json"], "is_distilled": is_distilled}}


def like_flux(
    pipeline: str, layers: tuple[int, int], width: int, text: tuple[str, Mapping[str, Any]], **scheduler: Any
) -> Files:
    """Networks with FLUX.1's blocks, so many of two streams and of one, which read a text of this width."""
    transformer = {
        "in_channels": 64,
        "num_layers": layers[0],
        "num_single_layers": layers[1],
        "attention_head_dim": 128,
        "num_attention_heads": 24,
        "joint_attention_dim": width,
    }
    network = pipeline.replace("Pipeline", "Transformer2DModel")
    return model(
        pipeline, {"shift": 3.0, **scheduler}, transformer=(network, transformer), vae=FLUX_VAE, text_encoder=text
    )


def wan() -> Files:
    transformer = {
        "patch_size": [1, 2, 2],
        "num_attention_heads": 12,
        "attention_head_dim": 128,
        "in_channels": 16,
        "out_channels": 16,
        "text_dim": 4096,
        "freq_dim": 256,
        "ffn_dim": 8960,
        "num_layers": 30,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
    }
    return model(
        "WanPipeline",
        {"flow_shift": 3.0, "use_flow_sigmas": True, "prediction_type": "flow_prediction"},
        "UniPCMultistepScheduler",
        transformer=("WanTransformer3DModel", transformer),
        vae=("AutoencoderKLWan", QWEN_VAE[1]),
        text_encoder=("UMT5EncoderModel", {**T5_XXL[1], "vocab_size": 256384}),
    )


OVIS_TEXT = (
    "Qwen3Model",
    {**QWEN3_4B, "hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 28, "num_attention_heads": 16},
)

FURTHER: Mapping[str, Files] = {
    "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers": sana(20, "rms_norm_across_heads"),
    "Efficient-Large-Model/SANA1.5_4.8B_1024px_diffusers": sana(60, "rms_norm_across_heads"),
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": sana(20, None),
    "Photoroom/prx-512-t2i": prx(512),
    "Photoroom/prx-512-t2i-sft": prx(512),
    "Photoroom/prx-1024-t2i-beta": prx(1024),
    "lodestones/Chroma1-HD": like_flux("ChromaPipeline", (19, 38), 4096, T5_XXL),
    "AIDC-AI/Ovis-Image-7B": like_flux("OvisImagePipeline", (6, 27), 2048, OVIS_TEXT, **BY_1024),
    "meituan-longcat/LongCat-Image": like_flux("LongCatImagePipeline", (10, 20), 3584, QWEN25_VL_7B, **BY_1024),
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": wan(),
    "krea/Krea-2-Raw": krea2(False),
    "krea/Krea-2-Turbo": krea2(True),
}
