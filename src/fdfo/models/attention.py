"""Which kernel computes attention."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from fdfo.config.tree import AttentionKernel
from fdfo.errors import SettingError

_BACKENDS = {
    "flash": SDPBackend.FLASH_ATTENTION,
    "efficient": SDPBackend.EFFICIENT_ATTENTION,
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "math": SDPBackend.MATH,
}


def check_attention(kernel: AttentionKernel, device: torch.device, dtype: torch.dtype) -> None:
    """Try the kernel on a small product. Raises SettingError where this device or precision has none."""
    q = torch.zeros(1, 1, 8, 64, device=device, dtype=dtype)
    try:
        with attention_kernel(kernel):
            torch.nn.functional.scaled_dot_product_attention(q, q, q)
    except RuntimeError as error:
        raise SettingError(
            f"policy.attention={kernel}: not for {dtype} on {device.type} here; use auto, which takes what there is"
        ) from error


def attention_kernel(kernel: AttentionKernel) -> AbstractContextManager[object]:
    """Attention by this kernel alone; `auto` leaves the choice to torch."""
    return nullcontext() if kernel == "auto" else sdpa_kernel(_BACKENDS[kernel])


def checkpoint_with(kernel: Callable[[], AttentionKernel]) -> Callable[..., Any]:
    """torch's checkpoint, which computes a block again in its backward pass, with the kernel of the forward pass."""
    return partial(checkpoint, use_reentrant=False, context_fn=lambda: (nullcontext(), attention_kernel(kernel())))
