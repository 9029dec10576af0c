"""Tiny pipelines of families whose networks read more than one text, a video of one frame, or layers of text."""

from typing import Any

import diffusers
import torch
from transformers import (
    Ministral3Config,
    Ministral3Model,
    SmolLM3Config,
    SmolLM3ForCausalLM,
)

from tests.models.families.builders import HEADS, Case, flux2_vae, qwen_vl
from tests.models.families.components import LANGUAGE, WIDTH, dynamic, euler, livened, t5, tokenizer
from tests.models.families.more import umt5


def ernie() -> Any:
    transformer = diffusers.ErnieImageTransformer2DModel(
        hidden_size=2 * WIDTH,
        num_attention_heads=2,
        num_layers=1,
        ffn_hidden_size=WIDTH,
        in_channels=16,
        out_channels=16,
        text_in_dim=WIDTH,
        rope_axes_dim=(4, 6, 6),
    )
    return diffusers.ErnieImagePipeline(
        transformer=livened(transformer),
        vae=flux2_vae(),
        text_encoder=Ministral3Model(Ministral3Config(num_hidden_layers=2, **LANGUAGE)),
        tokenizer=tokenizer(),
        scheduler=euler(shift=3.0),
    )


def wan_vae(**settings: Any) -> Any:
    return diffusers.AutoencoderKLWan(
        base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
        latents_mean=torch.randn(4).tolist(),
        latents_std=(0.5 + torch.rand(4)).tolist(),
        **settings,
    )


def wan() -> Any:
    transformer = diffusers.WanTransformer3DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        text_dim=WIDTH,
        freq_dim=8,
        ffn_dim=WIDTH,
        num_layers=1,
        rope_max_seq_len=32,
    )
    return diffusers.WanPipeline(
        tokenizer=tokenizer(),
        text_encoder=umt5(),
        vae=wan_vae(),
        scheduler=euler(shift=3.0),
        transformer=livened(transformer),
    )


def hunyuan_image() -> Any:
    transformer = diffusers.HunyuanImageTransformer2DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        num_single_layers=1,
        num_refiner_layers=1,
        text_embed_dim=WIDTH,
        text_embed_2_dim=WIDTH,
        rope_axes_dim=(8, 8),
    )
    vae = diffusers.AutoencoderKLHunyuanImage(
        in_channels=3,
        out_channels=3,
        latent_channels=4,
        block_out_channels=(32, 32, 32, 32),
        layers_per_block=1,
        spatial_compression_ratio=8,
        sample_size=64,
        scaling_factor=0.75,
    )
    return diffusers.HunyuanImagePipeline(
        scheduler=euler(shift=5.0),
        vae=vae,
        text_encoder=qwen_vl(2),
        tokenizer=tokenizer(2048),
        text_encoder_2=t5(),
        tokenizer_2=tokenizer(),
        transformer=livened(transformer),
    )


def fibo() -> Any:
    transformer = diffusers.BriaFiboTransformer2DModel(
        **HEADS,
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=2 * WIDTH,
        axes_dims_rope=[4, 6, 6],
        text_encoder_dim=WIDTH,
    )
    return diffusers.BriaFiboPipeline(
        transformer=livened(transformer),
        scheduler=dynamic(),
        vae=wan_vae(is_residual=True, in_channels=12, out_channels=12, patch_size=2, scale_factor_spatial=16),
        text_encoder=SmolLM3ForCausalLM(SmolLM3Config(num_hidden_layers=2, **LANGUAGE)),
        tokenizer=tokenizer(),
    )


OTHERS: dict[str, Case] = {
    "ErnieImagePipeline": Case(ernie),
    "WanPipeline": Case(wan, tokens=64),
    "HunyuanImagePipeline": Case(hunyuan_image, guided=False),
    "BriaFiboPipeline": Case(fibo, tokens=64),
}
