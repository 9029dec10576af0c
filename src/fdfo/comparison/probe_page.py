"""The table of a probe, from what it measured alone."""

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from fdfo.comparison.page import limits, places_facts
from fdfo.comparison.plan import Plan
from fdfo.comparison.probe import EXACT, Probed
from fdfo.comparison.signal import alignment, cosine, cosine_with_exact, draws, estimate, interval, noise
from fdfo.comparison.tables import Table
from fdfo.evaluation.report.text import NONE, number
from fdfo.evaluation.statistics import Interval
from fdfo.visible import visible

IMAGES, EVALUATIONS = 1000, 100_000
"""Signal-to-noise ratios are given for this many images and network evaluations."""

NOTE = (
    "Intervals: 95 %, bootstrap over batches. cosine: of two independent estimates, each of one batch. noise: variance "
    "of such an estimate over its squared mean. signal-to-noise: the inverse, for equally many images or network "
    "evaluations. times the noise: noise for equally many images, over that of {reference}. with the exact gradient: "
    "cosine of an estimate with the score's gradient through the whole sampler. on average: the same cosine of the "
    "expectations of both; 1 for an estimate without bias, however noisy."
)


def probe_markdown(plan: Plan, probed: Sequence[Probed], command: str) -> str:
    """A table for each score; `command` is what writes it."""
    limit = limits(plan)
    blocks = [
        f"# {plan.title}: signal and noise of the gradient",
        *([limit] if limit else []),
        f"Written by `{command}`.",
    ]
    places = places_facts([one.environment for one in probed])
    blocks += ["\n".join(f"- {term}: {value}" for term, value in places)]
    blocks += [table(plan, score, [one for one in probed if one.score == score]).markdown() for score in plan.scores]
    return visible("\n\n".join([*blocks, NOTE.format(reference=plan.reference_cell)]) + "\n")


def table(plan: Plan, score: str, probed: Sequence[Probed]) -> Table:
    """Every cell, the exact gradient first."""
    by_cell = {one.cell: one for one in probed}
    reference = by_cell.get(plan.reference_cell)
    head = ["cell", "images", "evaluations", "seconds", "cosine", "noise", f"signal-to-noise of {IMAGES:,} images"]
    head += [f"of {EVALUATIONS:,} evaluations", "times the noise", "with the exact gradient", "on average"]
    return Table(f"Trained on {score}", head, [list(_row(one, reference)) for one in by_cell.values()])


def _row(one: Probed, reference: Probed | None) -> Iterator[str]:
    evaluations = one.evaluations
    found = estimate(one.products, noise)
    yield "the exact gradient" if one.cell == EXACT else one.cell
    yield f"{one.cost.images:,}"
    yield f"{evaluations:,.0f}"
    yield number(one.seconds, 3)
    yield _text(estimate(one.products, cosine))
    yield _text(found)
    yield _text(_inverse(found, IMAGES / one.cost.images))
    yield _text(_inverse(found, EVALUATIONS / evaluations))
    yield NONE if reference is None or one is reference else _text(noise_ratio(one, reference))
    yield _text(estimate(one.products, cosine_with_exact)) if one.products.has_exact else NONE
    yield _text(estimate(one.products, alignment)) if one.products.has_exact else NONE


def noise_ratio(one: Probed, reference: Probed) -> Interval:
    """Noise of an estimate from equally many images, over that of the reference."""
    scale = one.cost.images / reference.cost.images
    with np.errstate(invalid="ignore"):
        resampled = scale * draws(one.products, noise) / draws(reference.products, noise, seed=1)
    value = scale * estimate(one.products, noise).mean / estimate(reference.products, noise).mean
    return interval(value, resampled, len(one.products.own))


def _inverse(found: Interval, factor: float) -> Interval:
    """factor / value; the ends change places."""
    mean, low, high = (factor / value if value > 0 else float("inf") for value in (found.mean, found.high, found.low))
    return Interval(mean, low, high, found.n)


def _text(found: Interval) -> str:
    mean, low, high = (
        number(v, 3) if isfinite(v) else NONE if v != v else "∞" for v in (found.mean, found.low, found.high)
    )
    return f"{mean} [{low}, {high}]"
