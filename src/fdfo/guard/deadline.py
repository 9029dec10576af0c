"""Calls that are given up after a while."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeVar

import torch

from fdfo.background import Background

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """What `work` returns, in a thread of its own. Raises Late, and leaves it to itself, after so long.

    A call that hangs in a library cannot be ended from outside, only left behind; its thread does not keep the program
    from ending.
    """
    grad = torch.is_grad_enabled()  # which, as the card, belongs to a thread
    card = torch.cuda.device(torch.cuda.current_device()) if torch.cuda.is_initialized() else nullcontext()

    def alone() -> T:
        with torch.set_grad_enabled(grad), card:
            return work()

    return Background(alone).result(within_s=seconds)
