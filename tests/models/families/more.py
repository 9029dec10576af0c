"""Tiny pipelines of further families."""

from typing import Any

import diffusers
from transformers import (
    Gemma2Config,
    Gemma2Model,
    GlmConfig,
    GlmModel,
    Qwen3Model,
    Qwen3VLConfig,
    Qwen3VLModel,
    UMT5Config,
    UMT5EncoderModel,
)

from tests.models.families.builders import HEADS, Case, qwen_vae
from tests.models.families.components import (
    LANGUAGE,
    VOCABULARY,
    WIDTH,
    dynamic,
    euler,
    livened,
    qwen3,
    t5,
    tokenizer,
    vae,
)


def gemma() -> Gemma2Model:
    return Gemma2Model(Gemma2Config(num_hidden_layers=2, **LANGUAGE))


def qwen3_vl(layers: int = 2, kind: Any = Qwen3VLModel) -> Any:
    rope = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 1e4}
    vision = {
        "depth": 1,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_heads": 1,
        "out_hidden_size": WIDTH,
        "deepstack_visual_indexes": [0],
        "num_position_embeddings": 16,
    }
    text = {**LANGUAGE, "num_hidden_layers": layers, "rope_parameters": rope}
    ids = {"image_token_id": 2, "video_token_id": 3, "vision_start_token_id": 4, "vision_end_token_id": 5}
    return kind(Qwen3VLConfig(text_config=text, vision_config=vision, **ids))


def umt5() -> UMT5EncoderModel:
    config = UMT5Config(
        vocab_size=len(VOCABULARY), d_model=WIDTH, d_ff=WIDTH, d_kv=8, num_layers=1, num_heads=1, pad_token_id=0
    )
    return UMT5EncoderModel(config)


def dc_vae() -> Any:
    """Eight pixels an element, as Sana's has 32."""
    blocks = (4, 4, 4, 4)
    return diffusers.AutoencoderDC(
        latent_channels=4,
        attention_head_dim=2,
        encoder_block_types=("ResBlock",) * 4,
        decoder_block_types=("ResBlock",) * 4,
        encoder_block_out_channels=blocks,
        decoder_block_out_channels=blocks,
        encoder_layers_per_block=(1,) * 4,
        decoder_layers_per_block=(1,) * 4,
        encoder_qkv_multiscales=((),) * 4,
        decoder_qkv_multiscales=((),) * 4,
        upsample_block_type="interpolate",
        downsample_block_type="stride_conv",
        decoder_norm_types="rms_norm",
        scaling_factor=0.8,
    )


def chroma() -> Any:
    transformer = diffusers.ChromaTransformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=WIDTH,
        approximator_layers=1,
    )
    return diffusers.ChromaPipeline(
        scheduler=dynamic(), vae=vae(), text_encoder=t5(), tokenizer=tokenizer(), transformer=livened(transformer)
    )


def sana() -> Any:
    transformer = diffusers.SanaTransformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_cross_attention_heads=2,
        cross_attention_head_dim=WIDTH,
        cross_attention_dim=2 * WIDTH,
        caption_channels=WIDTH,
        sample_size=8,
        timestep_scale=0.001,
    )
    return diffusers.SanaPipeline(
        tokenizer=tokenizer(),
        text_encoder=gemma(),
        vae=dc_vae(),
        transformer=livened(transformer),
        scheduler=euler(shift=3.0),
    )


def aura_flow() -> Any:
    transformer = diffusers.AuraFlowTransformer2DModel(
        **HEADS,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        num_mmdit_layers=2,
        num_single_dit_layers=2,
        joint_attention_dim=WIDTH,
        caption_projection_dim=2 * WIDTH,
        pos_embed_max_size=64,
    )
    return diffusers.AuraFlowPipeline(
        tokenizer=tokenizer(),
        text_encoder=umt5(),
        vae=vae(),
        transformer=livened(transformer),
        scheduler=euler(shift=1.73),
    )


def bria() -> Any:
    transformer = diffusers.BriaTransformer2DModel(
        **HEADS,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    return diffusers.BriaPipeline(
        transformer=livened(transformer), scheduler=dynamic(), vae=vae(), text_encoder=t5(), tokenizer=tokenizer()
    )


def cog_view4() -> Any:
    transformer = diffusers.CogView4Transformer2DModel(
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=WIDTH,
        num_attention_heads=2,
        text_embed_dim=WIDTH,
        time_embed_dim=WIDTH,
        condition_dim=8,
        pos_embed_max_size=32,
        sample_size=8,
        rope_axes_dim=(32, 32),
    )
    return diffusers.CogView4Pipeline(
        tokenizer=tokenizer(),
        text_encoder=GlmModel(GlmConfig(num_hidden_layers=2, **LANGUAGE)),
        vae=vae(shift=0.0),
        transformer=livened(transformer),
        scheduler=euler(use_dynamic_shifting=True, base_shift=0.25, max_shift=0.75, time_shift_type="linear"),
    )


def krea2() -> Any:
    transformer = diffusers.Krea2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        attention_head_dim=WIDTH,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=WIDTH,
        timestep_embed_dim=8,
        text_hidden_dim=WIDTH,
        num_text_layers=2,
        text_num_attention_heads=1,
        text_num_key_value_heads=1,
        text_intermediate_size=WIDTH,
        num_layerwise_text_blocks=1,
        num_refiner_text_blocks=1,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.Krea2Pipeline(
        scheduler=dynamic(),
        vae=qwen_vae(),
        text_encoder=qwen3_vl(),
        tokenizer=tokenizer(2048),
        transformer=livened(transformer),
        text_encoder_select_layers=(1, 2),
    )


def lumina2() -> Any:
    transformer = diffusers.Lumina2Transformer2DModel(
        sample_size=8,
        in_channels=4,
        hidden_size=2 * WIDTH,
        num_layers=1,
        num_refiner_layers=1,
        num_attention_heads=2,
        num_kv_heads=1,
        multiple_of=8,
        axes_dim_rope=(4, 6, 6),
        axes_lens=(512, 32, 32),
        cap_feat_dim=WIDTH,
    )
    return diffusers.Lumina2Pipeline(
        transformer=livened(transformer), scheduler=dynamic(), vae=vae(), text_encoder=gemma(), tokenizer=tokenizer()
    )


def ovis() -> Any:
    transformer = diffusers.OvisImageTransformer2DModel(
        **HEADS,
        in_channels=16,
        out_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
    )
    return diffusers.OvisImagePipeline(
        scheduler=dynamic(),
        vae=vae(),
        text_encoder=Qwen3Model(qwen3(2)),
        tokenizer=tokenizer(),
        transformer=livened(transformer),
    )


MORE: dict[str, Case] = {
    "Lumina2Pipeline": Case(lumina2),
    "OvisImagePipeline": Case(ovis),
    "SanaPipeline": Case(sana, tokens=64, step=1e-5),
    "ChromaPipeline": Case(chroma, tokens=64),
    "Krea2Pipeline": Case(krea2, tokens=512),
    "AuraFlowPipeline": Case(aura_flow, tokens=64),
    "BriaPipeline": Case(bria, tokens=64),
    "CogView4Pipeline": Case(cog_view4),
}
