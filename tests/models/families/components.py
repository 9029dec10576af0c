"""Tiny components of pipelines, with random weights: tokenizers of bytes, text encoders, decoders."""

from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    PreTrainedTokenizerFast,
    Qwen3Config,
    T5Config,
    T5EncoderModel,
)

WIDTH = 16
"""Of text encoders and networks."""

PAD, EOS = "<pad>", "<eos>"
BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
VOCABULARY = {token: number for number, token in enumerate([PAD, EOS, *BYTES])}

CHAT = (
    "{% for m in messages %}<{{ m.role }}>{% if m.content is string %}{{ m.content }}{% else %}"
    "{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)

LANGUAGE = {
    "vocab_size": len(VOCABULARY),
    "hidden_size": WIDTH,
    "intermediate_size": WIDTH,
    "num_attention_heads": 1,
    "num_key_value_heads": 1,
    "head_dim": WIDTH,
    "max_position_embeddings": 2048,
    "pad_token_id": VOCABULARY[PAD],
    "eos_token_id": VOCABULARY[EOS],
    "bos_token_id": None,
}
"""Of a small language model; its number of layers is missing."""


def tokenizer(longest: int = 512) -> PreTrainedTokenizerFast:
    """A token for each byte, and one at the end; with a chat template."""
    inner = Tokenizer(models.BPE(vocab=VOCABULARY, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    inner.post_processor = processors.TemplateProcessing(f"$A {EOS}", special_tokens=[(EOS, VOCABULARY[EOS])])
    made = PreTrainedTokenizerFast(
        tokenizer_object=inner, pad_token=PAD, eos_token=EOS, model_max_length=longest, padding_side="right"
    )
    made.chat_template = CHAT
    return made


class TinyProcessor(PreTrainedTokenizerFast):
    """Called as processors are that read pictures as well; those of transformers need torchvision."""

    def __call__(self, text: Any, *, images: None = None, videos: None = None, **options: Any) -> Any:
        return super().__call__(text, **options)

    def apply_chat_template(self, conversation: Any, *, tokenize: bool = True, **options: Any) -> Any:
        found = super().apply_chat_template(conversation, tokenize=tokenize, **options)
        return [found] if tokenize else found

    @property
    def tokenizer(self) -> "TinyProcessor":
        return self


TinyProcessor.__module__ = "transformers"
transformers.TinyProcessor = TinyProcessor  # where a pipeline's index looks it up


def processor(longest: int = 2048) -> TinyProcessor:
    """The tokenizer, called otherwise, and with a mark for pictures."""
    plain = tokenizer(longest)
    made = TinyProcessor(
        tokenizer_object=plain.backend_tokenizer, pad_token=PAD, eos_token=EOS, model_max_length=longest
    )
    made.chat_template = CHAT
    made.add_special_tokens({"additional_special_tokens": ["<|image_pad|>"]})
    return made


def clip(projects: bool = False) -> CLIPTextModel | CLIPTextModelWithProjection:
    config = CLIPTextConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=WIDTH,
        projection_dim=WIDTH,
        intermediate_size=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=1,
        max_position_embeddings=77,
        pad_token_id=VOCABULARY[PAD],
        eos_token_id=VOCABULARY[EOS],
        bos_token_id=None,
    )
    return CLIPTextModelWithProjection(config) if projects else CLIPTextModel(config)


def t5(width: int = WIDTH) -> T5EncoderModel:
    config = T5Config(
        vocab_size=len(VOCABULARY), d_model=width, d_ff=WIDTH, d_kv=8, num_layers=1, num_heads=1, pad_token_id=0
    )
    return T5EncoderModel(config)


def qwen3(layers: int) -> Qwen3Config:
    return Qwen3Config(num_hidden_layers=layers, **LANGUAGE)


def vae(channels: int = 4, shift: float = 0.1) -> AutoencoderKL:
    """Eight pixels an element."""
    return AutoencoderKL(**_blocks(channels), scaling_factor=1.5, shift_factor=shift)


def _blocks(channels: int) -> dict[str, object]:
    return {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (4, 4, 4, 4),
        "layers_per_block": 1,
        "latent_channels": channels,
        "norm_num_groups": 2,
        "sample_size": 64,
    }


def euler(**settings: object) -> FlowMatchEulerDiscreteScheduler:
    return FlowMatchEulerDiscreteScheduler(**settings)


def dynamic() -> FlowMatchEulerDiscreteScheduler:
    """Shifted by the size of the image."""
    return euler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15)


def livened(network: torch.nn.Module) -> torch.nn.Module:
    """The network with random weights where its constructor puts zeros or ones, so that everything is felt."""
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.numel() and (parameter == parameter.flatten()[0]).all():
                parameter.add_(0.1 * torch.randn_like(parameter))
    return network
