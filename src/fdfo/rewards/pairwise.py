"""From preferences between two images of a prompt to a score of each.

B = P n images, n to a group, the images of a group adjacent and for one prompt. Preferences p(a, b) > 0 favour a.

A scorer is asked in both orders, p = (f(a, b) - f(b, a)) / 2: a liking for the first place cancels. One that has none,
f(b, a) = -f(a, b), says so by `antisymmetric = True`, and is asked once. Scores are the
least squares fit of score(a) - score(b) = p(a, b) over all pairs of a group with scores that sum to zero, which is the
mean of p(a, b) over all b of the group, a itself with p = 0 (HodgeRank on complete graphs, arXiv:0811.1067). For pairs,
these are p/2 and -p/2: a method that reads differences of scores reads the preference itself.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

Judge = Callable[[Tensor, Tensor, Sequence[str], Sequence[Mapping[str, Any]]], Tensor]
"""First and second images [Q, 3, H, W], the prompts and metadata of the pairs -> preferences [Q] for the first."""


def group_scores(
    judge: Judge,
    images: Tensor,
    prompts: Sequence[str],
    metadata: Sequence[Mapping[str, Any]],
    group_size: int,
    *,
    both_orders: bool = True,
) -> Tensor:
    """Scores [B] of images [B, 3, H, W]; zeros for groups of one, where there is nothing to prefer.

    Without `both_orders` a judge that knows no first place is asked once for a pair.
    """
    if group_size == 1:
        return torch.zeros(len(images), dtype=torch.float64, device=images.device)
    first, second = pairs_of(len(images), group_size)
    described = [prompts[i] for i in first], [metadata[i] for i in first]
    preference = judge(images[first], images[second], *described)  # [Q]
    if both_orders:
        preference = (preference - judge(images[second], images[first], *described)) / 2
    share = preference.new_zeros(len(images))
    share = share.index_add(0, torch.tensor(first, device=share.device), preference)
    return share.index_add(0, torch.tensor(second, device=share.device), -preference) / group_size


def margin_problems(
    margins: Mapping[str, float | None], pairwise: Sequence[str], people: Sequence[str] = ()
) -> list[str]:
    """What is wrong with `undecided_within` of the scores, by name, of which some are pairwise and some ask people."""
    wanting = [name for name, margin in margins.items() if margin is not None]
    what = "undecided_within leaves pairs to the other scores"
    single = [f"reward {name!r}: {what}; it has one of single images" for name in wanting if name not in pairwise]
    alone = [f"reward {name!r}: {what}; there is none" for name in wanting if len(wanting) == len(margins)]
    # People come after networks; of two of a kind, neither is first.
    kinds = [[name for name in wanting if (name in people) is asks] for asks in (False, True)]
    mutual = [
        f"rewards {', '.join(map(repr, kind))}: {what}, so each would wait for the other; keep it for one of them"
        for kind in kinds
        if len(kind) > 1
    ]
    return single or alone or mutual


def only_close(judge: Judge, others: Tensor, margin: float, group_size: int) -> Judge:
    """A judge that is asked only for pairs that other scores [B] leave open; it prefers neither image of the rest.

    They do where those of the two images differ by `margin` at most.
    """
    is_open = close(others, margin, group_size)  # [Q]

    def ask(one: Tensor, other: Tensor, prompts: Sequence[str], metadata: Sequence[Mapping[str, Any]]) -> Tensor:
        rows: list[int] = is_open.nonzero().flatten().tolist()
        texts, described = [prompts[row] for row in rows], [metadata[row] for row in rows]
        told = judge(one[rows], other[rows], texts, described)
        return told.new_zeros(len(prompts)).index_put((torch.tensor(rows, dtype=torch.long),), told)

    return ask


def close(others: Tensor, margin: float, group_size: int) -> Tensor:
    """Which pairs have scores, of [B], that differ by `margin` at most, in either order of the images: [Q] bool."""
    first, second = pairs_of(len(others), group_size)
    return (others[first] - others[second]).abs() <= margin


def pairs_of(count: int, group_size: int) -> tuple[list[int], list[int]]:
    """Numbers of the first and of the second image of every pair within a group, each pair once."""
    assert count % group_size == 0
    pairs = [
        (start + i, start + j) for start in range(0, count, group_size) for i in range(group_size) for j in range(i)
    ]
    return [j for _, j in pairs], [i for i, _ in pairs]
