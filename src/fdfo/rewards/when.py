"""Scores for some prompts only: whom a component is asked about, and sums of those that were asked.

B images. A component without a condition is asked about all of them. Where it was not asked, it has no score: its
tensor holds NaN there, as where it failed, and what is `applied` tells the two apart. A sum has the components that
were asked, and nothing in the place of the others; the images of a group share their prompt, and so their components.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fdfo.config.when import When
from fdfo.records import Prompt

Applied = Mapping[str, Tensor]
"""For each component that has a condition, the images that it is asked about, [B] bool."""

_NAMED = 8
"""Most values that a message lists."""


class Conditions:
    """Conditions of components by name; None: the component scores every image."""

    def __init__(self, conditions: Mapping[str, When | None]):
        self._of = {name: condition for name, condition in conditions.items() if condition is not None}
        self._some_are_always_asked = len(self._of) < len(conditions)

    def applied(self, metadata: Sequence[Mapping[str, Any]]) -> dict[str, Tensor]:
        """Which images with these metadata each component with a condition is asked about, by name: [B] bool."""
        return {
            name: torch.tensor([fulfils(entry, condition) for entry in metadata], dtype=torch.bool)
            for name, condition in self._of.items()
        }

    def problems(self, prompts: Sequence[Prompt], what: str, *, all_scored: bool = True) -> list[str]:
        """What is wrong with a list of prompts: a component that is asked about none, and prompts without any."""
        applied = self.applied([prompt.metadata for prompt in prompts])
        found = [
            f"reward {name!r}: when {_told(self._of[name])} fits none of the {len(prompts)} {what}, which have "
            f"{_values(prompts, list(self._of[name]))}; correct it, or give prompts that it fits"
            for name, asked in applied.items()
            if not asked.any()
        ]
        if not all_scored or self._some_are_always_asked or found:
            return found
        alone = ~torch.stack(list(applied.values())).any(0)  # [B]
        if not alone.any():
            return []
        first = prompts[int(alone.nonzero()[0])]
        fields = list(dict.fromkeys(field for condition in self._of.values() for field in condition))
        return [
            f"{int(alone.sum())} of the {len(prompts)} {what} fulfil no score's `when`, such as {first.text[:80]!r} "
            f"with {_values([first], fields)}; widen one, add a score without `when`, or leave these prompts out"
        ]


@dataclass(frozen=True)
class Given:
    """What a component is asked about: B images, in groups."""

    images: Tensor  # [B, 3, H, W]
    prompts: Sequence[str]
    metadata: Sequence[Mapping[str, Any]]
    others: Tensor | None  # [B], sums of other components, for one that is asked only where these are close
    group_size: int

    def only(self, rows: Tensor) -> Given:
        """The part with these images, in whole groups."""
        chosen: list[int] = rows.tolist()
        return Given(
            images=self.images[rows.to(self.images.device)],
            prompts=[self.prompts[row] for row in chosen],
            metadata=[self.metadata[row] for row in chosen],
            others=None if self.others is None else self.others[rows.to(self.others.device)],
            group_size=self.group_size,
        )


def of_asked(ask: Callable[[Given], Tensor], given: Given, asked: Tensor) -> Tensor:
    """Scores [B] of the images that are `asked` about, [B] bool, and NaN for the others."""
    rows, images = asked.nonzero().flatten(), given.images
    nothing = torch.full((len(images),), torch.nan, dtype=torch.float64, device=images.device)
    return nothing.index_put((rows.to(images.device),), ask(given.only(rows))) if len(rows) else nothing


def fulfils(metadata: Mapping[str, Any], condition: When) -> bool:
    """Whether every field of the condition is there with one of its values, compared as text; or, of a list, with one
    of its entries."""
    return all(
        field in metadata and not {*map(_text, values)}.isdisjoint(map(_text, _listed(metadata[field])))
        for field, values in condition.items()
    )


def weighted_sum(weights: Mapping[str, float], components: Mapping[str, Tensor], applied: Applied) -> Tensor:
    """The sum [B] of weight x component over those that were asked: NaN where one failed, 0 where none was asked."""
    parts = [
        part if (asked := applied.get(name)) is None else part.where(asked.to(part.device), 0.0)
        for name, weight in weights.items()
        for part in [weight * components[name]]
    ]
    return torch.stack(parts).sum(0)


def scored(names: Collection[str], applied: Applied) -> Tensor | None:
    """Which images [B] some of the named components was asked about; None: all."""
    if not applied.keys() >= set(names):
        return None
    return torch.stack([applied[name] for name in names]).any(0)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _told(condition: When) -> str:
    parts = (f"{field}: {values[0] if len(values) == 1 else values}" for field, values in condition.items())
    return "{" + ", ".join(parts) + "}"


def _values(prompts: Sequence[Prompt], fields: Sequence[str]) -> str:
    """The values that some fields have in prompts, in words."""
    told = []
    for field in fields:
        given = [
            _text(one) for prompt in prompts if field in prompt.metadata for one in _listed(prompt.metadata[field])
        ]
        found = list(dict.fromkeys(given))
        more = ", ..." if len(found) > _NAMED else ""
        told.append(f"{field} {', '.join(found[:_NAMED])}{more}" if found else f"no field {field!r}")
    return " and ".join(told)
