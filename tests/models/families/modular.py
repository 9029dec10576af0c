"""Tiny pipelines that diffusers has as blocks alone, called as its documentation says."""

from functools import partial
from pathlib import Path
from typing import Any

import diffusers
from torch import Tensor
from transformers import Qwen3Model, Qwen3VLForConditionalGeneration

from tests.models.families.builders import HEADS, Case, flux2_vae, qwen_vae
from tests.models.families.components import CHAT, VOCABULARY, WIDTH, euler, livened, processor, qwen3, tokenizer
from tests.models.families.more import qwen3_vl

LENGTHENED = "Describe the picture, and do so well: " + CHAT
"""A template with which the second prompt takes another multiple of 80 tokens."""


def flux3() -> Any:
    blocks = diffusers.Flux3AutoBlocks()
    blocks.sub_blocks.pop("prompt_upsampler")  # as its documentation says, to have prompts encoded as they are
    transformer = diffusers.Flux3Transformer2DModel(
        **HEADS,
        in_channels=16,
        cond_in_channels=16,
        num_layers=1,
        num_single_layers=1,
        joint_attention_dim=8 * WIDTH,
        timestep_channels=8,
        axes_dims_rope=(4, 4, 4, 4),
    )
    reader = processor(8192)
    reader.chat_template = LENGTHENED
    pipeline = blocks.init_pipeline()
    pipeline.update_components(
        transformer=livened(transformer),
        vae=flux2_vae(),
        text_encoder=qwen3_vl(32, Qwen3VLForConditionalGeneration),
        tokenizer=reader,
    )
    return pipeline


def anima() -> Any:
    transformer = diffusers.CosmosTransformer3DModel(
        **HEADS,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        text_embed_dim=WIDTH,
        adaln_lora_dim=8,
        max_size=(4, 16, 16),
        concat_padding_mask=False,  # of zeros; its resizing needs torchvision
        extra_pos_embed_type=None,
    )
    conditioner = diffusers.AnimaTextConditioner(
        source_dim=WIDTH,
        target_dim=WIDTH,
        model_dim=WIDTH,
        num_layers=1,
        num_attention_heads=1,
        target_vocab_size=len(VOCABULARY),
        min_sequence_length=64,
    )
    pipeline = diffusers.AnimaAutoBlocks().init_pipeline()
    pipeline.update_components(
        transformer=livened(transformer),
        vae=qwen_vae(),
        text_encoder=Qwen3Model(qwen3(2)),
        tokenizer=tokenizer(),
        t5_tokenizer=tokenizer(),
        text_conditioner=livened(conditioner),
        scheduler=euler(shift=3.0),
    )
    return pipeline


def call(pipeline: Any, *, guidance_scale: float, **given: Any) -> Tensor:
    """Guidance is a component here."""
    pipeline.update_components(guider=diffusers.ClassifierFreeGuidance(guidance_scale=guidance_scale))
    return pipeline(**given, output="images")


def save(pipeline: Any, folder: Path) -> None:
    pipeline.save_pretrained(str(folder), overwrite_modular_index=True)


ModularCase = partial(Case, call=call, save=save)

EVERY = {"Flux3ModularPipeline": ModularCase(flux3, cuts=False), "AnimaModularPipeline": ModularCase(anima)}
MODULAR: dict[str, Case] = {name: case for name, case in EVERY.items() if hasattr(diffusers, name)}
"""Those that the installed diffusers has: 0.40 has no FLUX.3."""
