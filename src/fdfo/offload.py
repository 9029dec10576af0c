"""Frozen networks that stay in host memory and come to a device while they are used."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn import Module


@contextmanager
def temporarily_on(networks: Sequence[Module], device: torch.device) -> Iterator[None]:
    """Networks on the device inside; afterwards in the host memory that they came from, without copying.

    One that came from elsewhere is moved to host memory. What the device had kept of their memory is given back, so
    that the next network finds it in one piece.
    """
    before = [(network, _contents(network)) for network in networks]
    try:
        for network in networks:
            move(network, device)
        yield
    finally:  # also where memory did not suffice: the next attempt needs what this one took
        for network, contents in before:
            _put_back(network, contents)
        if device.type == "cuda":
            torch.cuda.empty_cache()


def move(network: Module, device: torch.device) -> None:
    """Move a network that is elsewhere; one in few bits, which cannot move, may stay where it is."""
    if any(parameter.device != device for parameter in network.parameters()):
        network.to(device)


def _contents(network: Module) -> list[Tensor]:
    """The weights and buffers of a network, where they are now."""
    return [tensor.data for tensor in (*network.parameters(), *network.buffers())]


def _put_back(network: Module, contents: list[Tensor]) -> None:
    if any(tensor.device.type != "cpu" for tensor in contents):
        move(network, torch.device("cpu"))
        return
    for tensor, content in zip((*network.parameters(), *network.buffers()), contents, strict=True):
        tensor.data = content
        if (state := getattr(tensor, "quant_state", None)) is not None:  # of bitsandbytes, beside the data
            state.to(content.device)
