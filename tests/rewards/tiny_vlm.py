"""Tiny random vision-language models with real tokenizers and chat templates, saved as transformers saves them."""

from pathlib import Path

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    CLIPImageProcessorPil,
    CLIPVisionConfig,
    Idefics3Config,
    Idefics3ForConditionalGeneration,
    Idefics3ImageProcessorPil,
    Idefics3Processor,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2VLConfig,
    Qwen2VLForConditionalGeneration,
    Qwen2VLImageProcessorPil,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
)

PATCH = 4
TOKEN_LIMIT = 4096
_SIZE = {"hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 2, "num_key_value_heads": 1}
QWEN_TEMPLATE = """{% for message in messages %}<|im_start|>{{ message.role }}
{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}\
{{ part.text }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
LLAVA_TEMPLATE = """{% for message in messages %}{{ message.role.upper() }}: {% for part in message.content %}\
{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %} {% endfor %}\
{% if add_generation_prompt %}ASSISTANT:{% endif %}"""


def make_tokenizer(special: list[str], template: str | None) -> PreTrainedTokenizerFast:
    """Bytes, with merges that make one token each of Yes, No and the same behind a space."""
    vocabulary = {character: i for i, character in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    merges = [("Y", "e"), ("Ye", "s"), ("N", "o"), ("Ġ", "Yes"), ("Ġ", "No")]
    for left, right in merges:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=special[0], pad_token=special[0], chat_template=template
    )


def make_qwen(folder: Path, *, version: str = "2.5", template: str | None = QWEN_TEMPLATE) -> str:
    """A Qwen2-VL, Qwen2.5-VL or Qwen3-VL."""
    torch.manual_seed(0)
    special = ["<|im_end|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
    tokenizer = make_tokenizer(special, template)
    number = tokenizer.convert_tokens_to_ids
    ids = {
        "image_token_id": number("<|image_pad|>"),
        "video_token_id": number("<|video_pad|>"),
        "vision_start_token_id": number("<|vision_start|>"),
        "vision_end_token_id": number("<|vision_end|>"),
    }
    rope = {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10000.0}
    text = {
        **_SIZE,
        "num_hidden_layers": 2,
        "vocab_size": len(tokenizer),
        "max_position_embeddings": TOKEN_LIMIT,
        "rope_parameters": rope,
        "head_dim": 16,
        "bos_token_id": None,
        "eos_token_id": number("<|im_end|>"),
        "pad_token_id": number("<|im_end|>"),
    }
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": PATCH}
    vision |= {"out_hidden_size": 32, "spatial_merge_size": 2, "temporal_patch_size": 2}
    if version == "2":
        vision |= {"embed_dim": 32, "mlp_ratio": 2}
        model = Qwen2VLForConditionalGeneration(Qwen2VLConfig(text_config=text, vision_config=vision, **ids))
    elif version == "2.5":
        vision |= {"window_size": 16, "fullatt_block_indexes": [1]}
        model = Qwen2_5_VLForConditionalGeneration(Qwen2_5_VLConfig(text_config=text, vision_config=vision, **ids))
    else:
        vision |= {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}
        model = Qwen3VLForConditionalGeneration(Qwen3VLConfig(text_config=text, vision_config=vision, **ids))
    enlarge(model)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    size = {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}
    Qwen2VLImageProcessorPil(size=size, patch_size=PATCH, merge_size=2).save_pretrained(folder)
    return str(folder)


def make_llava(folder: Path, times: int = 1) -> str:
    """A LLaVA: CLIP and Llama, whose template has a space before an answer, and whose own processor is used.

    It is `times` as wide as the other models: 4-bit kernels take whole blocks of 64 numbers.
    """
    torch.manual_seed(0)
    tokenizer = make_tokenizer(["</s>", "<image>"], LLAVA_TEMPLATE)
    size = _SIZE | {key: _SIZE[key] * times for key in ("hidden_size", "intermediate_size")}
    text = LlamaConfig(
        num_hidden_layers=2, vocab_size=len(tokenizer), max_position_embeddings=TOKEN_LIMIT, eos_token_id=None, **size
    )
    size = {"num_attention_heads": 2, "hidden_size": 16 * times, "intermediate_size": 32 * times}
    vision = CLIPVisionConfig(image_size=16, patch_size=8, num_hidden_layers=2, **size)
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    model = LlavaForConditionalGeneration(
        LlavaConfig(text_config=text, vision_config=vision, image_token_id=image_id, image_seq_length=4)
    )
    enlarge(model)
    model.save_pretrained(folder)
    LlavaProcessor(
        image_processor=CLIPImageProcessorPil(size={"shortest_edge": 16}, crop_size=16),
        tokenizer=tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=LLAVA_TEMPLATE,
    ).save_pretrained(folder)
    return str(folder)


def make_idefics(folder: Path) -> str:
    """An Idefics3, the architecture of SmolVLM: one image becomes several, with rows, columns and masks."""
    torch.manual_seed(0)
    places = [f"<row_{row}_col_{column}>" for row in (1, 2) for column in (1, 2)]
    special = ["<end_of_utterance>", "<image>", "<fake_token_around_image>", "<global-img>", *places]
    tokenizer = make_tokenizer(special, None)
    image_id = tokenizer.convert_tokens_to_ids("<image>")
    text = {"model_type": "llama", "num_hidden_layers": 2, "vocab_size": len(tokenizer), **_SIZE}
    text |= {"max_position_embeddings": TOKEN_LIMIT, "pad_token_id": 0, "bos_token_id": None, "eos_token_id": None}
    vision = {"image_size": 16, "patch_size": 4, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision |= {"hidden_size": 16, "intermediate_size": 32}
    config = Idefics3Config(text_config=text, vision_config=vision, image_token_id=image_id, scale_factor=2)
    model = Idefics3ForConditionalGeneration(config)
    enlarge(model)
    model.save_pretrained(folder)
    images = Idefics3ImageProcessorPil(size={"longest_edge": 32}, max_image_size={"longest_edge": 16})
    Idefics3Processor(images, tokenizer, image_seq_len=4, chat_template=LLAVA_TEMPLATE).save_pretrained(folder)
    return str(folder)


def enlarge(model: torch.nn.Module) -> None:
    """Weights large enough for answers to differ between images."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(6)
