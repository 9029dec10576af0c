"""What a network on the meta device holds at a time where nothing is kept for a backward pass, in bytes."""

import weakref
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter, functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from fdfo.models.activations import FusedAttention, alike
from fdfo.models.weights import TrainableWeights

LOWERED = {functional.linear, torch.conv2d, torch.matmul, Tensor.matmul, Tensor.__matmul__, torch.bmm, torch.baddbmm}
"""In 16 bits under autocast, of those that networks here call."""

RAISED = {
    *(functional.layer_norm, functional.group_norm, functional.softmax, torch.layer_norm, torch.group_norm),
    *(torch.softmax, torch.rsqrt, torch.exp, torch.pow, torch.sum, torch.cumsum, torch.log),
    *(Tensor.softmax, Tensor.rsqrt, Tensor.exp, Tensor.pow, Tensor.__pow__, Tensor.sum, Tensor.cumsum, Tensor.log),
}
"""In 32 bits."""


class _Held(TorchDispatchMode):
    """Bytes of the storages that were made inside and are still there, and the most of them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.untyped_storage()._cdata not in given | self._known:
                self._note(leaf.untyped_storage())
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = storage._cdata, storage.nbytes()

        def leave() -> None:
            self._known.remove(key)
            self.now -= size

        weakref.finalize(storage, leave)
        self._known.add(key)
        self.now += size
        self.most = max(self.most, self.now)


class _Autocast(TorchFunctionMode):
    """What autocast does on a card; there is none on the meta device."""

    def __init__(self, dtype: torch.dtype, weights: Iterable[Parameter]) -> None:
        super().__init__()
        self.dtype = dtype
        self._weights = {id(weight): weight.detach().to(dtype) for weight in weights}
        """Autocast keeps these from one evaluation to the next, so they are counted elsewhere."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given: tuple[Any, Any] = args, kwargs or {}
        if func in LOWERED or func is functional.scaled_dot_product_attention:
            given = tree_map_only(Tensor, lambda tensor: self._in(tensor, self.dtype), given)
        elif func in RAISED:
            given = tree_map_only(Tensor, lambda tensor: self._in(tensor, torch.float32), given)
        return func(*given[0], **given[1])

    def _in(self, tensor: Tensor, dtype: torch.dtype) -> Tensor:
        if not tensor.is_floating_point() or tensor.dtype == dtype:
            return tensor
        return self._weights[id(tensor)] if id(tensor) in self._weights else tensor.to(dtype)


@dataclass(frozen=True)
class _Shape:
    """Of a tensor that is not there."""

    sides: torch.Size
    dtype: torch.dtype


def most_held(weights: TrainableWeights, evaluate: Callable[[], Any], dtype: torch.dtype) -> int:
    """The most that an evaluation of a network holds beside its weights; none of these is trained any more after this.

    Blocks that are alike are evaluated once.
    """
    known: dict[object, Any] = {}

    def once(block: Callable[..., Any], *arguments: Any) -> Any:
        key = alike(block, arguments)
        if key in known:
            return tree_map_only(_Shape, lambda shape: torch.empty(shape.sides, dtype=shape.dtype), known[key])
        result = block(*arguments)
        known[key] = tree_map_only(Tensor, lambda tensor: _Shape(tensor.shape, tensor.dtype), result)
        return result

    weights.enable_checkpointing(once)
    weights.network.requires_grad_(False)
    autocast = nullcontext() if dtype == torch.float32 else _Autocast(dtype, weights.network.parameters())
    # With gradients enabled, though none is wanted, or the network would not evaluate its blocks by `once`.
    with torch.enable_grad(), FusedAttention(), autocast, _Held() as held:
        evaluate()
    return held.most
