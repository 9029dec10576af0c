"""Random numbers as a function of what they are for: no state, no rank, no order of calls.

Every draw is keyed by (seed, use, epoch, sample number, step). The key is digested to the 128-bit key of a Philox
counter generator (Salmon et al. 2011), so no two keys share a stream, and the same key gives the same
numbers in any process, batch or device.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import torch
from torch import Tensor

SHARED_OUT = 2**18
"""Numbers that are worth starting threads for: about 5 ms of one core."""


@dataclass(frozen=True)
class NoiseStreams:
    """Keyed random numbers of one run; `epoch` is None outside training epochs (evaluation, generation)."""

    seed: int
    epoch: int | None = None

    def generator(self, use: str, sample: int, step: int = 0) -> np.random.Generator:
        """NumPy generator of one key; draw from it at once and throw it away."""
        key = f"{self.seed}/{self.epoch}/{use}/{sample}/{step}".encode()
        digest = int.from_bytes(blake2b(key, digest_size=16).digest(), "little")
        return np.random.Generator(np.random.Philox(key=digest))

    def normal(self, shape: Sequence[int], use: str, samples: Sequence[int], step: int = 0) -> Tensor:
        """Standard normal numbers [B, *shape], float32 on the CPU; row i belongs to samples[i].

        Where a GPU is in use, in pinned memory: a copy with non_blocking=True does not wait for it.
        """
        draws = torch.empty((len(samples), *shape), dtype=torch.float32, pin_memory=torch.cuda.is_initialized())
        rows = draws.view(len(samples), -1).numpy()

        def draw(row: np.ndarray, sample: int) -> None:
            self.generator(use, sample, step).standard_normal(dtype=np.float32, out=row)

        if rows.size < SHARED_OUT:
            list(map(draw, rows, samples))
        else:
            with ThreadPoolExecutor(torch.get_num_threads()) as threads:  # NumPy lets others run while it draws
                list(threads.map(draw, rows, samples))
        return draws

    def starts(self, shape: Sequence[int], numbers: Sequence[int], images_per_prompt: int) -> Tensor:
        """Start noises [P k, *shape] of the k images of each prompt, side by side, by the prompts' numbers."""
        draws = [self.normal(shape, "image", numbers, image) for image in range(images_per_prompt)]
        return torch.stack(draws, 1).flatten(0, 1)

    def uniform(self, use: str, samples: Sequence[int], step: int = 0) -> Tensor:
        """Uniform numbers in [0, 1), one per sample: [B], float64 on the CPU."""
        return torch.tensor([self.generator(use, n, step).random() for n in samples], dtype=torch.float64)

    def permutation(self, size: int, use: str, sample: int, step: int = 0) -> Tensor:
        """A random order of range(size): [size], int64 on the CPU."""
        return torch.as_tensor(self.generator(use, sample, step).permutation(size))
