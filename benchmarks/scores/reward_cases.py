"""Every score that can be built without a download: its entry, and a folder with what `load` reads beside the weights.

Tokenizers know the words of the prompts only; what they make is as long as the published ones' (77 tokens for CLIP, 35
for BLIP), or nearly, with one token for each word and mark.
"""

import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from torch.nn import Module
from transformers import BlipConfig, CLIPConfig, PreTrainedTokenizerFast, Qwen2_5_VLConfig, RTDetrV2Config

from benchmarks.scores.network_shapes import Shapes
from benchmarks.scores.networks import random_head, random_weights
from fdfo.config.tree import RewardConfig
from fdfo.prompts import load_prompts
from fdfo.prompts.source import evenly_spread
from fdfo.records import Prompt
from fdfo.rewards.questions import QUESTIONS
from fdfo.rewards.weighted import WeightedSum
from fdfo.shapes.scene import IMAGE_SIZE

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
    shipped: bool = False
    """Whether its weights are in the package; random ones otherwise."""


def prompts() -> list[Prompt]:
    """`IMAGES` captions of the shapes world."""
    return list(evenly_spread(load_prompts(None, "shapes-train"), IMAGES))


def cases(root: Path, shapes: Shapes) -> list[Case]:
    """Every case, with the folders of its networks below `root`."""
    clip_h, clip_l = _clip(root / "clip-h", shapes.clip_h), _clip(root / "clip-l", shapes.clip_l)
    head, blip = _head(root / "head", shapes.clip_l), _blip(root / "blip", shapes.blip)
    found: dict[str, Any] = {
        "model": _detector(root / "detector", shapes.detector, shapes.detected_side),
        "color_model": clip_l,
    }

    def case(title: str, network: str, name: str, metadata: Mapping[str, Any] | None = None, **options: Any) -> Case:
        entry = RewardConfig(name=name, label=title, **options)
        words = " and ".join(shapes.names.get(part, part) for part in network.split(" + "))
        return Case(title=title, network=words, entry=entry, side=shapes.side, metadata=metadata or {})

    return [
        case("jpeg", "none", "jpeg"),
        _shapes_case("shapes-verifier", "none"),
        _shapes_case("shapes-contrastive", "the package's own"),
        case("pickscore", "clip_h", "pickscore", model=clip_h, processor=clip_h),
        case("clip-h14", "clip_h", "clip", model=clip_h),
        case("hpsv2", "clip_h", "hpsv2", model=clip_h, processor=clip_h),
        case("clip-l14", "clip_l", "clip", model=clip_l),
        case("aesthetic", "clip_l + a head", "aesthetic", model=clip_l, **head),
        case("image-reward", "blip", "image-reward", **blip),
        case("detect", "detector + clip_l", "detect", _wish("counting"), **found),
        case("detect a colour", "detector + clip_l", "detect", _wish("colors", color="red"), **found, threshold=0.0),
        case("vlm-alignment", "qwen", "vlm", model=_qwen(root / "qwen", shapes.qwen)),
        case("ocr", "RapidOCR's", "ocr", {"text": "circle"}),
    ]


def loaded(case: Case, device: torch.device) -> tuple[WeightedSum, list[Module]]:
    """A case's score as a run loads it, in float32 unless it has a dtype of its own, and its networks."""
    reward = WeightedSum([case.entry])
    made: list[Module] = []
    with nullcontext(made) if case.shipped else random_weights(device) as made:
        reward.load(device, torch.float32)
    own = [network for part in reward.rewards for network in getattr(part, "networks", ())]
    return reward, list({id(network): network for network in (*own, *made)}.values())


def _shapes_case(name: str, network: str) -> Case:
    return Case(title=name, network=network, entry=RewardConfig(name=name), side=IMAGE_SIZE, shipped=True)


def _wish(tag: str, **more: Any) -> dict[str, Any]:
    return {"tag": tag, "include": [{"class": _CLASS, "count": 1, **more}]}


def _clip(folder: Path, shape: Mapping[str, Any]) -> str:
    tokenizer = _tokenizer(["<|startoftext|>", "<|endoftext|>"], ends=True)
    tokenizer.save_pretrained(folder)
    numbers = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config: Any = CLIPConfig(**{**shape, "text_config": {**shape["text_config"], **numbers}})
    config.save_pretrained(folder)
    side = config.vision_config.image_size
    _write(folder, {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}})
    return str(folder)


def _head(folder: Path, clip: Mapping[str, Any]) -> dict[str, Any]:
    folder.mkdir()
    save_file(random_head(clip["projection_dim"]), folder / "head.safetensors")
    return {"head": str(folder), "head_file": "head.safetensors"}


def _blip(folder: Path, shape: Mapping[str, Any]) -> dict[str, Any]:
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
