"""How the items of an epoch are dealt to its updates, and updates to micro-batches.

Every update gets the same number of trained times of every trajectory, stratified over time. So each process holds
an equal share of every update, no trajectory travels, and the partition does not depend on the process count.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from fdfo.flow.noise import NoiseStreams


def deal(sample_numbers: Tensor, num_times: int, updates: int, noise: NoiseStreams) -> list[tuple[Tensor, Tensor]]:
    """Rows of every update: `updates` pairs (samples, times) of index tensors [n].

    sample_numbers [B] are the global numbers of this process's samples. Their K = num_times slots, in order of time,
    are cut into blocks of `updates` neighbours; each block is dealt in a random order keyed by the sample's number.
    """
    assert num_times % updates == 0
    blocks = num_times // updates
    if not len(sample_numbers):
        empty = torch.zeros(0, dtype=torch.int64)
        return [(empty, empty)] * updates
    orders = torch.stack(
        [
            torch.stack([noise.permutation(updates, "partition", number, block) for block in range(blocks)])
            for number in sample_numbers.tolist()
        ]
    )  # [B, blocks, updates]: which slot of the block goes to each update
    times = orders + torch.arange(blocks)[None, :, None] * updates
    samples = torch.arange(len(sample_numbers))[:, None].expand(-1, blocks).flatten()
    return [(samples, times[:, :, update].flatten()) for update in range(updates)]


def micro_batches(rows: tuple[Tensor, Tensor], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows of an update in pieces of at most `size`."""
    samples, times = rows
    return zip(samples.split(size), times.split(size), strict=True) if len(samples) else iter(())


def share(total: int, rank: int, processes: int) -> slice:
    """The contiguous part of `total` things that a process takes; sizes differ by at most one."""
    return slice(rank * total // processes, (rank + 1) * total // processes)
