"""A CUDA card that is not there: `VirtualCard`."""

from benchmarks.memory.virtual.card import VirtualCard
from benchmarks.memory.virtual.tensor import CARD, HOST

__all__ = ["CARD", "HOST", "VirtualCard"]
