"""The loop around every method: distributed, resumable, deterministic."""

from fdfo.training.run import train

__all__ = ["train"]
