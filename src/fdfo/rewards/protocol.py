"""The protocol of remote rewards, version 1: JSON over HTTP, images as base64 of PNG files.

GET  /v1/reward  ->  {"protocol": 1, "reward": "name"}
POST /v1/score   {"protocol": 1, "images": ["iVBORw0...", ...], "prompts": ["...", ...], "metadata": [{...}, ...]}
                 ->  {"protocol": 1, "scores": [0.25, null, ...], "reward": "name"}

null: this image could not be judged; in metadata, a number that was not finite. "reward" may be left out; by it a
client notices a server that was started again with another reward.

A status of 400 or above carries {"error": "..."}: 4xx for a request that would fail again, 5xx for one that may not.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from fdfo.files import finite
from fdfo.rewards.png import from_png, to_png
from fdfo.words import plural

PROTOCOL = 1
NAME_PATH, SCORE_PATH = "/v1/reward", "/v1/score"
MOST_PIXELS = 2**26
"""Most pixels of a request, 64 images of 1024 x 1024 or 0.8 GB as float32; counted before any is decoded."""


def request(images: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What a client sends for images [B, 3, H, W] in [0, 1]."""
    described = [finite(dict(entry)) for entry in metadata]  # JSON has no NaN
    return {"protocol": PROTOCOL, "images": to_png(images), "prompts": list(prompts), "metadata": described}


def read_request(payload: Any) -> tuple[Tensor, list[str], list[dict[str, Any]]]:
    """Images [B, 3, H, W] float32 in [0, 1], prompts and metadata of a request. Raises ValueError with the reason."""
    check_version(payload)
    columns = [payload.get(key) for key in ("images", "prompts", "metadata")]
    if not all(isinstance(column, list) for column in columns) or len(set(map(len, columns))) != 1 or not columns[0]:
        raise ValueError("images, prompts and metadata must be lists of the same length, from 1")
    for key, column, kind in zip(("images", "prompts", "metadata"), columns, (str, str, dict), strict=True):
        if not all(isinstance(value, kind) for value in column):
            raise ValueError(f"{key} must be a list of {kind.__name__}")
    return from_png(columns[0], MOST_PIXELS), columns[1], columns[2]


def reply(scores: Tensor, name: str) -> dict[str, Any]:
    """What a server of the named reward answers for scores [B]; NaN becomes null."""
    values = [None if score != score else score for score in scores.tolist()]
    return {"protocol": PROTOCOL, "scores": values, "reward": name}


def read_reply(payload: Any, count: int) -> list[float]:
    """The `count` scores of a reply; null becomes NaN. Raises ValueError with the reason."""
    check_version(payload)
    scores = payload.get("scores")
    if not isinstance(scores, list) or len(scores) != count:
        is_list = isinstance(scores, list)
        found = plural(len(scores), "score") if is_list else f"scores of type {type(scores).__name__}"
        raise ValueError(f"{found} for {plural(count, 'image')}")
    if not all(score is None or (isinstance(score, int | float) and not isinstance(score, bool)) for score in scores):
        raise ValueError("scores that are not all numbers or null")
    return [float("nan") if score is None else float(score) for score in scores]


def served_name(payload: Any) -> str | None:
    """The reward that a server says it serves, or None where it does not say. Raises ValueError with the reason."""
    check_version(payload)
    name = payload.get("reward")
    if not isinstance(name, str | None):
        raise ValueError(f"a name of the reward of type {type(name).__name__}")
    return name


def check_version(payload: Any) -> None:
    """Raise ValueError for a message of another protocol."""
    if not isinstance(payload, Mapping):
        raise ValueError(f"a {type(payload).__name__} where an object was expected")
    if payload.get("protocol") != PROTOCOL:
        raise ValueError(f"protocol {str(payload.get('protocol'))[:20]!r}; this side speaks {PROTOCOL}")
