"""From what is asked and what was chosen: which pair comes next for whom, when a round is over, and how it came out.

Pure: a function of rounds and choices. The choice of a person for a pair is their latest one; repeats do not count.
A person may see only the pairs that the other scores cannot decide. Those that these decide go to the other people; a
pair that none of them sees is left to the other scores, with the votes that it has.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isnan, nan

from fdfo.studio.choices import Choice, Chosen
from fdfo.studio.pairs import Pair, Round, Side
from fdfo.studio.people import ALONE

REPEAT_AFTER = 8
"""Other choices between a pair and its repetition; fewer at the end of a round."""


@dataclass(frozen=True)
class Item:
    """A pair as it is shown."""

    pair: Pair
    left: Side
    repeat: bool = False


def outcome(chosen: Sequence[Chosen]) -> float:
    """How much the first picture is preferred, of the choices of several people: 1, 0, -1, or NaN.

    What more of them chose than anything else; a tie (0) where there is no such thing, or nobody chose. Who skips
    abstains: NaN where all did.
    """
    counts = Counter(one for one in chosen if one != "skip")
    if not counts:
        return nan if chosen else 0.0
    (most, count), *others = counts.most_common()
    is_clear = not others or others[0][1] < count
    return {"first": 1.0, "second": -1.0, "tie": 0.0}[most] if is_clear else 0.0


@dataclass(frozen=True)
class Board:
    """The open rounds of all processes together."""

    rounds: Sequence[Round]
    choices: Sequence[Choice]
    votes: int
    """People who choose, for each pair."""
    repeat: float
    """Share of the pairs that come again."""
    people: Sequence[str] = (ALONE,)
    """All who are asked."""
    selective: frozenset[str] = frozenset()
    """Those who see only pairs that the other scores cannot decide."""
    left: frozenset[str] = frozenset()
    """Keys of the pairs that were left to the other scores before an interruption."""

    @cached_property
    def pairs(self) -> list[Pair]:
        """Those that are asked, in order."""
        found = {pair.key: pair for asked in self.rounds if not asked.is_closed for pair in asked.pairs}
        return list(found.values())

    @cached_property
    def total(self) -> int:
        """Pairs that are asked, and those that are still drawn."""
        missing = sum(asked.total - len(asked.pairs) for asked in self.rounds if not asked.is_closed)
        return len(self.pairs) + missing

    @cached_property
    def _votes(self) -> Mapping[str, Mapping[str, Chosen]]:
        """By pair, who chose what: the first people, as many as are wanted."""
        found: dict[str, dict[str, Chosen]] = {}
        for choice in self.choices:
            votes = found.setdefault(choice.pair, {})
            if not choice.repeat and (choice.who in votes or len(votes) < self.votes):
                votes[choice.who] = choice.chosen
        return found

    def votes_of(self, pair: Pair) -> Mapping[str, Chosen]:
        """Who chose what."""
        return self._votes.get(pair.key, {})

    def outcome(self, pair: Pair) -> float:
        """Of a pair that is decided; see `outcome`."""
        return outcome(list(self.votes_of(pair).values()))

    def is_decided(self, pair: Pair) -> bool:
        """Whether as many people chose as are wanted, or it is left to the other scores."""
        votes = self.votes_of(pair)
        return len(votes) >= self.votes or self._is_left(pair, votes)

    def _is_left(self, pair: Pair, votes: Collection[str]) -> bool:
        """Whether nobody is asked any more, of a pair that the other scores decide."""
        if pair.key in self.left:
            return True
        others_decide = self.undecided is not None and pair.key not in self.undecided
        return others_decide and all(who in votes or who in self.selective for who in self.people)

    @cached_property
    def undecided(self) -> frozenset[str] | None:
        """Keys of the pairs that the other scores cannot decide; None: this is not known."""
        known = [asked.undecided for asked in self.rounds if not asked.is_closed]
        return None if None in known else frozenset(key for keys in known for key in keys or ())

    def is_shown(self, pair: Pair, who: str) -> bool:
        """Whether a person wants to see it; those who do not want all pairs wait until the other scores are known."""
        return who not in self.selective or pair.key in (self.undecided or ()) or self.all_skipped

    @cached_property
    def is_whole(self) -> bool:
        """Whether all pairs are drawn."""
        return all(asked.is_whole for asked in self.rounds)

    @cached_property
    def all_skipped(self) -> bool:
        """Whether every pair was skipped by all: nothing could be learned, so they are asked again."""
        decided = self.is_whole and all(self.is_decided(pair) for pair in self.pairs)
        return bool(self.pairs) and decided and all(isnan(self.outcome(pair)) for pair in self.pairs)

    @cached_property
    def is_over(self) -> bool:
        """Whether training can go on."""
        return self.is_whole and not self.all_skipped and all(self.is_decided(pair) for pair in self.pairs)

    def of(self, who: str) -> list[Choice]:
        """What a person chose in this round."""
        here = {pair.key for pair in self.pairs}
        return [choice for choice in self.choices if choice.who == who and choice.pair in here]

    def may_undo(self, who: str) -> list[Choice]:
        """What of it a person may take back: not of a pair that training went on with before an interruption."""
        return [choice for choice in self.of(who) if choice.pair not in self.left]

    def next_for(self, who: str, held: Mapping[str, int], count: int) -> list[Item]:
        """What a person sees next: up to `count` items. `held`: by pair, how many others are looking at it."""
        seen = [pair for pair in self.pairs if self.is_shown(pair, who)]
        fresh = [pair for pair in seen if self._is_for(pair, who, held.get(pair.key, 0))]
        again = [Item(pair, _other(pair.left), True) for pair in self._due(who, len(fresh))]
        items = [Item(pair, pair.left) for pair in fresh[:count]]
        place = 1 if len(fresh) > 1 else 0  # what is shown now stays; the last pair of a round comes last
        return [*items[:place], *again, *items[place:]][:count]

    def may_choose(self, pair: Pair, who: str, repeat: bool) -> bool:
        """Whether a choice of this person counts now."""
        mine = [choice for choice in self.of(who) if choice.pair == pair.key]
        if repeat:
            return bool(mine) and not any(choice.repeat for choice in mine)
        return self._is_for(pair, who, 0)

    def _is_for(self, pair: Pair, who: str, held: int) -> bool:
        votes = self.votes_of(pair)
        if self.all_skipped:
            return who in votes
        return who not in votes and len(votes) + held < self.votes and pair.key not in self.left

    def _due(self, who: str, fresh: int) -> list[Pair]:
        """Pairs that come again for a person with so many others before them."""
        mine = self.of(who)
        again = {choice.pair for choice in mine if choice.repeat}
        first = {
            choice.pair: place for place, choice in enumerate(mine) if not choice.repeat and choice.chosen != "skip"
        }
        wait = 2 if self.is_whole and fresh <= 1 else REPEAT_AFTER
        late = fresh == 0  # the round is over for this person: it need not wait for repetitions
        return [
            pair
            for pair in self.pairs
            if not late
            and self.is_shown(pair, who)
            and pair.key in first
            and pair.key not in again
            and len(mine) - first[pair.key] >= wait
            and pair.number("repeat") < self.repeat
        ]


def _other(side: Side) -> Side:
    return "second" if side == "first" else "first"
