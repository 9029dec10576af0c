"""Base weights spread over the processes, for a policy that does not fit beside its activations (FSDP2).

Only the frozen weights of the transformer are sharded; every process gathers those of one block while it uses them. The
adapters stay whole on every process, and their gradients are added up as always. Chosen by accelerate's configuration
(`distributed_type: FSDP`, `fsdp_version: 2`). Loading still puts the whole transformer on each card, one moment long.
"""

import os

from accelerate import FullyShardedDataParallelPlugin
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from fdfo.config.tree import Config
from fdfo.errors import ConfigError
from fdfo.interfaces import Policy
from fdfo.training.distributed import Team


def shards_base() -> bool:
    """Whether accelerate was configured for FSDP."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check_sharding(config: Config, team: Team) -> None:
    """Raise ConfigError unless every process makes the same number of network evaluations, as gathering needs.

    Held-out prompts, whose list may be shorter than `eval.prompts`, are checked where they are read.
    """
    problems = []
    if FullyShardedDataParallelPlugin().fsdp_version != 2:
        problems.append("fsdp_version is not 2; set it in accelerate's configuration")
    if config.policy.adapter.kind == "full":
        problems.append("policy.adapter.kind=full cannot be sharded; train adapters (lora), or use DDP")
    if config.policy.quantize is not None:
        problems.append("policy.quantize: weights in few bits cannot be sharded; use DDP, or no policy.quantize")
    if (pairs := config.prompts.pairs_per_epoch) % team.size:
        up = -(-pairs // team.size) * team.size
        problems.append(f"prompts.pairs_per_epoch={pairs} does not divide by {team.size} processes; use {up}, or DDP")
    if config.train.max_failed_share > 0:
        problems.append("a failed score would leave one process with fewer rows; use train.max_failed_share=0")
    if problems:
        raise ConfigError("the configuration, for sharded base weights (FSDP)", problems)


def shard_base(policy: Policy, team: Team) -> None:
    """Spread the frozen weights of a policy with adapters over the processes, block by block."""
    mesh = init_device_mesh(team.device.type, (team.size,))
    adapters = set(policy.trainable())
    for block in policy.shardable():
        fully_shard(block, mesh=mesh, ignored_params=adapters & set(block.parameters()))
