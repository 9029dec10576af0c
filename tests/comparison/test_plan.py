"""What a plan means: its runs, their lengths and settings; and everything that is refused, at once."""

from dataclasses import replace

import pytest
import yaml

from fdfo.comparison.cells import Configurations, Run, final_runs, planned_settings
from fdfo.comparison.counting import EpochCost, epoch_cost
from fdfo.comparison.plan import Prices
from fdfo.comparison.prices import DECODER_GRADIENT, SCORE_GRADIENT, Rates, rates
from fdfo.comparison.reading import load_plan
from fdfo.comparison.refusals import refuse_unsound
from fdfo.comparison.tuning import tuning_runs
from fdfo.config.load import load_config
from fdfo.errors import ConfigError
from fdfo.flow.noise import NoiseStreams
from fdfo.plugins import BUILT_IN
from fdfo.records import Prompt
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.setup import build_engine
from tests.comparison.plans import SCORE, plan, write
from tests.nightly import by_day


def problems(tmp_path, **changes):
    with pytest.raises(ConfigError) as caught:
        refuse_unsound(Configurations(plan(tmp_path, **changes)))
    return caught.value.problems


def final(cell, setting=(), seed=0):
    return Run("final", SCORE, cell, setting, seed)


@pytest.mark.parametrize(
    ("overrides", "forwards", "trained"),
    [
        ([], 96 * 2 * 10, 96 * 2 * 2),
        (["method.shared_steps=5"], 96 * (5 + 2 * 5), 96 * 2 * 2),
        (["method.solver=heun"], 96 * 2 * 19, 96 * 2 * 2),
        (["method.kl_weight=1"], 96 * 2 * (10 + 2), 96 * 2 * 2),  # the base is evaluated at every trained row
        (["policy.guidance=2"], 2 * 96 * 2 * 10, 2 * 96 * 2 * 2),
    ],
)
def test_the_cost_of_an_epoch_is_counted(overrides, forwards, trained):
    assert epoch_cost(load_config("shapes", overrides)) == EpochCost(96 * 2, forwards, trained)


@pytest.mark.parametrize(
    ("recipe", "overrides", "images"),
    [
        ("shapes", ["method.direction=score_gradient"], 192),  # of every image, once
        ("shapes-refl", [], 192),
        ("shapes-draft", [], 192),
        ("shapes-nft", [], 0),
    ],
)
def test_images_through_which_the_score_is_differentiated_are_counted(recipe, overrides, images):
    config = load_config(recipe, [*overrides, "reward=[shapes-contrastive]", "eval.rewards=[]"])
    assert epoch_cost(config).differentiated == images


def test_everything_is_charged_at_its_price(tmp_path):
    config = load_config("shapes-refl", [])
    cost = epoch_cost(config)
    known = rates(Prices(), config, cost)
    assert known == Rates(3.0, DECODER_GRADIENT["shapes"] + SCORE_GRADIENT["shapes-contrastive"])
    given = rates(Prices(trained=2.0, decoder_gradient=4.0, score_gradient=0.5), config, cost)
    assert given.evaluations(EpochCost(10, 100, 20, 10)) == 100 + 2 * 20 + 4.5 * 10
    plain = load_config("shapes", [])
    assert rates(Prices(decoder_gradient=4.0), plain, epoch_cost(plain)).differentiated == 0


def test_a_price_that_is_needed_and_not_known_is_asked_for(tmp_path):
    (tmp_path / "mine.py").write_text(
        "def mine(images, prompts, metadata):\n    return images.mean((1, 2, 3))\nmine.differentiable = True\n"
    )
    scores = {"mine": {"reward": [f"{tmp_path}/mine.py:mine"]}}
    cells = {"exact": {"changes": {"method.direction": "score_gradient"}}}
    given = {"scores": scores, "cells": cells, "claims": []}
    (problem,) = problems(tmp_path, **given)
    assert "prices.score_gradient: not known for" in problem and "benchmarks.speed.prices" in problem
    refuse_unsound(Configurations(plan(tmp_path, **given, prices={"score_gradient": 1.0})))


COUNTED = {
    "fdfo": ["method.kl_weight=1"],
    "flow_grpo": ["method.group_size=2", "method.window=2"],
    "ddpo": [],
    "refl": ["method.kl_weight=1"],
    "draft": ["method.last_steps=2", "method.checkpointing=true"],
    "nft": ["method.group_size=2", "method.trained_times=2"],
    "awm": ["method.group_size=2", "method.trained_times=2", "method.time_density=uniform"],
    "art": ["method.group_size=2", "method.kl_weight=1"],
    "rvm": ["method.group_size=2"],
    "opsd": ["method.group_size=2"],
}


@pytest.mark.parametrize("method", by_day({"fdfo", "draft", "nft"}, BUILT_IN["methods"]))
def test_what_is_counted_is_what_an_epoch_takes(method):
    """In the real loop, on the embedded model."""
    small = ["method.steps=3", "prompts.pairs_per_epoch=2", "optim.updates_per_epoch=1", "optim.ema=null"]
    config = load_config("shapes-smoke", [f"method.name={method}", *COUNTED[method], *small])
    cost = replace(epoch_cost(config), differentiated=0)  # see above
    engine = build_engine(config, this_team(), StopRequest(), Console(False, 1))
    noise = NoiseStreams(config.train.seed, 0)
    sampled = sample(engine, [Prompt(text="a red circle", number=number) for number in range(2)], noise)
    update(engine, sampled, noise)
    use = engine.policy.take_use()
    assert cost == EpochCost(int(sampled.metrics["images"]), use.forward, use.trained)


def test_the_budget_decides_the_epochs(tmp_path):
    known = Configurations(plan(tmp_path))
    configs = {cell: known.load(final(cell)) for cell in ("pair", "single")}
    assert known.epoch_evaluations(configs["pair"]) == pytest.approx(16 + 2.12 * 16)
    lengths = {cell: known.length(final(cell), config) for cell, config in configs.items()}
    assert {cell: length.spent for cell, length in lengths.items()} == {"pair": 3, "single": 6}
    config = known.complete(final("pair"))
    assert (config.train.epochs, config.eval.every, config.eval.at, config.eval.raw) == (3, 2, (3,), True)
    dearer = Configurations(plan(tmp_path, prices={"trained": 5}))
    assert dearer.epoch_evaluations(configs["pair"]) == 16 + 5 * 16


def test_a_run_goes_on_until_its_steps_are_taken_too(tmp_path):
    """Two steps an epoch; without a number, as many steps as the dearest cell takes within the budget: 3 epochs."""
    few = Configurations(plan(tmp_path))
    assert few.steps == 6
    assert few.complete(final("single")).eval.at == (3, 6)
    many = Configurations(plan(tmp_path, steps=15))
    lengths = [many.length(final(cell), many.load(final(cell))) for cell in ("pair", "single")]
    assert [(one.spent, one.stepped, one.epochs) for one in lengths] == [(3, 8, 8), (6, 8, 8)]
    assert many.complete(final("pair")).eval.at == (3, 8)


def test_tuning_runs_are_a_share_of_a_final_one(tmp_path):
    known = Configurations(plan(tmp_path, budget=300, steps=20, tuning_share=0.5))
    run = Run("tuning", SCORE, "pair", (), 1000)
    config = known.complete(run)
    assert (config.train.epochs, config.eval.at, config.eval.raw) == (5, (3, 5), False)


def test_tuning_is_on_validation_and_the_final_runs_on_test(tmp_path):
    sweep = {"optim.lr": [1e-4, 2e-4], "method.strength": [0.01, 0.02, 0.04]}
    given = plan(tmp_path, sweep=sweep, seeds=[3, 4])
    known = Configurations(given)
    runs = tuning_runs(given, SCORE, "pair", planned_settings(given, "pair"))
    assert len(runs) == 6 * 3
    assert runs[4].setting == (("optim.lr", 2e-4), ("method.strength", 0.02))
    tuned = known.complete(runs[4])
    assert (tuned.optim.lr, tuned.method.strength, tuned.train.seed) == (2e-4, 0.02, 1000)
    assert (tuned.prompts.eval_name, tuned.eval.noise_seed) == ("shapes-validation", 0)
    first, second = planned_settings(given, "pair")[4], planned_settings(given, "single")[1]
    finals = final_runs(given, {(SCORE, "pair"): first, (SCORE, "single"): second})
    assert [(run.cell, run.setting, run.seed) for run in finals] == [
        ("pair", first, 3), ("single", second, 3), ("pair", first, 4), ("single", second, 4)
    ]  # fmt: skip
    judged = known.complete(finals[0])
    assert (judged.prompts.eval_name, judged.eval.noise_seed) == ("shapes-test", 2026)
    assert {run.path for run in runs}.isdisjoint(run.path for run in finals)


def test_scores_are_a_dimension_of_their_own(tmp_path):
    scores = {
        "smooth": {"reward": ["shapes-contrastive"], "unseen": ["shapes-verifier"]},
        "rough": {"reward": ["shapes-verifier"], "unseen": ["shapes-contrastive"]},
    }
    cells = {"pair": {}, "exact": {"changes": {"method.direction": "score_gradient"}, "scores": ["smooth"]}}
    given = plan(tmp_path, scores=scores, cells=cells, claims=[])
    refuse_unsound(Configurations(given))
    chosen = {("smooth", "pair"): (), ("smooth", "exact"): ()}
    assert {(run.score, run.cell) for run in final_runs(given, chosen)} == set(chosen)
    assert given.scores_of("pair") == ["smooth", "rough"]
    cells["exact"].pop("scores")
    (problem,) = problems(tmp_path, scores=scores, cells=cells, claims=[])
    assert "cells.exact on rough" in problem
    assert "shapes-verifier has none; train on differentiable scores alone" in problem


def test_the_quick_form_needs_no_file():
    given = load_plan(["methods=fdfo", "seeds=3", "budget=20000", "sweep={optim.lr: [1e-4, 2e-4]}"])
    assert list(given.cells) == ["fdfo"]
    assert given.seeds == (0, 1, 2)
    assert list(given.scores) == ["shapes-verifier"]
    refuse_unsound(Configurations(given))


def test_changes_on_the_command_line_win(tmp_path):
    assert load_plan([write(tmp_path), "budget=7", "seeds=1"]).budget == 7


@pytest.mark.parametrize(
    ("arguments", "fragments"),
    [
        (["nowhere.yaml"], ["nowhere.yaml", "cannot be read"]),
        (["methods=fdfo"], ["budget: field required"]),
        (["methods=fdfo", "budget=1e4", "sedes=3"], ["sedes: unknown key; did you mean 'seeds'?"]),
        (["methods=fdfo", "budget"], ["'budget': changes to a plan look like field=value"]),
        (["cells={a: {recipy: x}}", "budget=1"], ["cells.a.recipy: unknown key; did you mean 'recipe'?"]),
        (["cells={a/b: {}}", "budget=1"], ["cells.a/b", "pattern"]),
        (["cells={a: {}}", "budget=1", "tuning_seeds=[7]"], ["tuning_seeds", "at least 3"]),
        (["cells={a: {}}", "budget=1", "sweep={optim.lr: [[1, 2]]}"], ["sweep"]),
    ],
)
def test_unreadable_plans_are_explained(arguments, fragments):
    with pytest.raises(ConfigError) as caught:
        load_plan(arguments)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_names_seeds_and_prompts_are_refused_together(tmp_path):
    found = problems(
        tmp_path,
        reference="pear",
        tuning_seeds=[1, 2, 3],
        test={"name": "shapes-validation"},
        cells={
            "pair": {"scores": ["beauty"]},
            "single": {"changes": {"train.seed": 3, "eval.rewards": []}, "one_change_from": "pear"},
        },
        claims=[{"statement": "?", "cell": "pair", "against": "tripel", "metric": "divresity"}],
    )
    text = "\n".join(found)
    for fragment in (
        "reference: no cell 'pear'; did you mean 'pair'?",
        "tuning_seeds: [1] are among the final seeds",
        "test: the same prompts as validation",
        "test.noise_seed=0: the same noise as in validation",
        "cells.pair.scores: no score 'beauty'",
        "cells.single.changes.train.seed: is the same for all cells; the budget and the seeds decide it",
        "cells.single.changes.eval.rewards: is the same for all cells; set it in `scores`",
        "claims.0.against: no cell 'tripel'",
        "cells.single.one_change_from: no cell 'pear'; did you mean 'pair'?",
        "claims.0.metric: 'divresity' is not measured",
    ):
        assert fragment in text


def test_unknown_methods_bad_settings_and_short_budgets_are_refused_together(tmp_path):
    found = problems(
        tmp_path,
        budget=40,
        cells={
            "pair": {},
            "single": {"changes": {"method.branches": 1}},
            "unknown": {"changes": {"method.name": "fdof"}},
            "bad": {"changes": {"method.branches": 0}},
        },
    )
    assert len(found) == 3
    text = "\n".join(found)
    assert "cells.pair: one epoch takes 50 evaluations, more than a run's 40; raise the budget" in text
    assert "cells.unknown on shapes-contrastive: method.name: unknown method 'fdof'; did you mean 'fdfo'?" in text
    assert "cells.bad on shapes-contrastive: method.branches" in text


def test_no_cell_is_tuned_more_than_another(tmp_path):
    three = {"optim.lr": [1e-4, 2e-4, 3e-4]}
    (problem,) = problems(tmp_path, sweep=three, cells={"pair": {}, "single": {"sweep": {"optim.lr": [1e-4]}}})
    assert "cells.single.sweep: 1 settings where others try 3" in problem
    assert "no values" in problems(tmp_path, sweep={"optim.lr": []})[0]


def test_a_cell_differs_in_what_it_says_and_nothing_else(tmp_path):
    recipe = tmp_path / "other.yaml"
    recipe.write_text(
        yaml.safe_dump({"base": "shapes-smoke", "optim": {"lr": 1e-3}, "policy": {"adapter": {"rank": 8}}})
    )
    cells = {"pair": {}, "single": {"recipe": str(recipe), "changes": {"method.branches": 1}}}
    found = problems(tmp_path, cells=cells)
    assert len(found) == 2
    assert "policy.adapter.rank is 8 here and 4 in the plan's recipe shapes-smoke" in found[0]
    assert "optim.lr is 0.001 here" in found[1]
    cells["single"]["differs"] = ["policy.adapter", "optim.lr"]
    refuse_unsound(Configurations(plan(tmp_path, cells=cells)))


def test_one_change_at_a_time_is_enforced(tmp_path):
    """Between cells that claim it; what both sweep may differ, and pairs an epoch where the images stay as many."""
    sweep = {"optim.lr": [1e-4, 2e-4]}

    def told(changes, **more):
        cells = {"pair": {}, "other": {"changes": changes, "one_change_from": "pair", **more}}
        try:
            refuse_unsound(Configurations(plan(tmp_path, cells=cells, claims=[], sweep=sweep)))
        except ConfigError as error:
            return error.problems
        return []

    assert told({"method.clip_range": 0.1}) == []
    assert told({"method.branches": 1, "prompts.pairs_per_epoch": 8}) == []  # eight images an epoch, as before
    assert told({"method.branches": 4, "prompts.pairs_per_epoch": 2}) == []
    assert told({"method.branches": 1}) == []  # half the images, and one change
    (problem,) = told({"method.branches": 1, "prompts.pairs_per_epoch": 16})
    assert "it differs from pair in method.branches, prompts.pairs_per_epoch; change one field at a time" in problem
    (problem,) = told({"method.kl_weight": 1.0, "method.clip_range": 0.1})
    assert "in method.kl_weight, method.clip_range" in problem
    assert any("in nothing that is not swept" in problem for problem in told({"optim.lr": 5e-4}))


def test_cells_that_are_the_same_runs_are_refused(tmp_path):
    strength = load_config("shapes-smoke").method.model_dump()["strength"]
    cells = {"pair": {}, "again": {"changes": {"method.strength": strength}}}
    assert problems(tmp_path, cells=cells, claims=[]) == [
        "cells.again: the same runs as pair; change one of them, or leave it out"
    ]
    cells["again"]["changes"]["method.strength"] = 2 * strength
    refuse_unsound(Configurations(plan(tmp_path, cells=cells, claims=[])))
