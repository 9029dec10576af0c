"""Retries work that ran out of memory with half the batch; batch sizes change results by rounding only."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor

from fdfo.errors import is_out_of_memory
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.engine import Engine, Halving
from fdfo.training.folder import RunFolder
from fdfo.training.sharding import shards_base

T = TypeVar("T")

BRANCHES = "branches of guidance"
DIVISIBLE = ("sample_batch", "score_batch", "micro_batch", BRANCHES)

OUT_OF_MEMORY = (
    "out of device memory ({}); lower train.micro_batch, train.sample_batch or the batch_size of a score, or give it "
    "offload: true, and continue with the same --run folder"
)


def fitting(engine: Engine, batch: Literal["sample_batch", "score_batch", "micro_batch"], work: Callable[[], T]) -> T:
    """What `work` returns; after running out of memory it is done again with half the batch, for the rest of the run.

    A guided network that runs out with a batch of 1 evaluates its branches one after the other from then on. Raises
    the error where nothing is left to divide, or the base weights are sharded.
    """
    while True:
        try:
            return work()
        except RuntimeError as error:
            is_last = shards_base() or not _divisible(engine, batch)  # sharded, all evaluate equally often
            if is_last or not is_out_of_memory(error):
                raise
        _divide(engine, batch)  # here the tensors of the attempt are gone


def components(
    engine: Engine,
    reward: WeightedSum,
    images: Tensor,
    texts: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
    **options: Any,
) -> dict[str, Tensor]:
    """The scores of images [B, 3, H, W] by component, in pieces of whole groups of up to `score_batch` images."""
    return reward.components(images, texts, metadata, batch=engine.score_batch, watch=engine.stop.check, **options)


def preferences(
    engine: "Engine",
    images: Tensor,
    others: Tensor,
    texts: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
) -> dict[str, Tensor]:
    """How much images [B, 3, H, W] are preferred to others of their prompts, by pairwise component, piece by piece."""
    batch = engine.score_batch
    return engine.reward.preferences(images, others, texts, metadata, batch=batch, watch=engine.stop.check)


def _divisible(engine: Engine, batch: str) -> bool:
    policy = engine.policy
    return getattr(engine, batch) > 1 or (batch != "score_batch" and policy.guidance != 1 and policy.branches_together)


def _divide(engine: Engine, batch: str) -> None:
    """Halve the batch and free memory. Process 0 says so at once, others when halvings are logged."""
    size = getattr(engine, batch) // 2
    if size:
        setattr(engine, batch, size)
    else:
        batch, size = BRANCHES, 1
        engine.policy.branches_together = False
    if engine.policy.device.type == "cuda":
        torch.cuda.empty_cache()
    halving = Halving(engine.team.rank, batch, size)
    engine.halvings.append(halving)
    engine.console.say(str(halving), style="yellow")


def tell_halvings(engine: Engine, folder: RunFolder, epoch: int) -> None:
    """Log the halvings of all processes since the last call, and print those of the others. All processes call this."""
    own, engine.halvings = engine.halvings, []
    (count,) = engine.team.sum([len(own)])
    if not count:
        return
    rows = torch.tensor([[one.process, DIVISIBLE.index(one.batch), one.size] for one in own], dtype=torch.int64)
    for process, batch, size in engine.team.gather_rows(rows.reshape(-1, 3)).tolist():
        halving = Halving(process, DIVISIBLE[batch], size)
        if engine.team.is_main:
            folder.log("out_of_memory", epoch, asdict(halving))
        if process:
            engine.console.say(str(halving), style="yellow")


def log_own_halvings(engine: Engine, folder: RunFolder, epoch: int) -> None:
    """Log the halvings of this process alone, when an error ends the epoch and other processes may be gone."""
    own, engine.halvings = engine.halvings, []
    for halving in own:
        folder.log("out_of_memory", epoch, asdict(halving))
