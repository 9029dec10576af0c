"""Scores as an option of a command names them."""

from typing import Any

from fdfo.documents import BadDocument, parse_yaml
from fdfo.errors import ConfigError


def score_list(rewards: str) -> list[Any]:
    """`a,b`, or the list of a configuration: `[a, {name: b, batch_size: 4}]`. Raises ConfigError."""
    if not rewards.lstrip().startswith("["):
        return [name.strip() for name in rewards.split(",")]
    try:
        return parse_yaml(rewards)
    except BadDocument as error:
        raise ConfigError("--rewards", [f"cannot be read as a list: {error}"]) from error
