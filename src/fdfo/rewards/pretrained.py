"""Loading a reward's network from a folder or the hub, with errors that name the reward and the fix."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fdfo.errors import RewardError
from fdfo.hub import LOADING_ERRORS, hub_advice, reaching_hub

DTYPES = ("bfloat16", "float16", "float32")
"""Precisions of a network, as options name them."""


def dtype_problems(dtype: object) -> list[str]:
    """What is wrong with the option `dtype`, for a message."""
    return [] if dtype in DTYPES else [f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}"]


def network_dtype(option: str, given: torch.dtype) -> torch.dtype:
    """The precision of a network by its option; float32, the default, leaves it to whoever loads it."""
    return given if option == "float32" else getattr(torch, option)


def read_config(model: str, revision: str | None) -> dict[str, Any]:
    """The config.json of a folder or hub id; fetching it first finds most mistakes before any weight moves."""
    if Path(model).is_dir():
        path = Path(model) / "config.json"
    else:
        from huggingface_hub import hf_hub_download

        path = Path(hf_hub_download(model, "config.json", revision=revision))
    return json.loads(path.read_text(encoding="utf-8"))


@contextmanager
def explained(reward: str, model: str, revision: str | None) -> Iterator[None]:
    """Turn what the libraries raise inside into a RewardError that names the reward, the model and the fix."""
    from safetensors import SafetensorError

    try:
        with reaching_hub(model):
            yield
    except (*LOADING_ERRORS, RuntimeError, SafetensorError) as error:
        raise RewardError(f"reward {reward!r}, model {model!r}: {hub_advice(error, revision)}") from error
