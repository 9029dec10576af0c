"""The loop around every method: distributed, resumable, deterministic."""

from fdfo.training.loop import Trainer, train

__all__ = ["Trainer", "train"]
