"""The memory plan as a table of 80 columns."""

import torch

from fdfo.config.tree import Config
from fdfo.models.custom_policy import is_custom
from fdfo.planning.batches import planner
from fdfo.planning.memory import GIB, MemoryPlan, peak
from fdfo.words import plural

CARDS_GIB = (12, 16, 24, 40, 48, 80, 141)
"""Memory of cards that people have."""

USABLE_SHARE = 0.95
"""What is left of a card for a process: the driver and its context take the rest."""


def describe(config: Config) -> str:
    """Lines about the memory of a run on this machine's card, or, without one, on the smallest card that it fits.

    Raises ModelError for a model that cannot be found.
    """
    if is_custom(config.policy):
        return f"nothing is known of the memory of {config.policy.name}; batches are halved where it does not suffice"
    here = torch.cuda.mem_get_info()[0] if torch.cuda.is_available() else None
    sizes = [round(card * USABLE_SHARE * GIB) for card in CARDS_GIB] if here is None else [here]
    plan_on = planner(config, torch.device("cuda"))
    found = [(usable, *plan_on(usable)) for usable in sizes]
    usable, batches, plan = next((one for one in found if peak(one[2]) <= one[0]), found[-1])
    card = f"a card of {usable / GIB / USABLE_SHARE:.0f} GB"
    where = card if here is None else f"the {here / GIB:.1f} GiB that are free here"
    lines = [
        f"memory on the device, GiB, for a micro-batch of {plural(batches.micro_batch, 'row')} "
        f"and {plural(batches.sample_batch, 'prompt')} sampled at a time:",
        *_table(plan),
        "host memory of each process, GiB:",
        *(f"  {part:<36}{size / GIB:>6.2f}" for part, size in plan.host.items() if size),
        f"  {'all':<36}{sum(plan.host.values()) / GIB:>6.2f}",
        f"and over all processes, GiB of host memory: {plan.trajectories / GIB:.3g} for trajectories"
        + (f", {plan.waiting / GIB:.3g} for images that wait for scores" if plan.waiting else ""),
        *(f"score {name}: its size is not known here; add it yourself" for name in plan.unknown_scores),
        f"it {'fits' if peak(plan) <= usable else 'does NOT fit'} {where}",
    ]
    return "\n".join(lines)


def _table(plan: MemoryPlan) -> list[str]:
    parts = list(dict.fromkeys(part for own in plan.phases.values() for part in own))
    width = max(map(len, parts)) + 2
    rows = [
        "".join([part.ljust(width), *(_cell(own.get(part)) for own in plan.phases.values())]).rstrip() for part in parts
    ]
    return [
        "".join([" " * width, *(name.rjust(8) for name in plan.phases)]),
        *rows,
        "".join(["all".ljust(width), *(_cell(plan.resident(phase)) for phase in plan.phases)]),
    ]


def _cell(size: int | None) -> str:
    return ("" if size is None else f"{size / GIB:.2f}").rjust(8)
