"""Functions of torch that look at a tensor's device below Python, where a virtual card is not one."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.autograd import graph
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from benchmarks.memory.virtual.tensor import CARD, VirtualTensor, pinned
from fdfo.models.forward_memory import LOWERED, RAISED

aten = torch.ops.aten


class CardFunctions(TorchFunctionMode):
    """Autocast, attention and conversions as with a card."""

    def __init__(self) -> None:
        super().__init__()
        self.asks_for_meta = False
        """Whether code in Python names the meta device, as loaders do."""
        self.cast_weights: dict[int, Tensor] = {}
        """Trained weights in 16 bits, until the outermost autocast is left."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {name: CARD if _is("cuda", value) else value for name, value in (kwargs or {}).items()}
        if any(_is("meta", value) for value in (*args, *kwargs.values())):
            self.asks_for_meta = True
            try:
                return func(*args, **kwargs)
            finally:
                self.asks_for_meta = False
        if func is Tensor.backward:
            with self:  # what a backward pass computes again is met here as well
                return _backward(*args, **kwargs)
        if torch.is_autocast_enabled("cuda") and (func in LOWERED or func in RAISED):
            dtype = torch.get_autocast_dtype("cuda") if func in LOWERED else torch.float32
            args, kwargs = tree_map_only(VirtualTensor, lambda tensor: self._cast(tensor, dtype), (args, kwargs))
        return REPLACED.get(func, func)(*args, **kwargs)

    def _cast(self, tensor: VirtualTensor, dtype: torch.dtype) -> Tensor:
        if not tensor.is_floating_point() or tensor.dtype == dtype:
            return tensor
        if not (tensor.is_leaf and tensor.requires_grad and dtype != torch.float32):
            return tensor.to(dtype)
        if id(tensor) not in self.cast_weights:
            self.cast_weights[id(tensor)] = tensor.to(dtype)
        return self.cast_weights[id(tensor)]


def _backward(tensor: Tensor, gradient: Tensor | None = None, retain_graph: bool | None = None, **_: Any) -> None:
    """Past torch.autograd.backward, inside which no function is met."""
    slope = torch.ones_like(tensor) if gradient is None else gradient
    graph._engine_run_backward(
        (tensor,), (slope,), bool(retain_graph), False, (), allow_unreachable=True, accumulate_grad=True
    )


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """By the kernel that torch takes on CUDA: flash in 16 bits without a mask, else the efficient one."""
    q, k, v = query, key, value
    if not isinstance(q, VirtualTensor):
        on_host = functional.scaled_dot_product_attention
        return on_host(q, k, v, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=enable_gqa)
    if torch.is_autocast_enabled("cuda"):
        q, k, v = (part.to(torch.get_autocast_dtype("cuda")) for part in (q, k, v))
    if enable_gqa:
        k, v = (part.repeat_interleave(q.shape[1] // k.shape[1], 1) for part in (k, v))
    if attn_mask is None and q.dtype != torch.float32:
        return aten._scaled_dot_product_flash_attention(q, k, v, dropout_p, is_causal, False, scale=scale)[0]
    if attn_mask is not None:
        if attn_mask.dtype == torch.bool:
            attn_mask = torch.zeros_like(attn_mask, dtype=q.dtype).masked_fill_(~attn_mask, -torch.inf)
        attn_mask = attn_mask.expand(*q.shape[:3], k.shape[2])
    keeps = any(part.requires_grad for part in (q, k, v))
    efficient = aten._scaled_dot_product_efficient_attention
    return efficient(q, k, v, attn_mask, keeps, dropout_p, is_causal, scale=scale)[0]


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """To a device, a type or another tensor; `cuda` is this card."""
    if args and isinstance(args[0], VirtualTensor):
        return tensor.to(args[0].device, args[0].dtype, *args[1:], **kwargs)
    return tensor.to(*(CARD if _is("cuda", value) else value for value in args), **kwargs)


def _is(kind: str, value: Any) -> bool:
    """Whether a value names a device of this kind."""
    return isinstance(value, str | torch.device) and str(value).partition(":")[0] == kind


def _item(tensor: Tensor, index: Any) -> Tensor:
    """A part of a tensor; lists among its indices are tensors in host memory, which torch would put on the card."""
    return tensor[_index(index) if isinstance(tensor, VirtualTensor) else index]


def _index(index: Any) -> Any:
    if isinstance(index, tuple):
        return tuple(map(_index, index))
    return torch.tensor(index) if isinstance(index, list) else index


def _tensor(data: Any, **options: Any) -> Tensor:
    return torch.tensor(tree_map_only(VirtualTensor, lambda number: number.item(), data), **options)


def _listed(tensor: Tensor) -> Any:
    return (tensor.cpu() if isinstance(tensor, VirtualTensor) else tensor).tolist()


REPLACED: Mapping[Any, Callable[..., Any]] = {
    functional.scaled_dot_product_attention: _attention,
    Tensor.to: _to,
    Tensor.__getitem__: _item,
    torch.tensor: _tensor,
    Tensor.tolist: _listed,
    Tensor.pin_memory: lambda tensor, *_: pinned(tensor.clone()),
}
