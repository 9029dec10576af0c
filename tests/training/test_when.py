"""Scores for some prompts only, in epochs of every kind of method and in a whole run."""

import json

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError, RewardError
from fdfo.evaluation.runs import read_evaluations, read_events
from fdfo.evaluation.summary import summary
from fdfo.flow.noise import NoiseStreams
from fdfo.prompts import read_prompts
from fdfo.records import Prompt
from fdfo.rewards import build
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.epoch import sample, update
from fdfo.training.setup import check_scored
from tests.methods.world import make, make_engine
from tests.training.runs import TINY, run
from tests.worlds import GaussianPolicy

KINDS = ("text", "people", "text")
"""Of the prompts of an epoch, in turn."""


def prompts(count):
    return [Prompt(text=f"{n}", number=n, metadata={"category": KINDS[n % len(KINDS)]}) for n in range(count)]


def engine_with(monkeypatch, variant, **functions):
    """An engine whose scores each judge the prompts of the category that they are named by."""
    monkeypatch.setattr(build, "find", lambda kind, name: functions[name])
    engine = make_engine(make(variant), GaussianPolicy(shape=(3, 2, 2)), micro_batch=5)
    engine.reward = WeightedSum([RewardConfig(name=name, when={"category": name}) for name in functions])
    engine.reward.load(torch.device("cpu"), torch.float32)
    return engine


def scoring(offset, failing=()):
    def score(images, prompts, metadata):
        means = offset + images.mean((1, 2, 3))
        return means.where(torch.tensor([prompt not in failing for prompt in prompts]), torch.nan)

    score.differentiable = True
    return score


@pytest.mark.parametrize("variant", ["fdfo", "draft-3"])
def test_every_image_counts_by_the_score_that_it_has(monkeypatch, variant):
    """Offsets of 10 and 20 name the score: a third of the prompts has the one, two thirds the other."""
    engine = engine_with(monkeypatch, variant, text=scoring(10.0), people=scoring(20.0))
    noise = NoiseStreams(seed=0, epoch=0)
    sampled = sample(engine, prompts(6), noise)
    update(engine, sampled, noise)
    metrics = sampled.metrics
    assert (metrics["failed"], metrics["dropped_groups"]) == (0, 0)
    assert metrics["score/text"] == pytest.approx(10, abs=3)
    assert metrics["score/people"] == pytest.approx(20, abs=3)
    assert metrics["reward"] == pytest.approx((2 * metrics["score/text"] + metrics["score/people"]) / 3)


def test_only_the_score_that_was_asked_can_fail(monkeypatch):
    engine = engine_with(monkeypatch, "fdfo", text=scoring(0.0), people=scoring(0.0, failing=("1", "4")))
    with pytest.raises(RewardError, match=r"4 of 12 scores failed.*for example: people \(returned NaN\) on '1'"):
        sample(engine, prompts(6), NoiseStreams(seed=0, epoch=0))


def test_a_run_evaluates_each_score_on_its_prompts(tmp_path):
    """A score for all, one for some; a watched one for others: no failure, no alarm, rows for what was asked."""
    path = tmp_path / "prompts.jsonl"
    captions = {"a red circle": "single", "two blue squares": "counting", "a green circle": "single"}
    lines = [json.dumps({"prompt": text, "category": kind}) for text, kind in captions.items()]
    path.write_text("\n".join(lines) + "\n")
    neat = {"name": "shapes-neatness", "when": {"category": "counting"}}
    watched = {"name": "shapes-verifier", "when": {"category": "single"}}
    lists = [f"prompts.path={path}", f"prompts.eval_path={path}", "train.epochs=1", "eval.every=1", "eval.prompts=3"]
    scores = [f"reward=[shapes-contrastive, {json.dumps(neat)}]", f"eval.rewards=[{json.dumps(watched)}]"]
    folder = run(tmp_path / "run", *lists, *scores)
    (rollout,) = [event for event in read_events(folder) if event["event"] == "rollout"]
    assert rollout["failed"] == 0
    before, after = read_evaluations(folder)
    assert after.asked == {"shapes-neatness": [False, True, False], "shapes-verifier": [True, False, True]}
    assert after.failed == dict.fromkeys(("reward", "shapes-contrastive", "shapes-neatness", "shapes-verifier"), 0)
    assert [after.interval(name).n for name in ("reward", "shapes-neatness", "shapes-verifier")] == [3, 1, 2]
    total = after.values("shapes-contrastive").copy()
    total[1] += after.values("shapes-neatness")[1]
    assert after.values("reward") == pytest.approx(total)
    kinds = {(row.score, row.category) for row in summary({"base": before, "adapter": after})}
    assert ("shapes-neatness", "counting") in kinds
    assert ("shapes-neatness", "single") not in kinds
    report = (folder / "report.html").read_text()
    assert "<h3>shapes-neatness over shapes-contrastive</h3>" in report  # the parts of the sum, weighed

    shown = read_prompts(path).prompts
    for changed, message in (
        (
            [f"reward=[{json.dumps(neat)}]"],
            "2 of the 3 training prompts fulfil no score's `when`, such as 'a red circle'",
        ),
        (
            [f"eval.rewards=[{json.dumps(watched | {'when': {'category': 'sgl'}})}]"],
            "fits none of the 3 held-out prompts",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            check_scored(load_config("shapes-smoke", [*TINY, *lists, *scores, *changed]), shown, shown)
