"""What a plan means: its runs, their lengths and settings; and everything that is refused, at once."""

import pytest
import yaml

from fdfo.comparison.cells import Configurations, Run, final_runs, points, tuning_runs
from fdfo.comparison.counting import EpochCost, epoch_cost
from fdfo.comparison.plan import load_plan
from fdfo.comparison.refusals import refuse_unsound
from fdfo.config.load import load_config
from fdfo.errors import ConfigError
from fdfo.flow.noise import NoiseStreams
from fdfo.plugins import BUILT_IN
from fdfo.records import Prompt
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.epoch import sample, update
from fdfo.training.interrupt import StopRequest
from fdfo.training.setup import build_trainer
from tests.comparison.plans import SCORE, plan, write


def problems(tmp_path, **changes):
    with pytest.raises(ConfigError) as caught:
        refuse_unsound(Configurations(plan(tmp_path, **changes)))
    return caught.value.problems


def final(cell, point=0, seed=0):
    return Run("final", SCORE, cell, point, seed)


@pytest.mark.parametrize(
    ("overrides", "forwards", "trained"),
    [
        ([], 96 * 2 * 10, 96 * 2 * 2),
        (["method.shared_steps=5"], 96 * (5 + 2 * 5), 96 * 2 * 2),
        (["method.solver=heun"], 96 * 2 * 19, 96 * 2 * 2),
        (["method.kl_weight=1"], 96 * 2 * (10 + 2), 96 * 2 * 2),  # the base is evaluated at every trained row
        (["policy.guidance=2"], 2 * 96 * 2 * 10, 2 * 96 * 2 * 2),
        (["method.direction=score_gradient", "reward=[shapes-contrastive]", "eval.rewards=[]"], 1920, 384),
    ],
)
def test_the_cost_of_an_epoch_is_counted(overrides, forwards, trained):
    assert epoch_cost(load_config("shapes", overrides)) == EpochCost(96 * 2, forwards, trained)


COUNTED = {
    "fdfo": ["method.kl_weight=1"],
    "flow_grpo": ["method.group_size=2", "method.window=2"],
    "ddpo": [],
    "refl": ["method.kl_weight=1"],
    "draft": ["method.last_steps=2", "method.checkpointing=true"],
    "nft": ["method.group_size=2", "method.trained_times=2"],
    "awm": ["method.group_size=2", "method.trained_times=2", "method.kl_weight=1", "method.kl_reference=average"],
}


@pytest.mark.parametrize("method", BUILT_IN["methods"])
def test_what_is_counted_is_what_an_epoch_takes(method):
    """In the real loop, on the embedded model."""
    small = ["method.steps=3", "prompts.pairs_per_epoch=2", "optim.updates_per_epoch=1", "optim.ema=null"]
    config = load_config("shapes-smoke", [f"method.name={method}", *COUNTED[method], *small])
    cost = epoch_cost(config)
    trainer = build_trainer(config, this_team(), StopRequest(), Console(False, 1))
    noise = NoiseStreams(config.train.seed, 0)
    sampled = sample(trainer, [Prompt(text="a red circle", number=number) for number in range(2)], noise)
    update(trainer, sampled, noise)
    use = trainer.policy.take_use()
    assert cost == EpochCost(int(sampled.metrics["images"]), use.forward, use.trained)


def test_the_budget_decides_the_epochs(tmp_path):
    known = Configurations(plan(tmp_path))
    lengths = {cell: known.length(final(cell), known.load(final(cell))) for cell in ("pair", "single")}
    assert lengths["pair"].needed == pytest.approx(16 + 2.12 * 16)
    assert {cell: length.epochs for cell, length in lengths.items()} == {"pair": 3, "single": 6}
    config = known.complete(final("pair"))
    assert (config.train.epochs, config.eval.every) == (3, 2)
    dearer = Configurations(plan(tmp_path, trained_cost=3, changes={"policy.adapter.kind": "full"}))
    assert dearer.trained_cost(dearer.load(final("pair"))) == 3


def test_tuning_is_on_validation_and_the_final_runs_on_test(tmp_path):
    sweep = {"optim.lr": [1e-4, 2e-4], "method.strength": [0.01, 0.02, 0.04]}
    given = plan(tmp_path, sweep=sweep, seeds=[3, 4])
    known = Configurations(given)
    runs = tuning_runs(given)
    assert len(runs) == 2 * 6
    assert points(given, "pair")[4] == {"optim.lr": 2e-4, "method.strength": 0.02}
    tuned = known.complete(runs[4])
    assert (tuned.optim.lr, tuned.method.strength, tuned.train.seed) == (2e-4, 0.02, 1000)
    assert (tuned.prompts.eval_name, tuned.eval.noise_seed) == ("shapes-validation", 0)
    finals = final_runs(given, {(SCORE, "pair"): 4, (SCORE, "single"): 1})
    assert [(run.cell, run.point, run.seed) for run in finals] == [
        ("pair", 4, 3), ("single", 1, 3), ("pair", 4, 4), ("single", 1, 4)
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
    assert {(run.score, run.cell) for run in final_runs(given, {("smooth", "pair"): 0, ("smooth", "exact"): 0})} == {
        ("smooth", "pair"),
        ("smooth", "exact"),
    }
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
        tuning_seeds=[1],
        test={"name": "shapes-validation"},
        cells={"pair": {"scores": ["beauty"]}, "single": {"changes": {"train.seed": 3, "eval.rewards": []}}},
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
    assert "cells.pair: one epoch takes 50 network evaluations, more than budget=40; raise the budget" in text
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


def test_cells_that_are_the_same_runs_are_refused(tmp_path):
    strength = load_config("shapes-smoke").method.model_dump()["strength"]
    cells = {"pair": {}, "again": {"changes": {"method.strength": strength}}}
    assert problems(tmp_path, cells=cells, claims=[]) == [
        "cells.again: the same runs as pair; change one of them, or leave it out"
    ]
    cells["again"]["changes"]["method.strength"] = 2 * strength
    refuse_unsound(Configurations(plan(tmp_path, cells=cells, claims=[])))
