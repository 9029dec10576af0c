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


def board(choices=(), *, count=40, total=None, votes=1, repeat=0.0, undecided=None, **people):
    keys = None if undecided is None else tuple(PAIRS[number].key for number in undecided)
    asked = Round(number=0, total=count if total is None else total, pairs=tuple(PAIRS[:count]), undecided=keys)
    return Board([asked], list(choices), votes, repeat, **people)


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


# ---- only pairs that the other scores cannot decide ----


def next_pairs(one, who="me"):
    return [item.pair for item in one.next_for(who, {}, 9)]


def test_who_wants_only_undecided_pairs_sees_these_and_the_rest_is_left_to_the_other_scores():
    me = frozenset({"me"})
    assert next_pairs(board(count=4, undecided=[1, 3])) == PAIRS[:4]
    assert next_pairs(board(count=4, undecided=[1, 3], selective=me)) == [PAIRS[1], PAIRS[3]]
    done = board([chose(PAIRS[1]), chose(PAIRS[3], "skip")], count=4, undecided=[1, 3], selective=me)
    assert done.is_over and [done.outcome(pair) for pair in PAIRS[:3]] == [0, 1, 0] and isnan(done.outcome(PAIRS[3]))
    assert board(count=4, undecided=[], selective=me).is_over
    assert not board(count=4, total=5, undecided=[], selective=me).is_over


def test_before_the_other_scores_are_known_such_a_person_sees_nothing():
    unknown = board(count=4, selective=frozenset({"me"}))
    assert next_pairs(unknown) == [] and not unknown.is_over and unknown.undecided is None
    rounds = [board(count=2, undecided=[0]).rounds[0], Round(number=0, total=1, pairs=(PAIRS[2],))]
    assert Board(rounds, [], 1, 0.0).undecided is None  # one process is not so far
    assert Board(rounds[:1], [], 1, 0.0).undecided == {PAIRS[0].key}


def test_what_was_chosen_counts_whatever_one_wants_to_see():
    one = board([chose(PAIRS[0])], count=2, undecided=[1], selective=frozenset({"me"}))
    assert one.outcome(PAIRS[0]) == 1 and one.may_choose(PAIRS[1], "me", False)
    early = board(count=2, undecided=[1], selective=frozenset({"me"}))
    assert early.may_choose(PAIRS[0], "me", False)  # on its way when the switch was moved


def test_what_one_does_not_want_to_see_goes_to_the_others():
    some = {"count": 3, "undecided": [2], "people": ("anna", "ben", "carl"), "selective": frozenset({"anna"})}
    assert next_pairs(board(**some), "anna") == [PAIRS[2]]
    assert next_pairs(board(**some), "ben") == PAIRS[:3]
    assert not board([chose(PAIRS[2], who="anna")], **some).is_over
    twice = some | {"votes": 2}
    bens = [chose(pair, who="ben") for pair in PAIRS[:3]]
    assert not board(bens, **twice).is_over  # carl sees all pairs
    all_but_ben = twice | {"selective": frozenset({"anna", "carl"})}
    left = board([*bens, chose(PAIRS[2], who="anna")], **all_but_ben)
    assert left.is_over and left.outcome(PAIRS[0]) == 1  # by the one vote that it has


def test_what_was_left_before_an_interruption_stays_so():
    one = board(count=2, undecided=[0, 1], left=frozenset({PAIRS[0].key}))
    assert next_pairs(one) == [PAIRS[1]] and not one.may_choose(PAIRS[0], "me", False)
    assert one.is_decided(PAIRS[0]) and one.outcome(PAIRS[0]) == 0


def test_pairs_that_were_all_skipped_come_again_to_everybody():
    skipped = [chose(pair, "skip") for pair in PAIRS[:2]]
    again = board(skipped, count=2, undecided=[], selective=frozenset({"me"}))
    assert again.all_skipped and next_pairs(again) == PAIRS[:2]


def test_repetitions_are_of_pairs_that_one_wants_to_see():
    choices = [chose(pair) for pair in PAIRS[:30]]
    shown = {"undecided": range(20, 40), "repeat": 1.0, "selective": frozenset({"me"})}
    again = [item for item in board(choices, **shown).next_for("me", {}, 99) if item.repeat]
    assert again and all(item.pair in PAIRS[20:] for item in again)
