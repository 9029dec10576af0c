"""Architectures of the networks of scores: the published ones, and small ones of the same classes for a CPU.

Only the fields that decide shapes and sizes; the published ones are as in `config.json` of the named hub repositories.
"""

from dataclasses import dataclass
from typing import Any

from fdfo.models.architectures.parts import QWEN25_VL_7B

CLIP_H: dict[str, Any] = {
    "text_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "hidden_act": "gelu",
        "projection_dim": 1024,
    },
    "vision_config": {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_attention_heads": 16,
        "num_hidden_layers": 32,
        "hidden_act": "gelu",
        "patch_size": 14,
        "projection_dim": 1024,
    },
    "projection_dim": 1024,
}
"""laion/CLIP-ViT-H-14-laion2B-s32B-b79K; PickScore and HPSv2 are its children."""

CLIP_L: dict[str, Any] = {
    "text_config": {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "projection_dim": 768,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "projection_dim": 768,
    },
    "projection_dim": 768,
}
"""openai/clip-vit-large-patch14."""

_, _QWEN = QWEN25_VL_7B
QWEN: dict[str, Any] = {
    **_QWEN,
    "text_config": {
        **_QWEN["text_config"],
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    },
    "image_token_id": 151655,
}
"""Qwen/Qwen2.5-VL-7B-Instruct."""

BLIP: dict[str, Any] = {
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_attention_heads": 16,
        "num_hidden_layers": 24,
        "image_size": 224,
        "patch_size": 16,
    },
    "text_config": {
        "vocab_size": 30524,
        "hidden_size": 768,
        "encoder_hidden_size": 1024,
        "intermediate_size": 3072,
        "num_attention_heads": 12,
        "num_hidden_layers": 12,
        "max_position_embeddings": 512,
    },
}
"""THUDM/ImageReward's med_config.json, and the `large` vision transformer of its code."""

DETECTOR: dict[str, Any] = {}
"""PekingU/rtdetr_v2_r50vd, whose values transformers takes where none are given."""

_LAYERS = {"hidden_size": 64, "intermediate_size": 256, "num_attention_heads": 1, "num_hidden_layers": 2}
_SEEN = {**_LAYERS, "image_size": 32, "patch_size": 8}
_SMALL_CLIP: dict[str, Any] = {
    "text_config": {**_LAYERS, "vocab_size": 512},
    "vision_config": _SEEN,
    "projection_dim": 64,
}
_MORE_LAYERS = {"hidden_size": 192, "intermediate_size": 768, "num_attention_heads": 3, "num_hidden_layers": 6}
_LARGER_CLIP: dict[str, Any] = {
    "text_config": {**_MORE_LAYERS, "vocab_size": 512},
    "vision_config": {**_MORE_LAYERS, "image_size": 64, "patch_size": 8},
    "projection_dim": 64,
}
"""Takes about as long as the embedded model takes to sample, which makes it worth overlapping."""
_SMALL_BLIP: dict[str, Any] = {
    "vision_config": _SEEN,
    "text_config": {
        **_LAYERS,
        "encoder_hidden_size": 64,
        "vocab_size": 512,
        "max_position_embeddings": 64,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "sep_token_id": 0,
    },
}
_SMALL_QWEN: dict[str, Any] = {
    "text_config": {
        **_LAYERS,
        "num_key_value_heads": 1,
        "vocab_size": 512,
        "rope_parameters": {"rope_type": "default", "mrope_section": [8, 12, 12], "rope_theta": 1e6},
        "bos_token_id": None,
        "eos_token_id": None,
    },
    "vision_config": {
        "depth": 2,
        "hidden_size": 64,
        "intermediate_size": 256,
        "num_heads": 1,
        "out_hidden_size": 64,
        "window_size": 56,
        "fullatt_block_indexes": [1],
    },
}
_SMALL_DETECTOR: dict[str, Any] = {
    "backbone_config": {
        "model_type": "rt_detr_resnet",
        "embedding_size": 16,
        "hidden_sizes": [16, 32, 64, 128],
        "depths": [1, 1, 1, 1],
        "out_features": ["stage2", "stage3", "stage4"],
    },
    "encoder_in_channels": [32, 64, 128],
    "encoder_hidden_dim": 32,
    "encoder_ffn_dim": 64,
    "encoder_attention_heads": 2,
    "d_model": 32,
    "decoder_in_channels": [32, 32, 32],
    "decoder_ffn_dim": 64,
    "decoder_attention_heads": 2,
    "decoder_layers": 2,
    "num_queries": 30,
}


@dataclass(frozen=True, kw_only=True)
class Shapes:
    """Configurations of all networks, and the images that go with them."""

    clip_h: dict[str, Any]
    clip_l: dict[str, Any]
    blip: dict[str, Any]
    qwen: dict[str, Any]
    detector: dict[str, Any]
    names: dict[str, str]
    """Of the networks, for a reader."""
    side: int
    """Pixels of the images."""
    detected_side: int
    """Pixels to which the detector's are resized."""


PUBLISHED = Shapes(
    clip_h=CLIP_H,
    clip_l=CLIP_L,
    blip=BLIP,
    qwen=QWEN,
    detector=DETECTOR,
    names={
        "clip_h": "CLIP ViT-H/14",
        "clip_l": "CLIP ViT-L/14",
        "blip": "BLIP, ViT-L/16 and BERT-base",
        "qwen": "Qwen2.5-VL-7B",
        "detector": "RT-DETR v2 R50",
    },
    side=512,
    detected_side=640,
)
SMALL = Shapes(
    clip_h=_SMALL_CLIP,
    clip_l=_LARGER_CLIP,
    blip=_SMALL_BLIP,
    qwen=_SMALL_QWEN,
    detector=_SMALL_DETECTOR,
    names={
        "clip_h": "CLIP of 2 layers",
        "clip_l": "CLIP of 6 layers",
        "blip": "BLIP of 2 layers",
        "qwen": "Qwen2.5-VL of 2 layers",
        "detector": "RT-DETR v2 of 2 layers",
    },
    side=32,
    detected_side=64,
)
