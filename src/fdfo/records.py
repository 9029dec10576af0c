"""Records that cross module boundaries: frozen, checked for shape, sliceable by row.

B samples, P prompts, K trained times of a sample, [C, H, W] latent. Latents are float32 NCHW at network scale.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any, Self

import torch
from torch import Tensor

from fdfo.objectives.advantage import moments


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """One prompt as data: never formatted, never interpreted."""

    text: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    number: int = 0
    """Global position in its epoch or list; keys the noise of its samples."""

    @property
    def category(self) -> str | None:
        """What it belongs to, as text, whatever JSON value its metadata have there; None without one."""
        value = self.metadata.get("category")
        return value if value is None or isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def move(record: Any, device: torch.device | str) -> Any:
    """The same record with its tensors (one level deep, and in nested conditionings) on `device`."""
    changes = {}
    for item in fields(record):
        value = getattr(record, item.name)
        if isinstance(value, Tensor | Conditioning):
            changes[item.name] = _sent(value, device) if isinstance(value, Tensor) else value.to(device)
    return replace(record, **changes)


def _sent(tensor: Tensor, device: torch.device | str) -> Tensor:
    """The tensor on `device`; to a GPU through pinned memory, so that the host need not wait until it is free."""
    if torch.device(device).type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Encoded prompts [P], a row each: named tensors in the policy's own shapes, which may differ from row to row.

    Rows are shared by reference, never copied: a prompt of many samples is one row in all of their conditionings.
    """

    rows: tuple[Mapping[str, Tensor], ...]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors, each counted once."""
        return sum({id(tensor): tensor.nbytes for row in self.rows for tensor in row.values()}.values())

    def __getitem__(self, rows: slice | Tensor | Sequence[int]) -> Conditioning:
        if isinstance(rows, slice):
            return Conditioning(self.rows[rows])
        return Conditioning(tuple(self.rows[row] for row in (rows.tolist() if isinstance(rows, Tensor) else rows)))

    def repeat(self, times: int) -> Conditioning:
        """Every row `times` times, side by side."""
        return Conditioning(tuple(row for row in self.rows for _ in range(times)))

    def to(self, device: torch.device | str) -> Conditioning:
        """The same rows on a device; what they share is sent once."""
        here = {id(tensor): tensor for row in self.rows for tensor in row.values()}
        sent = {key: _sent(tensor, device) for key, tensor in here.items()}
        moved = {id(row): {name: sent[id(tensor)] for name, tensor in row.items()} for row in self.rows}
        return Conditioning(tuple(moved[id(row)] for row in self.rows))

    @staticmethod
    def cat(parts: Sequence[Conditioning]) -> Conditioning:
        """Rows of all parts, in order."""
        return Conditioning(tuple(row for part in parts for row in part.rows))


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """What every method's rollout provides; methods add the fields that their credit needs.

    Samples of one group (compared with each other) are adjacent, and all groups have `group_size` samples.
    """

    prompts: Sequence[Prompt]  # P
    conditioning: Conditioning  # [P, ...]
    group_size: int
    x0: Tensor  # [B, C, H, W] endpoints, B = P group_size

    def __post_init__(self) -> None:
        assert len(self.prompts) == len(self.conditioning)
        assert len(self.x0) == len(self.prompts) * self.group_size

    @property
    def prompt_rows(self) -> Tensor:
        """Row of `prompts` of every sample: [B] int64."""
        return torch.arange(len(self.prompts)).repeat_interleave(self.group_size)

    @property
    def sample_prompts(self) -> list[Prompt]:
        """The prompt of every sample: B of them."""
        return [self.prompts[row] for row in self.prompt_rows.tolist()]

    @property
    def sample_numbers(self) -> list[int]:
        """Global number of every sample in its epoch, the same for any process count."""
        return [prompt.number * self.group_size + i for prompt in self.prompts for i in range(self.group_size)]


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores of the samples of a rollout, float64 until differences are taken; NaN marks one that failed."""

    total: Tensor  # [B] float64, the weighted sum
    components: Mapping[str, Tensor]  # each [B] float64
    batch: Tensor  # [N] float64, totals of all samples of the epoch, of all processes, in order of their global numbers
    gradient: Tensor | None = None  # [B, C, H, W] d total / d x0, for methods that ask for it

    def __post_init__(self) -> None:
        assert self.total.ndim == 1
        assert all(part.shape == self.total.shape for part in self.components.values())

    @property
    def batch_mean(self) -> float:
        """Mean of all valid totals of the epoch."""
        return moments(self.batch[self.batch.isfinite()])[0]

    @property
    def batch_std(self) -> float:
        """Standard deviation of all valid totals of the epoch, divided by their number."""
        return moments(self.batch[self.batch.isfinite()])[1]


@dataclass(frozen=True, kw_only=True)
class Items:
    """Trainable rows: [B, K] (sample, trained time) until `rows` picks some, then [n].

    Tensor fields have these leading dimensions; `conditioning` and `prompts` are shared and indexed by `prompt_row`.
    A value that is the same for all times of a sample is stored once, as an expanded view.
    """

    prompts: Sequence[Prompt]
    conditioning: Conditioning  # [P, ...]
    prompt_row: Tensor  # [B, K] or [n] int64
    sample_number: Tensor  # [B, K] or [n] int64, global number of the sample in its epoch

    @property
    def num_samples(self) -> int:
        return self.prompt_row.shape[0]

    @property
    def num_times(self) -> int:
        return self.prompt_row.shape[1]

    @property
    def cond(self) -> Conditioning:
        """Conditioning of every row."""
        return self.conditioning[self.prompt_row]

    def _map(self, change: Any) -> Self:
        names = (item.name for item in fields(self) if item.name not in ("prompts", "conditioning"))
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def rows(self, samples: Tensor, times: Tensor) -> Self:
        """The rows (samples[i], times[i]): [B, K, ...] -> [n, ...], with the conditioning of their prompts only."""
        picked = self._map(lambda tensor: tensor[samples, times])
        used, prompt_row = picked.prompt_row.unique(return_inverse=True)
        return replace(
            picked,
            prompts=[self.prompts[row] for row in used.tolist()],
            conditioning=self.conditioning[used],
            prompt_row=prompt_row,
        )

    def to(self, device: torch.device | str) -> Self:
        """The same items on a device; `prompt_row`, which only the host reads, stays where it is."""
        return replace(move(self, device), prompt_row=self.prompt_row)

    @classmethod
    def cat(cls, parts: list[Self]) -> Self:
        """Items of several rollouts as one, samples in order.

        The list is emptied, and each tensor let go as soon as it is copied: an epoch's are most of the host memory.
        """
        offsets = accumulate((len(part.prompts) for part in parts), initial=0)
        prompts = [prompt for part in parts for prompt in part.prompts]
        conditioning = Conditioning.cat([part.conditioning for part in parts])
        names = [item.name for item in fields(parts[0]) if item.name not in ("prompts", "conditioning")]
        tensors = {name: [getattr(part, name) for part in parts] for name in names}
        tensors["prompt_row"] = [rows + n for rows, n in zip(tensors["prompt_row"], offsets, strict=False)]
        kind = type(parts[0])
        parts.clear()
        return kind(prompts=prompts, conditioning=conditioning, **{name: _join(tensors.pop(name)) for name in names})


def _join(parts: list[Tensor]) -> Tensor:
    """Tensors [B, K, ...] as one; what is the same for all K times stays stored once, a single part is not copied.

    The list is emptied on the way.
    """
    if len(parts) == 1:
        return parts.pop()
    if all(part.stride(1) == 0 for part in parts):
        return torch.cat([part[:, :1] for part in parts]).expand(-1, parts[0].shape[1], *parts[0].shape[2:])
    joined = parts[0].new_empty((sum(map(len, parts)), *parts[0].shape[1:]))
    start = 0
    while parts:
        part = parts.pop(0)
        joined[start : start + len(part)] = part
        start += len(part)
    return joined


@dataclass(frozen=True, kw_only=True)
class LossOutput:
    """Losses of some rows, one each; the caller sums them and divides by the global row count."""

    losses: Tensor  # [n] float32, with gradient
    metrics: Mapping[str, Tensor] = field(default_factory=dict)  # each [n], without gradient

    def __post_init__(self) -> None:
        assert self.losses.ndim == 1
        assert all(value.shape == self.losses.shape for value in self.metrics.values())


@dataclass
class NetworkUse:
    """Network evaluations, in rows of its batch; a guided velocity takes two."""

    forward: int = 0
    """Without gradient."""
    trained: int = 0
    """Evaluations with gradient: forward and backward."""
