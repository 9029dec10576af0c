"""SANA, PRX and Krea 2."""

from collections.abc import Mapping

from fdfo.models.architectures.parts import (
    BY_SIZE,
    DC_AE,
    FLUX_VAE,
    GEMMA2_2B,
    QWEN3_VL_4B,
    QWEN_VAE,
    T5_GEMMA_2B,
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


FURTHER: Mapping[str, Files] = {
    "Efficient-Large-Model/SANA1.5_1.6B_1024px_diffusers": sana(20, "rms_norm_across_heads"),
    "Efficient-Large-Model/SANA1.5_4.8B_1024px_diffusers": sana(60, "rms_norm_across_heads"),
    "Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers": sana(20, None),
    "Photoroom/prx-512-t2i": prx(512),
    "Photoroom/prx-512-t2i-sft": prx(512),
    "Photoroom/prx-1024-t2i-beta": prx(1024),
    "krea/Krea-2-Raw": krea2(False),
    "krea/Krea-2-Turbo": krea2(True),
}
