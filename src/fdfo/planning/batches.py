"""The batches of a run: those that are configured, else the largest that fit."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch

from fdfo.config.tree import Config
from fdfo.models.custom_policy import is_custom
from fdfo.models.sizes import policy_sizes
from fdfo.planning.memory import Batches, MemoryPlan, largest_batches, memory_plan
from fdfo.planning.scores import score_bytes
from fdfo.plugins import method_of

ON_CPU = Batches(micro_batch=128, sample_batch=64)
"""Where nothing is configured or can be planned: large enough to keep two cores busy."""


def free_bytes(device: torch.device) -> int | None:
    """Free memory of a CUDA device; None for a CPU, whose memory no plan is made for."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None


def is_own_device(name: str | None, own: torch.device) -> bool:
    """Whether a score's `device` is that of its process.

    `cuda` is the card of the process: the first where it is alone, else the one with the number of its device.
    """
    kind, _, index = (name or own.type).partition(":")
    return kind == own.type and index in ("", str(own.index or 0))


def planner(
    config: Config, device: torch.device, shards: int = 1, row: Mapping[str, Any] | None = None
) -> Callable[[int], tuple[Batches, MemoryPlan]]:
    """The batches of a run on a device with so many free bytes, and what each phase then needs.

    The frozen weights may lie in `shards` on as many processes; `row` as of models.sizes. Raises ModelError for a model
    that cannot be found, or planned.
    """
    method = method_of(config.method)
    sizes = policy_sizes(config.policy, row)
    is_judged_alike = config.evaluated_policy == config.policy or row is not None
    judged = sizes if is_judged_alike else policy_sizes(config.evaluated_policy)
    entries = [entry for entry in (*config.reward, *config.eval.rewards) if is_own_device(entry.device, device)]
    scores = {entry.title: score_bytes(entry) for entry in entries}
    if config.eval.diversity == "dreamsim":
        scores["dreamsim, for diversity,"] = None
    offloaded = [entry.title for entry in entries if entry.offload]

    def plan(batches: Batches) -> MemoryPlan:
        return memory_plan(config, method, sizes, scores, batches, offloaded, shards, judged)

    def plan_on(free: int) -> tuple[Batches, MemoryPlan]:
        batches = _configured(config, largest_batches(plan, free, method.group_size))
        return batches, plan(batches)

    return plan_on


def chosen_batches(
    config: Config,
    device: torch.device,
    free: int | None,
    shards: int = 1,
    row: Callable[[], Mapping[str, Any] | None] = lambda: None,
) -> Batches:
    """The batches alone, for so many free bytes of a device; nothing is planned, or asked, where they need no plan."""
    if free is None or is_custom(config.policy) or "auto" not in (config.train.micro_batch, config.train.sample_batch):
        return _configured(config, ON_CPU)
    return planner(config, device, shards, row())(free)[0]


def _configured(config: Config, otherwise: Batches) -> Batches:
    """The configured batches, and others where the configuration says auto."""
    micro_batch, sample_batch = config.train.micro_batch, config.train.sample_batch
    return replace(
        otherwise,
        micro_batch=otherwise.micro_batch if micro_batch == "auto" else micro_batch,
        sample_batch=otherwise.sample_batch if sample_batch == "auto" else sample_batch,
    )
