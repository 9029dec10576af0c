"""How people choose: with themselves, with each other, how often and how fast."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import nan
from statistics import median

from fdfo.studio.choices import Choice, Chosen


def with_oneself(choices: Sequence[Choice]) -> tuple[int, int]:
    """Of the pairs that came again to the people who chose: how many they chose alike, and how many there were."""
    first = {(choice.who, choice.pair): choice.chosen for choice in choices if not choice.repeat}
    again = [choice for choice in choices if choice.repeat and choice.chosen != "skip"]
    known = [(first[choice.who, choice.pair], choice.chosen) for choice in again if (choice.who, choice.pair) in first]
    return sum(before == after for before, after in known), len(known)


def between_people(choices: Sequence[Choice]) -> tuple[int, int]:
    """Of the pairs that several people chose from: how many all of them chose alike, and how many there were."""
    votes: dict[str, dict[str, Chosen]] = {}
    for choice in choices:
        if not choice.repeat and choice.chosen != "skip":
            votes.setdefault(choice.pair, {})[choice.who] = choice.chosen
    shared = [set(by_person.values()) for by_person in votes.values() if len(by_person) > 1]
    return sum(len(chosen) == 1 for chosen in shared), len(shared)


@dataclass(frozen=True)
class Kappa:
    """Agreement of two people beyond chance (Cohen, 1960)."""

    first: str
    second: str
    pairs: int
    """That both chose from."""
    value: float
    """1: always alike; 0: as often as by chance. NaN where that is not defined: both always chose the same thing."""


def kappas(choices: Sequence[Choice]) -> list[Kappa]:
    """Of all people, two by two, who have chosen from the same pairs."""
    from sklearn.metrics import cohen_kappa_score

    by_person: dict[str, dict[str, Chosen]] = {}
    for choice in choices:
        if not choice.repeat and choice.chosen != "skip":
            by_person.setdefault(choice.who, {})[choice.pair] = choice.chosen
    found = []
    for one, other in combinations(sorted(by_person), 2):
        shared = sorted(by_person[one].keys() & by_person[other].keys())
        if shared:
            labels = [[by_person[who][pair] for pair in shared] for who in (one, other)]
            is_defined = len({*labels[0], *labels[1]}) > 1
            value = float(cohen_kappa_score(*labels)) if is_defined else nan
            found.append(Kappa(one, other, len(shared), value))
    return found


@dataclass(frozen=True)
class Habits:
    """Of one person, without repeats."""

    who: str
    counts: Counter[str]
    """Of first, second, tie and skip."""
    left: int
    """Of those who chose a side: how often the left one."""
    median_s: float
    alike: tuple[int, int]
    """See `with_oneself`."""


def habits(choices: Sequence[Choice]) -> list[Habits]:
    """Of everybody, by name."""
    found = []
    for who in sorted({choice.who for choice in choices}):
        mine = [choice for choice in choices if choice.who == who]
        new = [choice for choice in mine if not choice.repeat]
        left = sum(choice.chosen == choice.left for choice in new)
        pace = median(choice.seconds for choice in new) if new else nan
        found.append(Habits(who, Counter(choice.chosen for choice in new), left, pace, with_oneself(mine)))
    return found
