"""A CUDA card that is not there: shapes, devices, bytes and waits of code that runs on one, almost without its numbers.

Inside `VirtualCard()`, tensors on `cuda` have no content, so that networks of any size fit and any amount of work takes
moments. Mixing them with tensors in host memory fails as on a card. What they hold is counted as torch's allocator
hands it out, without what kernels need beside their results, and more than the card has is out of memory. Where the
host would wait for the card is noted. Few numbers that come from the host keep their values; every other number that
the host reads is one.

Not there: CUDA's own libraries, compilation, several cards, other threads.
"""

import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from math import prod
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch._dynamo  # before functions that it compares with its own are replaced
from torch import Tensor
from torch.nn import Module
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only

from benchmarks.memory.virtual.functions import CardFunctions
from benchmarks.memory.virtual.tensor import (
    CARD,
    HOST,
    KNOWN_NUMBERS,
    META,
    VirtualTensor,
    as_read,
    is_pinned,
    known,
    pinned,
)

ROUNDED_TO = 512
"""Bytes of the smallest piece that torch hands out on CUDA."""

STAGED = 2**16
"""Bytes up to which CUDA takes a copy from memory that is not pinned without making the host wait."""

aten = torch.ops.aten
SHAPED_BY_CONTENT = (
    *(aten.nonzero.default, aten.masked_select.default, aten._unique2.default),
    *(aten.unique_consecutive.default, aten.repeat_interleave.Tensor),
)
INDEXING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
CONSTANTS = (
    *(aten.arange.default, aten.arange.start, aten.arange.start_step, aten.scalar_tensor.default),
    *(aten.zeros.default, aten.ones.default, aten.full.default),
)
WITHOUT_VALUES = (
    *(aten.empty_like.default, aten.new_empty.default, aten.new_empty_strided.default),
    *(aten.rand_like.default, aten.randn_like.default),
)


class VirtualCard(TorchDispatchMode):
    """A card of `size` bytes; see the module."""

    def __init__(self, size: int = 80 * 2**30) -> None:
        super().__init__()
        self.size = size
        self.held = self.peak = 0
        """Bytes handed out now, and the most of them since `reset_peak`."""
        self.waits: Counter[str] = Counter()
        """How often the host waited for the card, by `file:function` of the code that is not a library's."""
        self._storages: dict[int, weakref.finalize] = {}
        self._moves_network = False
        self._functions = CardFunctions()
        self._stack = ExitStack()

    def __enter__(self) -> "VirtualCard":
        self._stack.enter_context(self._functions)
        self._stack.enter_context(patch.object(torch, "clear_autocast_cache", self._functions.cast_weights.clear))
        for owner, name, replaced in self._replaced():
            self._stack.enter_context(patch.object(owner, name, replaced))
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]  # torch.tensor(..., device="cuda")
        self._stack.callback(torch._C._set_only_lift_cpu_tensors, False)  # type: ignore[attr-defined]
        super().__enter__()
        return self

    def __exit__(self, *reason: Any) -> None:
        super().__exit__(*reason)
        self._stack.close()

    def reset_peak(self, *_: Any) -> None:
        self.peak = self.held

    # ---- operations ----

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        asks_pinned = bool(kwargs.pop("pin_memory", False))
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        given = [tensor for tensor in tensors if isinstance(tensor, VirtualTensor)]
        target = self._target(kwargs.get("device"), given)
        if not given and target != CARD:
            return pinned(func(*args, **kwargs)) if asks_pinned else func(*args, **kwargs)
        if func is aten._to_copy.default:
            return self._moved(args[0], kwargs, target)
        if func is aten.copy_.default and args[0].device != args[1].device:
            return self._copied(*args, **kwargs)
        if func is aten._local_scalar_dense.default:
            self._wait()
            return as_read(args[0]).item()
        place = target or self._place(func, args, given, tensors)
        if func in SHAPED_BY_CONTENT or _has_mask(func, args):
            self._wait()
            values = func(*tree_map_only(VirtualTensor, as_read, args), **kwargs)
            return tree_map_only(Tensor, lambda t: self._new(torch.empty_like(t, device=META), place, known(t)), values)
        values = _values(func, args, kwargs, given)
        if target is not None:
            kwargs["device"] = META
        return self._wrapped(func(*_contents(args), **_contents(kwargs)), values, place, given)

    def _target(self, device: Any, given: list[VirtualTensor]) -> torch.device | None:
        """The place that an operation names; torch's own code below Python calls the card meta."""
        named = None if device is None else torch.device(device)
        if named == META and not self._functions.asks_for_meta:
            return given[0].place if given else CARD
        return CARD if named is not None and named.type == "cuda" else named

    def _place(self, func: Any, args: Any, given: list[VirtualTensor], tensors: list[Tensor]) -> torch.device:
        """Where an operation is computed. Raises RuntimeError where a card would; indices may be anywhere."""
        indices = [t for t in tree_leaves(args[1]) if isinstance(t, Tensor)] if func in INDEXING else []
        real = [t for t in tensors if t.ndim and not isinstance(t, VirtualTensor)]
        far = [t for t in real if not any(t is index for index in indices)]
        if len(far) < len(real):
            self._wait()
        places = {t.place for t in given if t.ndim} or {t.place for t in given}
        if len(places) > 1 or (far and CARD in places):
            where = ", ".join(f"{tuple(t.shape)} on {t.device}" for t in (*given, *far))
            raise RuntimeError(f"{func}: expected all tensors to be on the same device, but found {where}")
        return places.pop()

    def _moved(self, tensor: Tensor, kwargs: Any, target: torch.device | None) -> Tensor:
        """A copy in another place or type; in host memory those of networks stay virtual, others become real."""
        place = target or tensor.device
        virtual = tensor if isinstance(tensor, VirtualTensor) else VirtualTensor.of(tensor)
        if place == tensor.device and kwargs.get("dtype", tensor.dtype) == tensor.dtype:
            content = virtual.content.view_as(virtual.content)  # not a copy: below Python it was thought elsewhere
            return self._new(content, place, virtual.values)
        if place != tensor.device and not _is_queued(tensor, kwargs.get("non_blocking")):
            self._wait()
        options = {key: value for key, value in kwargs.items() if key not in ("device", "non_blocking")}
        values = None if virtual.values is None else aten._to_copy.default(virtual.values, **options)
        moved = aten._to_copy.default(virtual.content, **options)
        if place == HOST and not self._moves_network:
            return torch.ones_like(moved, device=HOST) if values is None else values
        return self._new(moved, place, values)

    def _copied(self, into: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        """A tensor with the content of one in another place."""
        if not _is_queued(source, non_blocking):
            self._wait()
        if not isinstance(into, VirtualTensor):
            return into.copy_(as_read(source))  # type: ignore[arg-type]
        into.values = None
        return into

    def _wrapped(self, out: Any, values: Any, place: torch.device, given: list[VirtualTensor]) -> Any:
        """Results as tensors of the card; a tensor that was changed in place is the one that was given."""
        before = {id(tensor.content): tensor for tensor in given}
        of_each = iter(tree_leaves(values) if values is not None else [None] * len(tree_leaves(out)))

        def wrapped(content: Any) -> Any:
            value = next(of_each)
            if not isinstance(content, Tensor):
                return content
            if id(content) not in before:
                return self._new(content, place, value)
            before[id(content)].values = value
            return before[id(content)]

        return tree_map(wrapped, out)

    # ---- bytes and waits ----

    def _new(self, content: Tensor, place: torch.device, values: Tensor | None) -> VirtualTensor:
        if place == CARD:
            self._hand_out(content.untyped_storage())
        return VirtualTensor(content, place, values)

    def _hand_out(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._storages:
            return
        size = -(-storage.nbytes() // ROUNDED_TO) * ROUNDED_TO
        if self.held + size > self.size:
            raise torch.OutOfMemoryError(f"{size} bytes beside {self.held} on a virtual card of {self.size}")

        def take_back() -> None:
            self.held -= size
            del self._storages[key]

        self._storages[key] = weakref.finalize(storage, take_back)
        self.held += size
        self.peak = max(self.peak, self.held)

    def _wait(self) -> None:
        own = str(Path(__file__).parent)
        frame: Any = sys._getframe(1)
        while "site-packages" in frame.f_code.co_filename or frame.f_code.co_filename.startswith(own):
            frame = frame.f_back
        self.waits[f"{Path(frame.f_code.co_filename).name}:{frame.f_code.co_name}"] += 1

    # ---- torch beside its operations ----

    def _replaced(self) -> Iterator[tuple[Any, str, Any]]:
        """What asks for a card or compares tensors below Python, and what answers."""
        constant: dict[str, Any] = {"_lazy_init": None, "synchronize": None, "empty_cache": None, "current_device": 0}
        constant |= {"is_initialized": True, "is_bf16_supported": True, "get_device_name": "a virtual card"}
        for name, answer in constant.items():
            yield torch.cuda, name, lambda *_, answer=answer, **__: answer
        yield torch.cuda, "reset_peak_memory_stats", self.reset_peak
        yield torch.cuda, "max_memory_allocated", lambda *_: self.peak
        yield torch.cuda, "memory_allocated", lambda *_: self.held
        yield torch.cuda, "mem_get_info", lambda *_: (self.size - self.held, self.size)
        yield torch.cuda.amp.common, "amp_definitely_not_available", lambda: False
        yield torch, "_has_compatible_shallow_copy_type", _of_one_kind(torch._has_compatible_shallow_copy_type)
        yield torch.nn.init, "_no_grad_trunc_normal_", lambda tensor, *_, **__: tensor  # would wait for small numbers
        yield Module, "_apply", self._moving(Module._apply)

    def _moving(self, apply: Callable[..., Module]) -> Callable[..., Module]:
        """Moving a network: its tensors become virtual, and what its parts share stays shared."""

        def moved(module: Module, *args: Any, **kwargs: Any) -> Module:
            if self._moves_network:
                return apply(module, *args, **kwargs)
            places: dict[int, list[tuple[Module, str]]] = {}
            for part in module.modules():
                for name, parameter in part._parameters.items():
                    places.setdefault(id(parameter), []).append((part, name))
            self._moves_network = True
            try:
                return apply(module, *args, **kwargs)
            finally:
                self._moves_network = False
                for (first, name), *others in places.values():
                    for part, other in others:
                        part._parameters[other] = first._parameters[name]

        return moved


def _contents(arguments: Any) -> Any:
    """Arguments of an operation on the meta device."""

    def content(tensor: Tensor) -> Tensor:
        return tensor.content if isinstance(tensor, VirtualTensor) else torch.empty_like(tensor, device=META)

    return tree_map_only(Tensor, content, arguments)


def _values(func: Any, args: Any, kwargs: Any, given: list[VirtualTensor]) -> Any:
    """The result itself, where it follows from few known numbers; None otherwise."""
    size = args[0] if args and isinstance(args[0], list | torch.Size) and not given else ()
    has_values = func not in WITHOUT_VALUES if given else func in CONSTANTS
    if not has_values or any(t.values is None for t in given) or prod(size) > KNOWN_NUMBERS:
        return None
    own_args, own_kwargs = tree_map_only(VirtualTensor, lambda tensor: tensor.values, (args, kwargs))
    try:
        found = func(*own_args, **({**own_kwargs, "device": HOST} if "device" in own_kwargs else own_kwargs))
    except NotImplementedError:  # an operation of cards alone
        return None
    return found if all(known(t) is not None for t in tree_leaves(found) if isinstance(t, Tensor)) else None


def _has_mask(func: Any, args: Any) -> bool:
    """Whether rows are picked by truth values, which have to be counted."""
    picks = tree_leaves(args[1]) if func is aten.index.Tensor else ()
    return any(isinstance(t, Tensor) and t.dtype == torch.bool for t in picks)


def _is_queued(source: Tensor, non_blocking: Any) -> bool:
    """Whether a copy between host and card is left to the card."""
    return bool(non_blocking) and (is_pinned(source) or (source.device == HOST and source.nbytes <= STAGED))


def _of_one_kind(compatible: Callable[[Tensor, Tensor], bool]) -> Callable[[Tensor, Tensor], bool]:
    def both(a: Tensor, b: Tensor) -> bool:
        return isinstance(a, VirtualTensor) == isinstance(b, VirtualTensor) and compatible(a, b)

    return both
