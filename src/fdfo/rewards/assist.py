"""Help for people who choose: a head on frozen features, fitted anew before every epoch on all that was chosen before,
decides the pairs that it is sure of, and has people asked for the others.

What it decided stands in choices/assisted/, by the pairs of the epoch: a run that goes on after an interruption finds
it there, whatever was chosen meanwhile. A random share of the pairs is asked whatever the head thinks of them; how
often it is right on these, beside how often it says that it will be, shows whether it still knows the taste.

Q pairs; d is the difference of the two scores, log odds of the choice (davidson.py).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, exp, isnan
from pathlib import Path

import torch
from pydantic import BaseModel
from torch import Tensor

from fdfo.files import write_json
from fdfo.own import numbered, numbered_name, read_json, sound
from fdfo.rewards.davidson import best_ridge, chances, fit
from fdfo.rewards.embedding import Embedding
from fdfo.rewards.tasting import Differences, chosen_in
from fdfo.studio.board import outcome
from fdfo.studio.choices import Journal
from fdfo.studio.pairs import CHOICES, Pair, digest
from fdfo.words import plural

LEAST = 10
"""With fewer prompts that have a choice of a side, people are asked about every pair."""
WATCHED = 40
"""Number of the latest random pairs by which the head is judged."""
SURE = 0.025
"""Alarm when so many right answers or fewer are less likely than this, if it is right as often as it says."""


class Plan(BaseModel):
    """How the pairs of one process and epoch are decided, by their keys."""

    pairs: str
    """Digest of all pairs."""
    asked: list[str]
    at_random: list[str]
    """Pairs that people get at random, whatever the head thinks."""
    gaps: dict[str, float]
    """d of every pair; empty where there was no head yet."""
    log_tie: float = 0.0

    def preference(self, key: str) -> float:
        """The preference that the head expects for the first picture: P(first) - P(second)."""
        first, _, second = chances(torch.tensor([self.gaps[key]]).double().numpy(), self.log_tie)[0]
        return float(first - second)


@dataclass(frozen=True)
class Record:
    """Accuracy of the head on random pairs."""

    right: int
    count: int
    promised: float
    """Accuracy that the head expects of itself."""

    @property
    def warning(self) -> str | None:
        """A warning if the head is right less often than it expects; else None."""
        from scipy.stats import binom

        if not self.count or binom.cdf(self.right, self.count, self.promised) >= SURE:
            return None
        return (
            f"the head that decides for people was right on {self.right} of the latest {plural(self.count, 'pair')} "
            f"asked at random, and says {self.promised:.0%}: it does not know the taste; raise ask, or remove assist"
        )


class Assistant:
    """The assistant of one process of a run."""

    def __init__(self, features: str, model: str | None, ask: int, check: float):
        """ask: pairs of an epoch that people get, of all processes; check: share of these that is random.

        Raises RewardError for features that there are not.
        """
        self._embedding, self._ask, self._check = Embedding(features, model), ask, check
        self._differences = Differences(self._embedding)

    def load(self, device: torch.device | str, dtype: torch.dtype) -> None:
        """Read the network of the features. Raises RewardError."""
        self._embedding.load(device, dtype)

    def plan(self, run: Path, share: int, pairs: Sequence[Pair], first: Tensor, second: Tensor) -> Plan:
        """Decide what becomes of pairs with images [Q, 3, H, W], or find what was decided; a process has one `share`th.

        Raises OSError.
        """
        key = digest(*sorted(pair.key for pair in pairs))
        if known := [plan for plan in _plans(run) if plan.pairs == key]:
            return known[0]
        plan = self._made(key, run, ceil(self._ask / share), pairs, first, second)
        folder = _folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        number = max(numbered(folder, "plan", ".json"), default=0) + 1
        write_json(folder / numbered_name("plan", number, ".json"), plan.model_dump())
        return plan

    def _made(self, key: str, run: Path, ask: int, pairs: Sequence[Pair], first: Tensor, second: Tensor) -> Plan:
        keys = [pair.key for pair in pairs]
        chosen = chosen_in([run]).without(keys)
        if chosen.sided_prompts < LEAST or ask >= len(pairs):
            return Plan(pairs=key, asked=keys, at_random=[], gaps={})
        given = self._differences.of(chosen)
        head = fit(given, best_ridge(given))
        prompts = [pair.prompt for pair in pairs]
        with torch.no_grad():
            rows = self._embedding(first, prompts) - self._embedding(second, prompts)
        gaps = dict(zip(keys, head.gaps(rows.cpu().double().numpy()).tolist(), strict=True))
        by_chance = sorted(pairs, key=lambda pair: pair.number("check"))
        at_random = [pair.key for pair in by_chance[: max(1, round(self._check * ask))]]
        unsure = sorted((key for key in keys if key not in at_random), key=lambda key: abs(gaps[key]))
        wanted = {*at_random, *unsure[: max(0, ask - len(at_random))]}
        asked = [key for key in keys if key in wanted]
        return Plan(pairs=key, asked=asked, at_random=at_random, gaps=gaps, log_tie=head.log_tie)


def record_of(run: Path) -> Record:
    """The record on the latest random pairs for which people chose a side."""
    votes: dict[str, list] = {}
    for choice in Journal(run).choices():
        if not choice.repeat:
            votes.setdefault(choice.pair, []).append(choice.chosen)
    found = [
        (plan.gaps[key], sign)
        for plan in _plans(run)
        for key in plan.at_random
        if not isnan(sign := outcome(votes.get(key, []))) and sign
    ][-WATCHED:]
    right = sum(gap * sign > 0 for gap, sign in found)
    promised = sum(1 / (1 + exp(-abs(gap))) for gap, _ in found) / len(found) if found else 1.0
    return Record(right, len(found), promised)


def _plans(run: Path) -> Iterator[Plan]:
    """All plans, in the order in which they were made."""
    for path in numbered(_folder(run), "plan", ".json").values():
        plan = sound(path, lambda file: Plan.model_validate(read_json(file)))
        if plan is not None:
            yield plan


def _folder(run: Path) -> Path:
    return run / CHOICES / "assisted"
