"""What will be resident on the device in each phase of an epoch, and the largest batches that fit.

Weights and what a forward pass keeps are counted exactly (models/sizes.py). The factors below say what a kernel needs
beside them; they are fitted to the peaks in docs/results/data/scale-h200.json, which a test holds them to.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from fdfo.config.tree import Config
from fdfo.interfaces import Method
from fdfo.models.sd3 import DECODED_PIXELS
from fdfo.models.sizes import PolicySizes

FORWARD_SHARE = 0.55
"""What a forward pass without gradient holds at a time for a row, in what its largest block would keep."""

BACKWARD_SHARE = 0.7
"""What a backward pass holds beside what was kept, likewise."""

COMPILED_SHARE = 0.6
"""What compiled blocks keep, of what they keep otherwise: element-wise steps are computed again in their kernels."""

DECODER_MAPS = 9.5
"""Feature maps at full resolution that decoding an image holds at a time."""

SCORING_SHARE = 0.15
"""What a score's network computes with, in its weights."""

RESERVE = 0.1
"""Share of the free memory that automatic batches leave alone: fragments, other libraries' workspaces."""

LARGEST_BATCH = {"micro_batch": 64, "sample_batch": 16}
"""Beyond these a batch is not faster: 16 pairs fill a large card, and a stop waits for a sample batch."""

GIB = 2**30


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the device by phase and by what they are for; trajectories are in host memory."""

    phases: Mapping[str, Mapping[str, int]]
    trajectories: int
    unknown_scores: tuple[str, ...]
    """Scores whose size is not known; they are not in the plan."""

    def resident(self, phase: str) -> int:
        """All that is on the device in a phase."""
        return sum(self.phases[phase].values())


def peak(plan: MemoryPlan) -> int:
    """The most that is on the device in any phase."""
    return max(map(plan.resident, plan.phases))


@dataclass(frozen=True)
class Batches:
    """Rows of a training step, and prompts sampled at a time."""

    micro_batch: int
    sample_batch: int
    branches_together: bool = True
    """Whether both branches of guidance share a batch."""


def memory_plan(
    config: Config,
    method: Method,
    sizes: PolicySizes,
    scores: Mapping[str, int | None],
    batches: Batches,
    offloaded: Collection[str] = (),
) -> MemoryPlan:
    """The plan for these batches; scores are the bytes of each score's weights, None where not known.

    Those of `offloaded` scores are on the device one at a time, in the phase `score` alone.
    """
    moments = 2 * sizes.trained // (4 if config.optim.kind == "adamw8bit" else 1)
    copies = len(method.averages) + (config.optim.ema is not None)
    network = {"transformer": sizes.frozen, "adapter" if _is_lora(config) else "trained weights": sizes.trained}
    state = {"gradients": sizes.trained, "optimizer": moments, "averaged weights": copies * sizes.trained}
    if not _is_lora(config) and config.policy.dtype != "float32":
        state["weights in the network's dtype"] = sizes.trained // 2
    known = {name: size for name, size in scores.items() if size}
    resident = {f"score {name}": size for name, size in known.items() if name not in offloaded}
    visiting = max((size for name, size in known.items() if name in offloaded), default=0)
    standing = {**network, **state, "decoder": sizes.decoder, **resident}
    rows = batches.sample_batch * method.group_size
    forward = round(FORWARD_SHARE * sizes.largest_block) * branches_at_a_time(config, batches)
    phases = {
        "encode": {**standing, "text encoders": sizes.text_encoders},
        "sample": {**standing, "activations": rows * forward},
        "decode": {**standing, "activations": round(rows_decoded(rows, sizes) * decoded_bytes(sizes))},
        "score": {
            **standing,
            "largest offloaded score": visiting,
            "activations": round(SCORING_SHARE * max(known.values(), default=0)),
        },
        "train": {**standing, "activations": batches.micro_batch * trained_bytes(config, sizes, batches)},
    }
    images = config.prompts.pairs_per_epoch * method.group_size
    row = method.row_latents * sizes.latent + method.row_velocities * sizes.state_and_velocity
    return MemoryPlan(
        phases={name: {part: size for part, size in parts.items() if size} for name, parts in phases.items()},
        trajectories=images * (method.trained_times * row + 2 * sizes.latent),
        unknown_scores=tuple(name for name, size in scores.items() if size is None),
    )


def branches(config: Config) -> int:
    """Network evaluations of a velocity."""
    return 1 if config.policy.guidance == 1 else 2


def branches_at_a_time(config: Config, batches: Batches) -> int:
    """Of these, how many share a batch."""
    return branches(config) if batches.branches_together else 1


def trained_bytes(config: Config, sizes: PolicySizes, batches: Batches) -> int:
    """What one row of a training step, with all branches of guidance, holds at its peak."""
    compiled = COMPILED_SHARE if config.policy.compile else 1.0
    kept, at_a_time = branches(config), branches_at_a_time(config, batches)
    if config.policy.gradient_checkpointing:
        return round(kept * sizes.saved_inputs + at_a_time * compiled * (1 + BACKWARD_SHARE) * sizes.largest_block)
    return round(compiled * (kept * sizes.saved + at_a_time * BACKWARD_SHARE * sizes.largest_block))


def decoded_bytes(sizes: PolicySizes) -> float:
    """What decoding one image holds at its peak."""
    return DECODER_MAPS * sizes.full_resolution_map


def rows_decoded(rows: int, sizes: PolicySizes) -> int:
    """Images that are decoded at a time (models/sd3.py)."""
    return min(rows, max(1, DECODED_PIXELS // sizes.pixels))


def largest_batches(plan: Callable[[Batches], MemoryPlan], free: int) -> Batches:
    """The largest batches, powers of two, whose phases fit into `free` bytes less the reserve; 1 where none does.

    The branches of guidance share them unless a single prompt or row does not fit so.
    """
    usable = round(free * (1 - RESERVE))
    smallest = Batches(micro_batch=1, sample_batch=1)
    together = max(plan(smallest).resident(phase) for phase in ("sample", "train")) <= usable
    smallest = replace(smallest, branches_together=together)

    def largest(field: str, phase: str) -> int:
        size = LARGEST_BATCH[field]
        while size > 1 and plan(replace(smallest, **{field: size})).resident(phase) > usable:
            size //= 2
        return size

    return replace(
        smallest, micro_batch=largest("micro_batch", "train"), sample_batch=largest("sample_batch", "sample")
    )


def _is_lora(config: Config) -> bool:
    return config.policy.adapter.kind == "lora"
