"""Which pair comes next for whom, when a round is over, and how it came out."""

from math import isnan

import pytest

from fdfo.studio.board import REPEAT_AFTER, Board, outcome
from fdfo.studio.choices import Choice
from fdfo.studio.pairs import Pair, Round

PAIRS = [Pair(prompt=f"prompt {i}", first=f"{2 * i:032x}", second=f"{2 * i + 1:032x}") for i in range(40)]
WHEN = "2026-01-01T00:00:00+00:00"


def chose(pair, chosen="first", who="me", repeat=False):
    names = {"prompt": pair.prompt, "first": pair.first, "second": pair.second, "pair": pair.key}
    key = f"{who}{pair.key}{repeat}{chosen}"
    return Choice(id=key, left="first", chosen=chosen, who=who, when=WHEN, seconds=1.0, repeat=repeat, **names)


def board(choices=(), *, count=40, total=None, votes=1, repeat=0.0):
    asked = Round(number=0, total=count if total is None else total, pairs=tuple(PAIRS[:count]))
    return Board([asked], list(choices), votes, repeat)


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        (["first"], 1),
        (["second"], -1),
        (["tie"], 0),
        (["first", "first", "second"], 1),
        (["first", "second"], 0),  # no majority
        (["first", "tie"], 0),
        (["tie", "second", "second"], -1),
        (["first", "second", "tie"], 0),
        (["skip", "skip", "second"], -1),  # who skips abstains
    ],
    ids=str,
)
def test_the_outcome_is_what_more_people_chose(chosen, expected):
    assert outcome(chosen) == expected


@pytest.mark.parametrize("chosen", [["skip"], ["skip", "skip"]], ids=str)
def test_a_pair_that_all_skip_has_none(chosen):
    assert isnan(outcome(chosen))


def test_sides_are_shuffled_by_the_pair_alone():
    sides = [pair.left for pair in PAIRS]
    assert 10 < sides.count("first") < 30  # 40 fair coins: 3 standard deviations are 9.5
    assert sides == [Pair(prompt=pair.prompt, first=pair.first, second=pair.second).left for pair in PAIRS]


def test_pairs_come_in_their_order_and_once():
    seen, choices = [], []
    while items := board(choices, count=5).next_for("me", {}, 3):
        assert [item.pair for item in items] == PAIRS[len(choices) : 5][:3]
        seen.append(items[0].pair)
        choices.append(chose(items[0].pair))
    assert seen == PAIRS[:5] and board(choices, count=5).is_over


def test_a_share_comes_again_mirrored_later_and_before_the_last_pair():
    shown, choices = [], []
    while items := board(choices, repeat=0.3).next_for("me", {}, 3):
        shown.append(items[0])
        choices.append(chose(items[0].pair, repeat=items[0].repeat))
    again = [item for item in shown if item.repeat]
    assert {item.pair for item in again} <= {pair for pair in PAIRS if pair.number("repeat") < 0.3}
    expected = [pair for pair in PAIRS[:-1] if pair.number("repeat") < 0.3]
    assert sorted(item.pair.key for item in again) == sorted(pair.key for pair in expected) and len(again) > 3
    assert not shown[-1].repeat
    for item in again:
        places = [place for place, other in enumerate(shown) if other.pair == item.pair]
        assert len(places) == 2 and shown[places[0]].left != shown[places[1]].left
        is_at_the_end = item.pair in PAIRS[-REPEAT_AFTER - 4 :]
        assert places[1] - places[0] >= (2 if is_at_the_end else REPEAT_AFTER)


def test_what_is_shown_next_stays_next_when_a_repetition_becomes_due():
    choices = []
    while len(choices) < 30:
        items = board(choices, repeat=0.5).next_for("me", {}, 3)
        choices.append(chose(items[0].pair, repeat=items[0].repeat))
        after = board(choices, repeat=0.5).next_for("me", {}, 3)
        assert items[1] in after


def test_repetitions_decide_nothing():
    choices = [chose(PAIRS[0], "first"), chose(PAIRS[0], "second", repeat=True)]
    assert board(choices, count=1).outcome(PAIRS[0]) == 1


def test_each_pair_goes_to_as_many_people_as_are_wanted():
    choices = [chose(PAIRS[0], who="anna"), chose(PAIRS[0], "second", "ben")]
    for_carl = board(choices, count=3, votes=2).next_for("carl", {PAIRS[1].key: 1}, 3)
    assert [item.pair for item in for_carl] == PAIRS[1:3]
    held = board(choices, count=3, votes=2).next_for("carl", {PAIRS[1].key: 2}, 3)
    assert [item.pair for item in held] == [PAIRS[2]]
    assert not board(choices, count=3, votes=2).may_choose(PAIRS[0], "carl", False)
    late = [*choices, chose(PAIRS[0], "second", "carl")]
    assert board(late, count=3, votes=2).votes_of(PAIRS[0]) == {"anna": "first", "ben": "second"}


def test_a_round_is_over_when_all_is_drawn_and_decided():
    half = [chose(pair) for pair in PAIRS[:2]]
    assert not board(half, count=3).is_over
    assert not board(half, count=2, total=3).is_over
    assert board(half, count=2).is_over
    assert board([], count=0).is_over


def test_where_all_was_skipped_it_is_asked_again():
    skipped = [chose(pair, "skip") for pair in PAIRS[:3]]
    again = board(skipped, count=3)
    assert again.all_skipped and not again.is_over
    assert [item.pair for item in again.next_for("me", {}, 3)] == PAIRS[:3]
    one = board([*skipped, chose(PAIRS[1], "tie")], count=3)
    assert one.is_over and one.outcome(PAIRS[1]) == 0 and isnan(one.outcome(PAIRS[0]))
    assert one.next_for("me", {}, 3) == []


def test_what_is_closed_is_not_asked():
    closed = Round(number=0, total=2, pairs=tuple(PAIRS[:2]), is_closed=True)
    assert Board([closed], [], 1, 0.0).next_for("me", {}, 3) == []
