"""Networks of scores from their configurations, with random weights made where they will be: nothing is downloaded.

The full sizes are those of the `config.json` files of the named hub repositories.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.nn import Linear, Module, ModuleDict
from transformers import BlipConfig, BlipTextModel, BlipVisionModel, PreTrainedModel

from fdfo.rewards import image_reward

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

QWEN: dict[str, Any] = {
    "text_config": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
        "rope_parameters": {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6},
    },
    "vision_config": {
        "depth": 32,
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "out_hidden_size": 3584,
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

HEAD_WIDTHS = (1024, 128, 64, 16, 1)
"""Of the layers of ImageReward's and the aesthetic predictor's head; dropout between them is off."""
HEAD_PLACES = (0, 2, 4, 6, 7)
"""Their numbers in both published networks."""


def random_network(kind: type[PreTrainedModel], config: Any, device: torch.device, dtype: torch.dtype, **more: Any) -> Any:
    """A network of this class, configuration and further arguments, in evaluation mode."""
    with torch.device(device):
        return kind._from_config(config, dtype=dtype, **more).eval()


def random_head(width: int) -> dict[str, Tensor]:
    """Weights of an affine head on embeddings of this width, by their published names: `layers.0.weight` and so on."""
    sizes = zip(HEAD_PLACES, pairwise((width, *HEAD_WIDTHS)), strict=True)
    return ModuleDict({"layers": ModuleDict({str(place): Linear(*size) for place, size in sizes})}).state_dict()


@contextmanager
def random_weights(device: torch.device) -> Iterator[list[Module]]:
    """Inside, reading a network from a folder makes one of the folder's configuration, with random weights on `device`.

    Nothing else of what a score does to load is replaced. The networks are added to the list that is given.
    """
    made: list[Module] = []

    def read(kind: Any, folder: str, *_: Any, config: Any = None, **options: Any) -> Any:
        config = config or kind.config_class.from_pretrained(folder)
        network = random_network(kind, config, device, options.get("dtype", torch.float32))
        made.append(network)
        return (network, {"missing_keys": []}) if options.get("output_loading_info") else network

    with (
        torch.device(device),
        patch.object(PreTrainedModel, "from_pretrained", classmethod(read)),
        patch.object(image_reward, "read_pickled", lambda path, arrange: _random_blip(path.parent, device)),
    ):
        yield made


def _random_blip(folder: Path, device: torch.device) -> Mapping[str, Tensor]:
    """ImageReward's weights under the names that its loader gives them."""
    config = BlipConfig.from_pretrained(folder)
    vision = random_network(BlipVisionModel, config.vision_config, device, torch.float32)
    text = random_network(BlipTextModel, config.text_config, device, torch.float32, add_pooling_layer=False)
    head = {f"head.{name.removeprefix('layers.')}": value for name, value in random_head(text.config.hidden_size).items()}
    return {**ModuleDict({"vision": vision, "text": text}).state_dict(), **head}
