"""The search for a setting: step by step, extended at its ends, the same however it is interrupted."""

from math import inf, log2

import pytest

from fdfo.comparison.tuning import search, state
from tests.comparison.plans import SCORE, plan, result


def anything(setting):
    return True


def run(sweep, score, extensions=2, allowed=anything):
    """Search to the end; what was tried, in order, and what was found."""
    means, tried = {}, []
    while wanted := (found := search(sweep, extensions, means, allowed)).wanted:
        assert not set(wanted) & set(means)
        tried += wanted
        means.update({setting: score(dict(setting)) for setting in wanted})
    return tried, found


def peak(**places):
    """A score that is highest at these values, on a logarithmic scale."""
    return lambda setting: -sum((log2(value / places[key])) ** 2 for key, value in setting.items())


def test_the_best_of_a_grid_inside_its_range_is_chosen():
    tried, found = run([{"lr": (1.0, 2.0, 4.0)}], peak(lr=2.0))
    assert [dict(one)["lr"] for one in tried] == [1.0, 2.0, 4.0]
    assert (found.chosen, found.edges) == ((("lr", 2.0),), [])


@pytest.mark.parametrize(("place", "further"), [(8.0, [8.0, 16.0]), (0.5, [0.5, 0.25])])
def test_a_grid_is_extended_until_the_best_lies_inside(place, further):
    tried, found = run([{"lr": (1.0, 2.0, 4.0)}], peak(lr=place))
    assert [dict(one)["lr"] for one in tried] == [1.0, 2.0, 4.0, *further]
    assert (dict(found.chosen)["lr"], found.edges) == (place, [])


def test_beyond_the_extensions_the_edge_is_told():
    every, found = run([{"lr": (1.0, 2.0, 4.0)}], peak(lr=1000.0), extensions=2)
    assert [dict(one)["lr"] for one in every] == [1.0, 2.0, 4.0, 8.0, 16.0]
    assert (dict(found.chosen)["lr"], found.edges) == (16.0, ["lr"])
    assert run([{"lr": (1.0, 2.0)}], peak(lr=1000.0), extensions=0)[1].edges == ["lr"]


def test_the_end_of_a_field_is_no_edge():
    """A share of 1 is all there is: that the best lies there needs no further try."""
    every, found = run([{"share": (0.25, 0.5, 1.0)}], peak(share=4.0), allowed=lambda one: dict(one)["share"] <= 1)
    assert len(every) == 3
    assert (dict(found.chosen)["share"], found.edges) == (1.0, [])


def test_whole_numbers_stay_whole():
    every, _ = run([{"updates": (1, 2)}], peak(updates=8))
    assert [dict(one)["updates"] for one in every] == [1, 2, 4, 8]
    assert all(isinstance(dict(one)["updates"], int) for one in every)


def test_names_and_zero_have_no_ends():
    every, found = run([{"kind": ("b", "a")}], lambda one: {"a": 1.0, "b": 0.0}[one["kind"]])
    assert (len(every), found.chosen, found.edges) == (2, (("kind", "a"),), [])
    every, found = run([{"kl": (0.0, 0.1, 0.2)}], lambda one: -one["kl"])
    assert (len(every), dict(found.chosen)["kl"], found.edges) == (3, 0.0, [])


def test_later_grids_go_around_the_best_of_those_before():
    sweep = [{"lr": (1.0, 2.0, 4.0)}, {"strength": (0.1, 0.2, 0.4)}, {"lr": (2.0, 4.0, 8.0)}]

    def score(one):
        strength = one.get("strength", 0.05)
        return -(log2(one["lr"] / (10 * strength)) ** 2) - 0.1 * log2(strength / 0.4) ** 2

    tried, found = run(sweep, score, extensions=0)
    assert [dict(one) for one in tried[:4]] == [{"lr": 1.0}, {"lr": 2.0}, {"lr": 4.0}, {"lr": 1.0, "strength": 0.1}]
    assert [dict(one) for one in tried[6:]] == [{"lr": lr, "strength": 0.1} for lr in (2.0, 4.0, 8.0)]
    assert dict(found.chosen) == {"lr": 1.0, "strength": 0.1}  # none of the third grid is better
    assert found.edges == ["strength", "lr"]


def test_a_grid_of_two_fields_is_extended_through_its_best():
    tried, found = run([{"lr": (1.0, 2.0), "strength": (0.1, 0.2)}], peak(lr=4.0, strength=0.2))
    assert dict(found.chosen) == {"lr": 4.0, "strength": 0.2}
    assert [dict(one) for one in tried[4:6]] == [{"lr": 4.0, "strength": 0.2}, {"lr": 2.0, "strength": 0.4}]


def test_a_setting_that_fails_is_not_chosen():
    _, found = run([{"lr": (1.0, 2.0, 4.0)}], lambda one: -inf if one["lr"] > 1.5 else 0.0)
    assert dict(found.chosen)["lr"] == 1.0
    assert run([{"lr": (1.0, 2.0)}], lambda one: -inf)[1].chosen is None


def test_nothing_swept_is_a_choice():
    assert search((), 2, {}, anything).chosen == ()


# ---- with results ----

SWEEP = {"optim.lr": [1e-4, 2e-4, 4e-4]}


def tuned(cell, lr, ends, **more):
    return [
        result(cell, [0.2, end], 1000 + seed, "tuning", swept={"optim.lr": lr}, **more) for seed, end in enumerate(ends)
    ]


def test_a_setting_counts_when_all_of_its_seeds_are_done(tmp_path):
    given = plan(tmp_path, sweep=SWEEP)
    some = [*tuned("pair", 1e-4, [0.3] * 3), *tuned("pair", 2e-4, [0.5] * 2)]
    assert [dict(one)["optim.lr"] for one in state(given, some, SCORE, "pair", anything).wanted] == [2e-4, 4e-4]
    every = [*some[:3], *tuned("pair", 2e-4, [0.5] * 3), *tuned("pair", 4e-4, [0.4] * 3)]
    found = state(given, every, SCORE, "pair", anything)
    assert (found.wanted, found.chosen) == ([], (("optim.lr", 2e-4),))


def test_what_counts_is_the_mean_over_seeds_of_both_marks(tmp_path):
    """One seed's luck does not choose, nor does the budget or the steps alone."""
    given = plan(tmp_path, sweep={"optim.lr": [1e-4, 2e-4]}, extensions=0)

    def run(lr, by_seed):
        return [
            result("pair", [0.2, *scores], 1000 + seed, "tuning", swept={"optim.lr": lr}, steps_epoch=1)
            for seed, scores in enumerate(by_seed)
        ]

    lucky = run(1e-4, [(0.2, 0.9), (0.2, 0.2), (0.2, 0.2)])  # mean of both marks and three seeds: .317
    even = run(2e-4, [(0.4, 0.3)] * 3)  # .35
    assert dict(state(given, [*lucky, *even], SCORE, "pair", anything).chosen)["optim.lr"] == 2e-4


def test_a_choice_stands_once_a_final_run_has_it(tmp_path):
    given = plan(tmp_path, sweep=SWEEP)
    final = result("pair", [0.2, 0.5], swept={"optim.lr": 1e-4})
    every = [one for lr, end in ((1e-4, 0.3), (2e-4, 0.5), (4e-4, 0.4)) for one in tuned("pair", lr, [end] * 3)]
    assert dict(state(given, [*every, final], SCORE, "pair", anything).chosen)["optim.lr"] == 1e-4
    assert state(given, [final], SCORE, "pair", anything).wanted == []
