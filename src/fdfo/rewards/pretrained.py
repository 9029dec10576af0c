"""Loading a reward's network from a folder or the hub, with errors that name the reward and the fix."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fdfo.errors import RewardError
from fdfo.hub import LOADING_ERRORS, hub_advice


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
        yield
    except (*LOADING_ERRORS, RuntimeError, SafetensorError) as error:
        raise RewardError(f"reward {reward!r}, model {model!r}: {hub_advice(error, revision)}") from error
