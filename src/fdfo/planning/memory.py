"""What will be resident on the device in each phase of an epoch, and the largest batches that fit.

Weights and what a forward pass keeps are counted exactly (models/sizes.py). The factors below say what a kernel needs
beside them; they are fitted to the peaks in docs/results/data/scale-h200.json, which a test holds them to.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial

from fdfo.config.tree import Config, PolicyConfig
from fdfo.interfaces import Method
from fdfo.models.policy import DECODED_PIXELS
from fdfo.models.sizes import PolicySizes

BACKWARD_SHARE = 0.7
"""What a backward pass holds beside what was kept, in what the largest block would keep."""

COMPILED_SHARE = 0.6
"""What compiled blocks keep, of what they keep otherwise: element-wise steps are computed again in their kernels."""

DECODER_MAPS = 9.5
"""Feature maps at full resolution that decoding an image holds at a time."""

SCORING_SHARE = 0.12
"""What a score's network computes with, in its weights."""

SCORE_GRADIENT_SHARE = 0.2
"""What a score keeps of one image for its gradient, in its weights. An estimate: no peak was measured. Counted on the
meta device, CLIP-H keeps 0.11 and CLIP-L/14 0.21 of them."""

RESERVE = 0.1
"""Share of the free memory that automatic batches leave alone: fragments, other libraries' workspaces."""

LARGEST_BATCH = {"micro_batch": 64, "sample_batch": 16}
"""Beyond these a batch is not faster."""

LARGEST_SAMPLED = 32
"""Rows sampled at a time: they fill a large card, and a stop waits for them."""

GIB = 2**30


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on the device by phase and by what they are for, and in host memory."""

    phases: Mapping[str, Mapping[str, int]]
    host: Mapping[str, int]
    """What each process holds in host memory beside its share of the trajectories."""
    trajectories: int
    """Bytes of trajectories in host memory, over all processes."""
    waiting: int
    """Images that wait there for scores which take turns, likewise."""
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
    shards: int = 1,
    judged: PolicySizes | None = None,
) -> MemoryPlan:
    """The plan for these batches; scores are the bytes of each score's weights, None where not known.

    Those of `offloaded` scores are on the device one at a time, in the phase `score` alone. The frozen weights may lie
    in `shards` on as many processes. `judged` are the sizes of the model as it is judged, where they are others.
    """
    moments = 2 * sizes.trained // (4 if config.optim.kind == "adamw8bit" else 1)
    copies = len(method.averages) + (config.optim.ema is not None)
    network = {
        "transformer": sizes.frozen // shards,
        "adapter" if _is_lora(config) else "trained weights": sizes.trained,
    }
    state = {"gradients": sizes.trained, "optimizer": moments, "averaged weights": copies * sizes.trained}
    copied = 0 if config.policy.dtype == "float32" else sizes.trained // 2
    evaluated_with = {"cast weights": copied}
    known = {name: size for name, size in scores.items() if size}
    resident = {f"score {name}": size for name, size in known.items() if name not in offloaded}
    visiting = max((size for name, size in known.items() if name in offloaded), default=0)
    standing = {**network, **state, "decoder": sizes.decoder, **resident}
    stays = shards > 1 or config.policy.quantize is not None
    moved = () if stays else (*network, *state.keys() - {"optimizer"})  # with the network, for the text encoders
    encoding = {part: size for part, size in standing.items() if part not in moved}
    rows, samples = (count * method.group_size for count in (batches.sample_batch, config.prompts.pairs_per_epoch))
    evaluated = 2 * config.eval.prompts * config.eval.images_per_prompt  # and once more while they are joined
    recorded, images = rows * recorded_bytes(method, sizes), rows * 4 * 3 * sizes.pixels
    trained = {entry.title for entry in config.reward}
    take_turns = not trained.isdisjoint(offloaded) and not method.needs_score_gradient
    followed = partial(followed_bytes, sizes, sum(size for name, size in known.items() if name in trained))
    forward = sizes.forward * branches_at_a_time(config.policy, batches)
    phases = {
        "encode": {"text encoders": sizes.text_encoders, **encoding},
        "sample": {**standing, **evaluated_with, "recorded states": recorded, "activations": rows * forward},
        "decode": {
            **standing,
            "recorded states": recorded,
            "images": images,
            "activations": decoding_bytes(sizes, rows, method.needs_score_gradient),
        },
        "score": {
            **standing,
            "recorded states": 0 if take_turns else recorded,  # such scores come when all of them are in host memory
            "images": images,
            "largest offloaded score": visiting,
            "activations": round(SCORING_SHARE * max(known.values(), default=0)),
            **(followed(rows) if method.needs_score_gradient else {}),
        },
        "train": {
            **standing,
            **evaluated_with,
            "activations": batches.micro_batch * row_bytes(config, method, sizes, batches),
            **(followed(batches.micro_batch) if method.differentiates_reward else {}),
        },
    }
    if judged is not None and judged != sizes:
        phases["judge"] = judging_parts(config, judged, batches, rows, {**standing, **evaluated_with})
    return MemoryPlan(
        phases={name: {part: size for part, size in parts.items() if size} for name, parts in phases.items()},
        host=host_parts(config, sizes, sum(size for name, size in known.items() if name in offloaded), stays),
        trajectories=samples * recorded_bytes(method, sizes),
        waiting=4
        * 3
        * max(take_turns * samples * sizes.pixels, bool(offloaded) * evaluated * (judged or sizes).pixels),
        unknown_scores=tuple(name for name, size in scores.items() if size is None),
    )


def host_parts(config: Config, sizes: PolicySizes, taking_turns: int, stays: bool) -> dict[str, int]:
    """What each process holds in host memory; `taking_turns` are the bytes of scores that do.

    `stays` says whether the network is on the device while prompts are encoded.
    """
    return {
        "text encoders": sizes.text_encoders,
        "encoded prompts, at most": round(config.policy.prompt_memory_gib * GIB),
        "transformer while they are encoded": 0 if stays else sizes.frozen + sizes.trained,
        "scores that take turns": taking_turns,
    }


def judging_parts(
    config: Config, judged: PolicySizes, batches: Batches, rows: int, standing: Mapping[str, int]
) -> dict[str, int]:
    """What is there while the model is judged as it is not trained; a sibling takes the trained network's place."""
    parts = dict(standing)
    if config.eval.policy is not None:
        for part in ("transformer", "adapter", "gradients", "averaged weights"):
            parts.pop(part, None)
        parts |= {"judged network": judged.frozen + judged.trained, "its decoder": judged.decoder}
    forward = judged.forward * branches_at_a_time(config.evaluated_policy, batches)
    parts["images"] = rows * 4 * 3 * judged.pixels
    parts["activations"] = max(rows * forward, decoding_bytes(judged, rows, gradient=False))
    return parts


def recorded_bytes(method: Method, sizes: PolicySizes) -> int:
    """What is kept of one sample for training: states and velocities at the trained times, and both ends."""
    row = method.row_latents * sizes.latent + method.row_velocities * sizes.state_and_velocity
    return method.trained_times * row + 2 * sizes.latent


def branches(policy: PolicyConfig) -> int:
    """Network evaluations of a velocity."""
    return 1 if policy.guidance == 1 else 2


def branches_at_a_time(policy: PolicyConfig, batches: Batches) -> int:
    """Of these, how many share a batch."""
    return branches(policy) if batches.branches_together else 1


def row_bytes(config: Config, method: Method, sizes: PolicySizes, batches: Batches) -> int:
    """What the network holds of one row of a training step: all of its evaluations, and the states that enter them."""
    return trained_bytes(config, sizes, batches, method.kept_evaluations) + round(method.row_evaluations * sizes.latent)


def trained_bytes(config: Config, sizes: PolicySizes, batches: Batches, evaluations: int = 1) -> int:
    """What evaluations of one row, with all branches of guidance, hold at their peak for a training step."""
    compiled = COMPILED_SHARE if config.policy.compile else 1.0
    kept, at_a_time = evaluations * branches(config.policy), branches_at_a_time(config.policy, batches)
    if config.policy.gradient_checkpointing:
        return round(kept * sizes.saved_inputs + at_a_time * compiled * (1 + BACKWARD_SHARE) * sizes.largest_block)
    return round(compiled * (kept * sizes.saved + at_a_time * BACKWARD_SHARE * sizes.largest_block))


def followed_bytes(sizes: PolicySizes, weights: int, images: int) -> dict[str, int]:
    """What images hold until the gradient of their scores is there; weights are those of the scores."""
    return {
        "decoding with gradient": decoding_bytes(sizes, images, gradient=True),
        "scores with gradient (estimate)": round(images * SCORE_GRADIENT_SHARE * weights),
    }


def decoding_bytes(sizes: PolicySizes, images: int, gradient: bool) -> int:
    """What decoding images holds at its peak; with gradient, all at a time and until it is there."""
    working = DECODER_MAPS * sizes.full_resolution_map
    return round(images * (sizes.decoder_saved + working) if gradient else rows_decoded(images, sizes) * working)


def rows_decoded(rows: int, sizes: PolicySizes) -> int:
    """Images that are decoded at a time (models/policy.py)."""
    return min(rows, max(1, DECODED_PIXELS // sizes.pixels))


def largest_batches(plan: Callable[[Batches], MemoryPlan], free: int, group_size: int) -> Batches:
    """The largest batches, powers of two, whose phases fit into `free` bytes less the reserve; 1 where none does.

    A sample batch has at most LARGEST_SAMPLED images, `group_size` of each prompt.

    The branches of guidance share them unless a single prompt or row does not fit so. A phase that needs the reserve
    with the smallest batches already may need it with larger ones, up to all that is free; one that does not fit grows
    no further.
    """
    usable = round(free * (1 - RESERVE))
    smallest = Batches(micro_batch=1, sample_batch=1)
    together = max(plan(smallest).resident(phase) for phase in ("sample", "train")) <= usable
    smallest = replace(smallest, branches_together=together)
    least = plan(smallest)
    bounds = {
        phase: usable if least.resident(phase) <= usable else max(free, least.resident(phase)) for phase in least.phases
    }

    def fits(batches: Batches) -> bool:
        needed, sampled = plan(batches), batches.sample_batch * group_size
        return (sampled <= LARGEST_SAMPLED or batches.sample_batch == 1) and all(
            needed.resident(phase) <= bounds[phase] for phase in needed.phases
        )

    def largest(field: str) -> int:
        size = LARGEST_BATCH[field]
        while not fits(replace(smallest, **{field: size})):
            size //= 2
        return size

    return replace(smallest, **{field: largest(field) for field in LARGEST_BATCH})


def _is_lora(config: Config) -> bool:
    return config.policy.adapter.kind == "lora"
