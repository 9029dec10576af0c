"""Tensors of a virtual card: everything but their content."""

from typing import Any

import torch
from torch import Tensor

CARD, HOST, META = torch.device("cuda", 0), torch.device("cpu"), torch.device("meta")

KNOWN_NUMBERS = 2**16
"""Elements of a tensor whose values are kept, where they come from the host: sizes and branches follow from them."""


class VirtualTensor(Tensor):
    """A tensor without content: on the card, or of a network that waits in host memory."""

    content: Tensor
    """On the meta device; of the same storage."""
    place: torch.device
    values: Tensor | None
    """In host memory, where they are known."""

    @staticmethod
    def __new__(cls, content: Tensor, place: torch.device, values: Tensor | None = None) -> "VirtualTensor":
        # To torch's dispatcher it is of CUDA; to autograd, which has no threads for such cards, on the meta device.
        made = torch.Tensor._make_subclass(cls, content, False, device_for_backend_keys=CARD)  # type: ignore[call-arg]
        made.content, made.place, made.values = content, place, values
        return made

    @classmethod
    def of(cls, tensor: Tensor) -> "VirtualTensor":
        """A tensor in host memory, virtual."""
        return cls(torch.empty_like(tensor, device=META), HOST, known(tensor.detach()))

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self.place

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return self.place == CARD

    @property
    def is_cpu(self) -> bool:  # type: ignore[override]
        return self.place == HOST

    @property
    def is_meta(self) -> bool:  # type: ignore[override]
        return False

    @property
    def data(self) -> Tensor:  # type: ignore[override]
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        virtual = other if isinstance(other, VirtualTensor) else VirtualTensor.of(other)
        Tensor.data.__set__(self, virtual)  # type: ignore[attr-defined]
        self.content, self.place, self.values = virtual.content, virtual.place, virtual.values

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"VirtualTensor({tuple(self.shape)}, {self.dtype}, {self.place})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func}: outside of the card that the tensor is on")


def known(values: Tensor) -> Tensor | None:
    """Values that are few enough to be kept."""
    return values if values.numel() <= KNOWN_NUMBERS else None


def as_read(tensor: VirtualTensor) -> Tensor:
    """What the host reads: the values, or ones."""
    return torch.ones_like(tensor.content, device=HOST) if tensor.values is None else tensor.values


def pinned(tensor: Tensor) -> Tensor:
    """The tensor, in what passes for pinned memory."""
    tensor._is_pinned = True  # type: ignore[attr-defined]
    return tensor


def is_pinned(tensor: Tensor) -> bool:
    return getattr(tensor, "_is_pinned", False)
