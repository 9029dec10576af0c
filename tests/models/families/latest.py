"""Tiny pipelines of families with experts, squares of tokens, or queries, keys and values at once."""

from typing import Any

import diffusers
import torch
from diffusers.models.transformers import transformer_kandinsky
from transformers import Qwen3VLForConditionalGeneration, T5GemmaConfig
from transformers.models.t5gemma import T5GemmaModuleConfig
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder

from tests.models.families.builders import HEADS, Case, qwen_vae, qwen_vl
from tests.models.families.components import (
    LANGUAGE,
    WIDTH,
    clip,
    dynamic,
    euler,
    livened,
    processor,
    tokenizer,
    vae,
)
from tests.models.families.more import qwen3_vl


def long_cat() -> Any:
    transformer = diffusers.LongCatImageTransformer2DModel(
        **HEADS,
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=WIDTH,
        pooled_projection_dim=WIDTH,
        axes_dims_rope=[4, 6, 6],
    )
    return diffusers.LongCatImagePipeline(
        scheduler=dynamic(),
        vae=vae(16),
        text_encoder=qwen_vl(),
        tokenizer=tokenizer(),
        text_processor=processor(),
        transformer=livened(transformer),
    )


def nucleus() -> Any:
    transformer = diffusers.NucleusMoEImageTransformer2DModel(
        **HEADS,
        in_channels=16,
        out_channels=4,
        num_layers=5,
        num_key_value_heads=1,
        joint_attention_dim=WIDTH,
        axes_dims_rope=(4, 6, 6),
        mlp_ratio=8.0,
        num_experts=2,
        moe_intermediate_dim=WIDTH,
        capacity_factors=1.0,
    )
    for parameter in transformer.parameters():
        if parameter.ndim == 3:  # of the experts, whose constructor leaves them empty
            torch.nn.init.normal_(parameter, std=0.2)
    return diffusers.NucleusMoEImagePipeline(
        transformer=livened(transformer),
        scheduler=dynamic(),
        vae=qwen_vae(),
        text_encoder=qwen3_vl(9, Qwen3VLForConditionalGeneration),
        processor=processor(),
    )


def qwen_image_2_1() -> Any:
    transformer = diffusers.QwenImage21Transformer2DModel(
        **HEADS, in_channels=4, out_channels=4, num_layers=2, context_in_dim=WIDTH, axes_dims_rope=(4, 6, 6)
    )
    decoder = diffusers.AutoencoderKLQwenImage21(
        base_dim=4,
        decoder_base_dim=4,
        z_dim=4,
        dim_mult=[1, 1, 1, 1, 1],
        num_res_blocks=1,
        latents_mean=torch.randn(4).tolist(),
        latents_std=(0.5 + torch.rand(4)).tolist(),
    )
    return diffusers.QwenImage21Pipeline(
        scheduler=dynamic(),
        vae=decoder,
        text_encoder=qwen3_vl(2, Qwen3VLForConditionalGeneration),
        processor=processor(100_000),
        transformer=livened(transformer),
    )


class EncoderConfig(T5GemmaModuleConfig):
    """Saved as a part of the whole, where diffusers looks for it."""

    def save_pretrained(self, folder: Any, **options: Any) -> None:
        both = self.to_dict()
        T5GemmaConfig(encoder=both, decoder=both, vocab_size=self.vocab_size).save_pretrained(folder)


def gemma_encoder() -> Any:
    language = {**LANGUAGE, "num_hidden_layers": 2, "query_pre_attn_scalar": WIDTH}
    return T5GemmaEncoder(EncoderConfig(**language, dropout_rate=0.0))


def kandinsky5() -> Any:
    transformer = diffusers.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        out_visual_dim=4,
        in_text_dim=WIDTH,
        in_text_dim2=WIDTH,
        time_dim=WIDTH,
        model_dim=2 * WIDTH,
        ff_dim=WIDTH,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(4, 6, 6),
    )
    return diffusers.Kandinsky5T2IPipeline(
        transformer=livened(transformer),
        vae=vae(),
        text_encoder=qwen_vl(),
        tokenizer=processor(),
        text_encoder_2=clip(),
        tokenizer_2=tokenizer(77),
        scheduler=euler(shift=3.0),
    )


def prx() -> Any:
    transformer = diffusers.PRXTransformer2DModel(
        in_channels=4, context_in_dim=WIDTH, hidden_size=2 * WIDTH, num_heads=2, depth=2, axes_dim=[8, 8]
    )
    return diffusers.PRXPipeline(
        transformer=livened(transformer),
        scheduler=euler(shift=3.0),
        text_encoder=gemma_encoder(),
        tokenizer=tokenizer(),
        vae=vae(),
    )


LATEST: dict[str, Case] = {
    "LongCatImagePipeline": Case(long_cat),
    "NucleusMoEImagePipeline": Case(nucleus, step=1e-4),  # tokens change their experts
    "QwenImage21Pipeline": Case(qwen_image_2_1, cuts=False),
    "Kandinsky5T2IPipeline": Case(kandinsky5, size=(640, 1408), rounds=transformer_kandinsky, step=1e-4),
    "PRXPipeline": Case(prx, tokens=64),
}
