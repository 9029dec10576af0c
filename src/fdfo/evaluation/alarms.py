"""Alarms: signs that a run improves its score at the expense of what the score does not see."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fdfo.evaluation.heldout import Evaluation

SURE = 2.0
"""Times its interval's half width that a fall must be: the best of many evaluations looks better than it was, and each
of them is looked at (ours; twice is 3.9 standard errors)."""

DIVERSITY_FLOOR = 0.6
"""Alarm when diversity falls below this share of its value before training (ours)."""

VELOCITY_CEILING = 1.4
"""Alarm when the RMS of the velocity exceeds this multiple of its value before training.

Ours, from the embedded model: five normal runs of 100 epochs, whose unseen scores all rise, end at 1.2 to 1.3 times, a
run made to hack its score passes 1.4 (docs/results/demo.md, hacking.md)."""

SHARPNESS_RANGE = (0.6, 1.6)
"""Alarm when the energy of fine details leaves this range of multiples of its value before training (ours)."""

OUTSIDE = 1 / 3
"""Alarm when a larger share of an update's rows is outside the trust region (ours)."""


@dataclass(frozen=True)
class Alarm:
    """One finding of an evaluation, or of an epoch."""

    epoch: int
    name: str
    message: str


def alarms(history: Sequence[Evaluation], unseen: Sequence[str], trained: str = "reward") -> list[Alarm]:
    """Findings of the latest evaluation, against the one before training; `unseen` are the scores not trained on.

    over-optimisation: the trained score is significantly up since the first evaluation, and since the best
    evaluation of an unseen score it rose while that one fell by twice what is significant (paired 95 % intervals over
    prompts): so that a run with 20 evaluations whose unseen scores do not change raises hardly ever one.
    diversity, velocity, sharpness: beyond the limits above, in the mean over prompts.
    """
    if len(history) < 2:
        return []
    first, last = history[0], history[-1]
    found = []
    if trained in last.scores and last.gain(first, trained).low > 0:
        for name in unseen:
            peak = max(history[:-1], key=lambda past: past.interval(name).mean)
            fall = last.gain(peak, name)
            since = "before training" if peak is first else f"epoch {peak.epoch}"
            width = fall.high - fall.mean
            if fall.mean + SURE * width < 0 and last.gain(peak, trained).mean > 0:
                message = f"{name} fell by {-fall.mean:.3g} since {since} while the trained score rose"
                found.append(Alarm(last.epoch, "over-optimisation", message))
    if first.diversity is not None and last.diversity is not None:
        share = _ratio(last, first, "diversity")
        if share < DIVERSITY_FLOOR:
            message = f"images of one prompt differ {share:.0%} as much as before training"
            found.append(Alarm(last.epoch, "diversity", message))
    growth = _ratio(last, first, "velocity_rms")
    if growth > VELOCITY_CEILING:
        message = f"the velocity's RMS grew to {growth:.2f} times that before training"
        found.append(Alarm(last.epoch, "velocity", message))
    detail = _ratio(last, first, "sharpness")
    if not SHARPNESS_RANGE[0] <= detail <= SHARPNESS_RANGE[1]:
        message = f"fine details of the images have {detail:.2f} times their contrast before training"
        found.append(Alarm(last.epoch, "sharpness", message))
    return found


def _ratio(last: Evaluation, first: Evaluation, name: str) -> float:
    """How many times its value before training; 1 where that was zero, as of black images: nothing to compare with."""
    before = first.interval(name).mean
    return last.interval(name).mean / before if before else 1.0


def constant_score(epoch: int, rollout: Mapping[str, float], group_size: int) -> Alarm | None:
    """A finding of training: all images of every prompt got one score, whose differences methods learn from.

    From what is logged of the epoch. Equal is what gives no gradient: exactly equal.
    """
    if group_size == 1 or rollout["group_spread"] != 0:
        return None
    message = (
        f"all images of every prompt got the same score, {rollout['reward']:.4g} in the mean: nothing to learn from"
    )
    return Alarm(epoch, "constant score", message)


def outside_trust_region(epoch: int, updates: Sequence[Mapping[str, float]]) -> Alarm | None:
    """A finding of training: an update began with many rows outside the trust region, where its method holds them back.

    From what is logged of the epoch's updates.
    """
    share = max(update.get("clip_fraction", 0.0) for update in updates)
    if share <= OUTSIDE:
        return None
    message = (
        f"{share:.0%} of the rows of an update were outside the trust region; lower optim.lr or "
        "optim.updates_per_epoch, or raise method.clip_range"
    )
    return Alarm(epoch, "trust region", message)
