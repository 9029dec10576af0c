"""Every score that can be built without a download: its entry, and a folder with what `load` reads beside the weights.

`published` has the full sizes of networks.py, `small` the same classes with layers for a CPU. Tokenizers know the words
of the prompts only; what they make is as long as the published ones' (77 tokens for CLIP, 35 for BLIP), or nearly.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BlipConfig, CLIPConfig, PreTrainedTokenizerFast, Qwen2_5_VLConfig, RTDetrV2Config

from benchmarks.networks import BLIP, CLIP_H, CLIP_L, QWEN, random_head
from fdfo.config.tree import RewardConfig
from fdfo.prompts import load_prompts
from fdfo.prompts.source import evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.questions import QUESTIONS
from fdfo.shapes.scene import IMAGE_SIZE

_LAYERS = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1, "num_hidden_layers": 2}
_SEEN = {**_LAYERS, "image_size": 32, "patch_size": 8}
SMALL_CLIP: dict[str, Any] = {
    "text_config": {**_LAYERS, "vocab_size": 512},
    "vision_config": _SEEN,
    "projection_dim": 64,
}
SMALL_QWEN: dict[str, Any] = {
    "text_config": {
        **_LAYERS,
        "num_key_value_heads": 1,
        "vocab_size": 512,
        "bos_token_id": None,
        "eos_token_id": None,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
    },
    "vision_config": {
        **{"depth": 2, "hidden_size": 64, "intermediate_size": 256, "num_heads": 1, "out_hidden_size": 64},
        **{"window_size": 56, "fullatt_block_indexes": [1]},
    },
}
SMALL_BLIP: dict[str, Any] = {
    "vision_config": _SEEN,
    "text_config": {
        **{**_LAYERS, "encoder_hidden_size": 64, "vocab_size": 512, "max_position_embeddings": 64},
        **{"bos_token_id": 0, "eos_token_id": 0, "sep_token_id": 0},
    },
}
SMALL_DETECTOR: dict[str, Any] = {
    "backbone_config": {
        "model_type": "rt_detr_resnet",
        "embedding_size": 16,
        "hidden_sizes": [16, 32, 64, 128],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage2", "stage3", "stage4"],
    },
    "encoder_in_channels": [32, 64, 128],
    **{"encoder_hidden_dim": 32, "encoder_ffn_dim": 64, "encoder_attention_heads": 2},
    **{"d_model": 32, "decoder_in_channels": [32, 32, 32], "decoder_ffn_dim": 64, "decoder_attention_heads": 2},
    **{"decoder_layers": 2, "num_queries": 30},
}
DETECTOR: dict[str, Any] = {}
"""PekingU/rtdetr_v2_r50vd has the values that transformers takes where none are given."""

IMAGES = 32
"""As many prompts, one for each image of the largest batch."""
_CLASS = "cow"
_CHAT = """<|im_start|>system
You are a helpful assistant.<|im_end|>
{% for message in messages %}<|im_start|>{{ message.role }}
{% for part in message.content %}{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>{% else %}\
{{ part.text }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
_CHAT_TOKENS = ("<|im_end|>", "<|im_start|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>")


@dataclass(frozen=True, kw_only=True)
class Case:
    """A score to measure."""

    title: str
    network: str
    """In words."""
    entry: RewardConfig
    side: int
    """Pixels of its images."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What the prompts say beside their text."""
    published_weights: bool = False
    """Whether the weights that it reads are there; random ones else."""


def prompts() -> list[Prompt]:
    """`IMAGES` captions of the shapes world."""
    return list(evenly_spread(load_prompts(None, "shapes-train"), IMAGES))


def cases(root: Path, *, full_size: bool) -> list[Case]:
    """Every case, with its folders below `root`; images of 512 pixels at full size, and of 32 or 64 otherwise."""
    clip_h, clip_l, qwen, blip, detector = (
        (CLIP_H, CLIP_L, QWEN, BLIP, DETECTOR)
        if full_size
        else (SMALL_CLIP, SMALL_CLIP, SMALL_QWEN, SMALL_BLIP, SMALL_DETECTOR)
    )
    side, detected = (512, 640) if full_size else (32, 64)
    huge, large = _clip(root / "clip-h", clip_h), _clip(root / "clip-l", clip_l)
    found = _detector(root / "detector", detector, detected)
    words = [
        "CLIP ViT-H/14",
        "CLIP ViT-L/14",
        "BLIP ViT-L/16 and BERT-base",
        "Qwen2.5-VL-7B",
        "RT-DETR v2 R50",
    ]
    h, l, b, q, d = words if full_size else [f"small {text.split()[0].removesuffix('-7B')}" for text in words]

    def case(title: str, network: str, name: str, metadata: Mapping[str, Any] | None = None, **options: Any) -> Case:
        entry = RewardConfig(name=name, label=title, **options)
        return Case(title=title, network=network, entry=entry, side=side, metadata=metadata or {})

    return [
        case("jpeg", "none", "jpeg"),
        *(_shapes(name) for name in ("shapes-verifier", "shapes-contrastive")),
        case("pickscore", h, "pickscore", model=huge, processor=huge),
        case("clip-h14", h, "clip", model=huge),
        case("hpsv2", h, "hpsv2", model=huge, processor=huge),
        case("clip-l14", l, "clip", model=large),
        case("aesthetic", f"{l} and a head", "aesthetic", model=large, **_head(root / "head", clip_l)),
        case("image-reward", b, "image-reward", **_blip(root / "blip", blip)),
        case("detect", d, "detect", _wish("counting"), model=found, color_model=large),
        case(
            "detect, with a colour",
            f"{d} and {l}",
            "detect",
            _wish("colors", color="red"),
            **{"model": found, "color_model": large, "threshold": 0.0},
        ),
        case("vlm-alignment", q, "vlm", model=_qwen(root / "qwen", qwen)),
        case("ocr", "RapidOCR's", "ocr"),
    ]


def _shapes(name: str) -> Case:
    network = "the package's own" if name == "shapes-contrastive" else "none"
    return Case(title=name, network=network, entry=RewardConfig(name=name), side=IMAGE_SIZE, published_weights=True)


def _wish(tag: str, **more: Any) -> dict[str, Any]:
    return {"tag": tag, "include": [{"class": _CLASS, "count": 1, **more}]}


def _clip(folder: Path, shape: Mapping[str, Any]) -> str:
    tokenizer = _tokenizer(["<|startoftext|>", "<|endoftext|>"], ends=True)
    tokenizer.save_pretrained(folder)
    numbers = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPConfig(**{**shape, "text_config": {**shape["text_config"], **numbers}})
    config.save_pretrained(folder)
    side = config.vision_config.image_size
    _write(folder, {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}})
    return str(folder)


def _head(folder: Path, clip: Mapping[str, Any]) -> dict[str, str]:
    folder.mkdir()
    save_file(random_head(clip["projection_dim"]), folder / "head.safetensors")
    return {"head": str(folder), "head_file": "head.safetensors"}


def _blip(folder: Path, shape: Mapping[str, Any]) -> dict[str, str]:
    _tokenizer(["[CLS]", "[SEP]"], ends=True).save_pretrained(folder / "words")
    BlipConfig(**shape).save_pretrained(folder)
    return {"model": str(folder), "tokenizer": str(folder / "words")}


def _qwen(folder: Path, shape: Mapping[str, Any]) -> str:
    tokenizer = _tokenizer(_CHAT_TOKENS, ends=False, chat_template=_CHAT)
    tokenizer.save_pretrained(folder)
    names = ("vision_start", "vision_end", "image", "video")
    numbers = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(_CHAT_TOKENS[i]) for i, name in enumerate(names, 2)}
    Qwen2_5_VLConfig(**{**shape, **numbers}).save_pretrained(folder)
    _write(folder, {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 14, "merge_size": 2})
    return str(folder)


def _detector(folder: Path, shape: Mapping[str, Any], side: int) -> str:
    """Random weights find no class in particular: each of COCO's 80 has the same name."""
    RTDetrV2Config(**shape, id2label=dict.fromkeys(range(80), _CLASS)).save_pretrained(folder)
    processor = {"image_processor_type": "RTDetrImageProcessor", "do_normalize": False, "do_resize": True}
    _write(folder, {**processor, "size": {"height": side, "width": side}})
    return str(folder)


def _tokenizer(special: Sequence[str], *, ends: bool, **options: Any) -> PreTrainedTokenizerFast:
    """Words and punctuation, a token each; between the two special tokens where it `ends` its texts."""
    texts = [*(prompt.text for prompt in prompts()), *QUESTIONS.values(), _CHAT, "user Yes No"]
    split = Whitespace()
    known = sorted({word for text in texts for word, _ in split.pre_tokenize_str(text)})
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(["[UNK]", *known])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = split
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in special])
    begin, end = (special[0], special[1]) if ends else (None, special[0])
    if ends:
        pairs = [(token, tokenizer.token_to_id(token)) for token in special]
        tokenizer.post_processor = TemplateProcessing(single=f"{begin} $A {end}", special_tokens=pairs)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=begin, eos_token=end, pad_token=end, unk_token="[UNK]", **options
    )


def _write(folder: Path, image_processor: Mapping[str, Any]) -> None:
    (folder / "preprocessor_config.json").write_text(json.dumps(image_processor), encoding="utf-8")
