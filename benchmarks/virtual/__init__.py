"""A CUDA card that is not there: `VirtualCard`."""

from benchmarks.virtual.card import VirtualCard
from benchmarks.virtual.tensor import CARD, HOST

__all__ = ["CARD", "HOST", "VirtualCard"]
