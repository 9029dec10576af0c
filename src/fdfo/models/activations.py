"""What a network on the meta device keeps for its backward pass, in bytes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn import Module
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only


class Activations(dict[int, tuple[int, Tensor]]):
    """Bytes of storages that are kept, by address; with a tensor of each, for an address counts while that lives."""

    alike = 0
    """Bytes kept by blocks that were not evaluated, for one like them was."""

    def note(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self[storage._cdata] = (storage.nbytes(), tensor)
        return tensor

    @contextmanager
    def noting(self, network: Module) -> Iterator[None]:
        """Inside, what is kept for a backward pass is noted, but for the network's parameters."""
        parameters = {parameter.untyped_storage()._cdata for parameter in network.parameters()}

        def note(tensor: Tensor) -> Tensor:
            return tensor if tensor.untyped_storage()._cdata in parameters else self.note(tensor)

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            yield

    def joined(self, others: "Activations") -> "Activations":
        """These and others, each storage once."""
        both = Activations(self | others)
        both.alike = self.alike + others.alike
        return both

    @property
    def nbytes(self) -> int:
        return self.alike + sum(size for size, _ in self.values())


@dataclass(frozen=True)
class _Block:
    """One evaluated block."""

    nbytes: int
    """Kept by it."""
    own: int
    """Of these, in storages that are neither of its arguments nor of its output."""
    tensors: tuple[int, ...]
    """Which of its arguments and outputs it keeps."""
    output: Any


class Blocks:
    """The blocks of a network as it is evaluated with checkpointing: each kind of them once, for they are many.

    Blocks are alike when their modules and the shapes of their arguments are.
    """

    def __init__(self) -> None:
        self.inside, self.entering, self.largest = Activations(), Activations(), 0
        self._known: dict[object, _Block] = {}

    def __call__(self, block: Callable[..., Any], *arguments: Any) -> Any:
        """Evaluate a block, or answer as one like it did; what it keeps, and its arguments, are noted."""
        key = alike(block, arguments)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._evaluated(block, arguments)
            output = known.output
        else:
            output = tree_map_only(Tensor, _like, known.output)
            self.inside.alike += known.own
        tensors = _tensors(arguments, output)
        for index in known.tensors:
            self.inside.note(tensors[index])
        for tensor in _tensors(arguments):
            self.entering.note(tensor)
        self.largest = max(self.largest, known.nbytes)
        return output

    def _evaluated(self, block: Callable[..., Any], arguments: Sequence[Any]) -> _Block:
        kept = Activations()
        with kept.noting(block if isinstance(block, Module) else Module()):
            output = block(*arguments)
        addresses = [tensor.untyped_storage()._cdata for tensor in _tensors(arguments, output)]
        own = Activations({address: value for address, value in kept.items() if address not in addresses})
        self.inside.update(own)
        tensors = tuple(index for index, address in enumerate(addresses) if address in kept)
        return _Block(kept.nbytes, own.nbytes, tensors, output)


def alike(block: Callable[..., Any], arguments: Sequence[Any]) -> object:
    """What evaluations of blocks that are alike have in common."""
    return (_kind(block), *map(_shape, tree_leaves(arguments)))


def _kind(block: Callable[..., Any]) -> object:
    """What blocks that are alike have in common: their modules, by name, and parameters; others are one of a kind."""
    if not isinstance(block, Module):
        return block
    return repr(block), *((name, value.shape, value.requires_grad) for name, value in block.named_parameters())


def _shape(value: Any) -> object:
    return (value.shape, value.dtype, value.requires_grad) if isinstance(value, Tensor) else repr(value)


def _like(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor).requires_grad_(tensor.requires_grad)


def _tensors(*values: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)]


class _KeepsInputs(torch.autograd.Function):
    """Attention that keeps what the fused kernels keep: queries, keys, values, output, and a float32 for each query."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        output = torch.empty_like(q)
        ctx.save_for_backward(q, k, v, output, q.new_empty(q.shape[:-1], dtype=torch.float32))
        return output


class FusedAttention(TorchFunctionMode):
    """On the meta device torch decomposes attention, and would keep its matrix."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return _KeepsInputs.apply(*args[:3], *(given[name] for name in ("query", "key", "value")[len(args) :]))
        return func(*args, **given)
