"""A tiny random CLIP, and pictures for it."""

from pathlib import Path

import numpy as np
import torch
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
)

SIDE = 24
TOKENS = 10
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def make_clip(
    folder: Path, image_processor: dict | None = None, *, nested: bool = True, end: int = 1, side: int = SIDE
) -> str:
    """A random CLIP with its processor, saved as transformers saves it."""
    torch.manual_seed(0)
    vocabulary = {token: i for i, token in enumerate(["<|startoftext|>", "<|endoftext|>", *LETTERS])}
    vocabulary |= {f"{letter}</w>": len(vocabulary) + i for i, letter in enumerate(LETTERS)}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=TOKENS)
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    text = CLIPTextConfig(
        vocab_size=len(vocabulary), max_position_embeddings=TOKENS, bos_token_id=0, eos_token_id=end, **size
    )
    vision = CLIPVisionConfig(image_size=side, patch_size=8, **size)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=8)
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessorPil(**{"size": {"shortest_edge": side}, "crop_size": side} | (image_processor or {}))
    if nested:
        CLIPProcessor(image_processor=pictures, tokenizer=tokenizer).save_pretrained(folder)
    else:
        pictures.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return str(folder)


def pictures(count: int, height: int, width: int, *, extreme: bool = False) -> torch.Tensor:
    """Whole levels of 255, random; `extreme` are 0 and 255 only, where filters overshoot most."""
    levels = np.random.default_rng(0).integers(0, 2 if extreme else 256, (count, 3, height, width))
    return torch.tensor(levels * (255 if extreme else 1), dtype=torch.float32) / 255


def as_levels(images: torch.Tensor) -> list[np.ndarray]:
    return list((images * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy())
