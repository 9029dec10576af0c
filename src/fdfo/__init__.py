"""Reinforcement learning for text-to-image flow models, by finite difference flow optimization."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["__version__", "load_config", "train"]

if TYPE_CHECKING:
    from fdfo.config import load_config
    from fdfo.training import train

_LAZY = {"load_config": "fdfo.config", "train": "fdfo.training"}


def __getattr__(name: str) -> object:
    """Import the heavy parts when they are first used, so that `import fdfo` stays fast."""
    if name not in _LAZY:
        raise AttributeError(f"module 'fdfo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)
