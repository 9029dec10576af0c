"""Reinforcement learning for text-to-image flow models, by finite difference flow optimization."""

from typing import TYPE_CHECKING

__version__ = "0.2.0"
__all__ = [
    "AdapterConfig",
    "Config",
    "EvalConfig",
    "Evaluated",
    "FdfoError",
    "LogConfig",
    "OptimConfig",
    "PolicyConfig",
    "Prompt",
    "PromptsConfig",
    "RewardConfig",
    "Saved",
    "TrainConfig",
    "Trained",
    "Trainer",
    "__version__",
    "evaluate",
    "export",
    "generate",
    "load_config",
    "load_policy",
    "rewards",
    "train",
]

if TYPE_CHECKING:
    from fdfo import rewards
    from fdfo.api import evaluate, export, generate
    from fdfo.config import load_config
    from fdfo.config.tree import (
        AdapterConfig,
        Config,
        EvalConfig,
        LogConfig,
        OptimConfig,
        PolicyConfig,
        PromptsConfig,
        RewardConfig,
        TrainConfig,
    )
    from fdfo.errors import FdfoError
    from fdfo.models import load_policy
    from fdfo.records import Prompt
    from fdfo.training import Trainer, train
    from fdfo.training.events import Evaluated, Saved, Trained

_LAZY = {
    "fdfo.api": ("evaluate", "export", "generate"),
    "fdfo.config": ("load_config",),
    "fdfo.config.tree": tuple(name for name in __all__ if name.endswith("Config")),
    "fdfo.errors": ("FdfoError",),
    "fdfo.models": ("load_policy",),
    "fdfo.records": ("Prompt",),
    "fdfo.training": ("Trainer", "train"),
    "fdfo.training.events": ("Evaluated", "Saved", "Trained"),
}


def __getattr__(name: str) -> object:
    """Import the heavy parts when they are first used, so that `import fdfo` stays fast."""
    from importlib import import_module

    if name == "rewards":
        return import_module("fdfo.rewards")
    for module, names in _LAZY.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'fdfo' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
