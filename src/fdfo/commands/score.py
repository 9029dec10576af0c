"""The score that a command is about."""

from collections.abc import Sequence

import torch

from fdfo.config.load import reward_entries
from fdfo.config.tree import RewardConfig
from fdfo.documents import BadDocument, BadSyntax, parse_yaml
from fdfo.errors import ConfigError, first_line


def named_score(name: str, options: Sequence[str]) -> tuple[RewardConfig, ...]:
    """The entries of a score or preset with `option=value` texts. Raises ConfigError with all problems."""
    problems = [f"{text!r}: options look like option=value" for text in options if "=" not in text]
    if problems:
        raise ConfigError("the command line", problems)
    entry = {"name": name}
    for text in options:
        key, _, value = text.partition("=")
        try:
            entry[key] = parse_yaml(value)
        except BadSyntax:
            entry[key] = value
        except BadDocument as error:
            raise ConfigError("the command line", [f"{key}: {error}"]) from None
    entries = reward_entries([entry], "the command line")
    if any(one.standardize for one in entries):
        problem = "standardize belongs to the entry of a run, as {name: remote, standardize: true}; remove it here"
        raise ConfigError("the command line", [problem])
    if any(one.when for one in entries):
        raise ConfigError("the command line", ["when belongs to the entry of a run; remove it here"])
    return entries


def chosen_device(name: str | None) -> torch.device:
    """The named device, or a GPU if there is one. Raises ConfigError for one that cannot be used."""
    try:
        device = torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = first_line(error)
        raise ConfigError("the command line", [f"--device {name}: {reason}"]) from error
    return device
