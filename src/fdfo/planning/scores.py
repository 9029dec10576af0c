"""How much memory the networks of scores take, before any weight is read."""

from inspect import signature
from math import prod
from pathlib import Path

import torch
from safetensors import safe_open

from fdfo.config.tree import RewardConfig
from fdfo.errors import PluginError
from fdfo.plugins import find

PARAMETERS = {
    "yuvalkirstain/PickScore_v1": 986_109_441,
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": 986_109_441,
    "adams-story/HPSv2-hf": 986_109_441,
    "xswu/HPSv2": 986_109_441,
    "openai/clip-vit-large-patch14": 427_616_513,
    "Qwen/Qwen2.5-VL-7B-Instruct": 8_292_166_656,
    "Qwen/Qwen2.5-VL-3B-Instruct": 3_754_622_976,
}
"""Of published models, as their weight files list them."""

ELSEWHERE = ("remote", "vlm-server")
"""Scores whose network is in another process."""


BYTES = {"8bit": 1.1, "4bit": 0.65}
"""Bytes of a parameter in few bits, in the mean: embeddings, norms and scales are kept wider."""


def score_bytes(entry: RewardConfig) -> int | None:
    """Bytes of the weights of a score's network; 0 without one, None where it is not known."""
    if ".py:" in entry.name or entry.name == "learned":  # whose folder says which network it is on
        return None
    if entry.name in ELSEWHERE:
        return 0
    try:
        defaults = signature(find("rewards", entry.name)).parameters
    except PluginError:
        return None
    if "model" not in defaults:
        return 0
    model = str(entry.options.get("model", defaults["model"].default))
    dtype = str(entry.options.get("dtype", defaults["dtype"].default if "dtype" in defaults else "float32"))
    known = _in_folder(Path(model)) if Path(model).is_dir() else PARAMETERS.get(model)
    size: float = BYTES.get(str(entry.options.get("quantize")), float(getattr(torch, dtype).itemsize))
    return None if known is None else round(known * size)


def _in_folder(folder: Path) -> int | None:
    """Parameters in the weight files of a folder; None without such files."""
    count = 0
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            count += sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return count or None
