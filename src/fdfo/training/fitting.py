"""Work that did not fit into memory, done again with half the batch; batches do not change results beyond rounding."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
from torch import Tensor

from fdfo.rewards.weighted import WeightedSum
from fdfo.training.sharding import shards_base

if TYPE_CHECKING:
    from fdfo.training.epoch import Trainer

T = TypeVar("T")


def fitting(
    trainer: "Trainer", batch: Literal["sample_batch", "score_batch", "micro_batch"], work: Callable[[], T]
) -> T:
    """What `work` returns; after running out of memory it is done again with half the batch, for the rest of the run.

    A guided network that runs out with a batch of 1 evaluates its branches one after the other from then on. Raises
    OutOfMemoryError where nothing is left to divide, or the base weights are sharded.
    """
    while True:
        try:
            return work()
        except torch.OutOfMemoryError:
            if shards_base() or not _divisible(trainer, batch):  # sharded, all processes evaluate equally often
                raise
        _divide(trainer, batch)  # here the tensors of the attempt are gone


def fitting_components(
    trainer: "Trainer",
    reward: WeightedSum,
    images: Tensor,
    texts: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
    group_size: int = 1,
) -> dict[str, Tensor]:
    """The scores of images [B, 3, H, W] by component, in pieces of whole groups where they do not fit at once."""

    def components() -> dict[str, Tensor]:
        batches = {"group_size": group_size, "batch": trainer.score_batch}
        return reward.components(images, texts, metadata, **batches, watch=trainer.stop.check)

    return fitting(trainer, "score_batch", components)


def _divisible(trainer: "Trainer", batch: str) -> bool:
    policy = trainer.policy
    return getattr(trainer, batch) > 1 or (batch != "score_batch" and policy.guidance != 1 and policy.branches_together)


def _divide(trainer: "Trainer", batch: str) -> None:
    """Half the batch, what can be freed freed, a line for the person and one for metrics.jsonl."""
    size = getattr(trainer, batch) // 2
    if size:
        setattr(trainer, batch, size)
    else:
        batch, size = "branches of guidance", 1
        trainer.policy.branches_together = False
    if trainer.policy.device.type == "cuda":
        torch.cuda.empty_cache()
    trainer.halvings.append({"batch": batch, "size": size})
    trainer.console.say(f"out of memory: going on with {batch} = {size}", style="yellow")
