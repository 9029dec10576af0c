"""Metrics of the scores of an epoch, over all processes. P prompts, N samples of all processes."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from fdfo.errors import RewardError
from fdfo.objectives.advantage import centred, moments
from fdfo.records import Prompt, Rollout, Scores
from fdfo.rewards.when import Applied
from fdfo.training.engine import Engine


def components_of_all(engine: Engine, scores: Sequence[Scores]) -> dict[str, Tensor]:
    """Components of the samples of all processes: [N] float64 by name.

    Gathered in order of rank, which is the order of the prompts: the same for any process count.
    """
    own = torch.cat([torch.stack([*part.components.values()], 1) for part in scores])
    return dict(zip(scores[0].components, engine.team.gather_rows(own).unbind(1), strict=True))


def _compared(engine: Engine) -> int:
    """Images whose scores are compared with each other: a group, or each alone where the loss scores images itself."""
    return engine.method.group_size if engine.method.needs_scores else 1


def score_metrics(
    engine: Engine, trained: Tensor, components: Mapping[str, Tensor], applied: Applied
) -> dict[str, float]:
    """Means, spread within groups and failures of all samples, from the trained scores and the components, each [N].

    A pair that people skip did not fail. The mean of a component is over the images that it was asked about.
    """
    total, group_size = engine.reward.total(components, applied), _compared(engine)  # without standardisation
    skipped = torch.zeros(len(total), dtype=torch.bool)
    for name in engine.reward.asked.names:
        skipped |= components[name].isnan()
    groups = trained.reshape(-1, group_size)
    variance = centred(groups).square().mean(1)  # [P], NaN where a score failed
    finite = total[total.isfinite()]
    mean, deviation = moments(finite)
    return {
        "reward": mean,
        "reward_std": deviation,
        "group_spread": float(variance.nanmean().sqrt()),
        "images": float(len(total)),
        "failed": float((~total.isfinite() & ~skipped).sum()),
        **(
            {"skipped_groups": float(skipped.reshape(-1, group_size).any(1).sum())} if engine.reward.asked.names else {}
        ),
        "dropped_groups": float((~groups.isfinite().all(1)).sum()),
        **{f"score/{name}": float(values.nanmean()) for name, values in components.items()},
    }


def stop_if_too_many_failed(
    engine: Engine, rollouts: Sequence[Rollout], scores: Sequence[Scores], metrics: Mapping[str, float]
) -> None:
    """Raise RewardError in every process if more scores failed than `train.max_failed_share`, or no group is left."""
    group_size = _compared(engine)
    share, allowed = metrics["failed"] / metrics["images"], engine.config.train.max_failed_share
    if share <= allowed and metrics["dropped_groups"] * group_size < metrics["images"]:
        return
    failed = [
        (prompt.text, [name for name in _asked(engine, prompt) if not part.components[name][i].isfinite()])
        for rollout, part in zip(rollouts, scores, strict=True)
        for i, prompt in enumerate(rollout.sample_prompts)
        if not part.total[i].isfinite()
    ]
    returned = engine.reward.failures
    kinds = {name: f" (returned {returned[name]})" if name in returned else "" for name in engine.reward.names}
    examples = "; ".join(
        f"{', '.join(name + kinds[name] for name in names)} on {text[:80]!r}" for text, names in failed[:3]
    )
    error = RewardError(
        f"{metrics['failed']:.0f} of {metrics['images']:.0f} scores failed, more than "
        f"train.max_failed_share={allowed} allows or too many to train on"
        + (f"; for example: {examples}" if examples else "")
    )
    engine.team.raise_together(error if engine.team.is_main else None)  # all know it; one tells


def _asked(engine: Engine, prompt: Prompt) -> list[str]:
    """Names of the components that score a prompt."""
    applied = engine.reward.applied([prompt.metadata])
    return [name for name in engine.reward.names if name not in applied or bool(applied[name])]
