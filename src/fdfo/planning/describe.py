"""The memory plan as a table of 80 columns."""

import torch

from fdfo.config.tree import Config
from fdfo.planning.batches import plan_for
from fdfo.planning.memory import GIB, MemoryPlan

CARDS_GIB = (16, 24, 40, 48, 80, 141)
"""Memory of cards that people have."""

USABLE_SHARE = 0.95
"""What is left of a card for a process: the driver and its context take the rest."""


def describe(config: Config) -> str:
    """Lines about the memory of a run on this machine's card, or, without one, with the batches that are configured.

    Raises ModelError for a model that cannot be found.
    """
    free = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    batches, plan = plan_for(config, free)
    lines = [
        f"memory on the device, GiB, for a micro-batch of {batches.micro_batch} rows "
        f"and {batches.sample_batch} prompts sampled at a time:",
        *_table(plan),
        f"trajectories: {plan.trajectories / GIB:.3g} GiB of host memory over all processes",
        *(f"score {name}: its size is not known here; add it yourself" for name in plan.unknown_scores),
        verdict(max(map(plan.peak, plan.phases)), free),
    ]
    return "\n".join(lines)


def verdict(peak: int, free: int | None) -> str:
    """Whether a peak fits into what is free here, or on which cards it does."""
    if free is not None:
        return f"{free / GIB:.1f} GiB are free here: it {'fits' if peak <= free else 'does NOT fit'}"
    fits = [card for card in CARDS_GIB if peak <= card * GIB * USABLE_SHARE]
    return f"it fits a card of {fits[0]} GB" if fits else f"it fits no card of {CARDS_GIB[-1]} GB; lower the batches"


def _table(plan: MemoryPlan) -> list[str]:
    parts = list(dict.fromkeys(part for own in plan.phases.values() for part in own))
    width = max(map(len, parts)) + 2
    rows = [
        "".join([part.ljust(width), *(_cell(own.get(part)) for own in plan.phases.values())]).rstrip() for part in parts
    ]
    return [
        "".join([" " * width, *(name.rjust(8) for name in plan.phases)]),
        *rows,
        "".join(["all".ljust(width), *(_cell(plan.peak(phase)) for phase in plan.phases)]),
    ]


def _cell(size: int | None) -> str:
    return ("" if size is None else f"{size / GIB:.2f}").rjust(8)
