"""Seconds and memory of a piece of work, on a CUDA card or a CPU."""

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile


def timed(work: Callable[[], object], seconds: float = 4.0, device: torch.device | None = None) -> float:
    """Median seconds of one call, after two that are not counted; at least three, for `seconds` in all.

    `device` is the CUDA card where None is given.
    """
    for _ in range(2):
        work()
    _finish(device)
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.monotonic()
        work()
        _finish(device)
        times.append(time.monotonic() - start)
    return statistics.median(times)


def peak_bytes(work: Callable[[], object], device: torch.device) -> int:
    """The most that one call holds beside what was held before it.

    On CUDA, what its allocator hands out; on a CPU, the tensors of torch, without what numpy and Pillow hold.
    """
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as trace:
        work()
    results = trace.profiler
    assert results is not None and results.kineto_results is not None
    events: list[Any] = [event for event in results.kineto_results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def _finish(device: torch.device | None) -> None:
    if device is None or device.type == "cuda":
        torch.cuda.synchronize(device)


class Stopwatch:
    """Wall-clock seconds inside some functions, while it is on."""

    def __init__(self, device: torch.device):
        self.device, self.seconds, self.is_on = device, 0.0, True

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            if not self.is_on:
                return function(*args, **kwargs)
            start = now(self.device)
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += now(self.device) - start

        return timed


def now(device: torch.device) -> float:
    """Seconds, after all that the device has been given is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.monotonic()
