"""Tiny pipelines of further families."""

from typing import Any

import diffusers
from transformers import (
    Gemma2Config,
    Gemma2Model,
    Qwen3Model,
)

from tests.models.families.builders import HEADS, Case
from tests.models.families.components import (
    LANGUAGE,
    WIDTH,
    dynamic,
    livened,
    qwen3,
    tokenizer,
    vae,
)


def gemma() -> Gemma2Model:
    return Gemma2Model(Gemma2Config(num_hidden_layers=2, **LANGUAGE))


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


MORE: dict[str, Case] = {"Lumina2Pipeline": Case(lumina2), "OvisImagePipeline": Case(ovis)}
