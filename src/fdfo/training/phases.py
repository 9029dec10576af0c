"""Measures the seconds of each phase of a run."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fdfo import machine

PHASES: tuple[str, ...] = ("encode", "sample", "decode", "score", "train", "evaluate", "save")


class Phases:
    """Adds up wall-clock seconds by phase; waits for the device at the end of each."""

    def __init__(self, device: torch.device):
        self.device = device
        self.seconds = _zeros()

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        finally:
            if self.device.type == "cuda":
                torch.cuda.synchronize(self.device)
            self.seconds[name] += time.monotonic() - start

    def take(self) -> dict[str, float]:
        """Seconds since the last call, by phase."""
        taken, self.seconds = self.seconds, _zeros()
        return taken


def _zeros() -> dict[str, float]:
    return dict.fromkeys(PHASES, 0.0)


def peak_memory_gib(device: torch.device) -> float:
    """Peak memory so far: of the device for CUDA, of this process otherwise."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    return machine.peak_memory_gib()
