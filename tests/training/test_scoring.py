"""Scores in the loop: in a thread, in another process that comes and goes, standardised, and of pairs."""

import math
import os
import re
import signal
import subprocess
import sys
import time

import pytest
import torch

from fdfo.background import Background
from fdfo.config.load import load_config
from fdfo.drawing import generate
from fdfo.errors import RewardError
from fdfo.evaluation.alarms import constant_score, outside_trust_region
from fdfo.evaluation.runs import read_evaluations, read_events
from fdfo.models.load import load_policy
from fdfo.prompts import evenly_spread, load_prompts
from fdfo.rewards import weighted
from fdfo.rewards.weighted import WeightedSum
from fdfo.training.interrupt import Interrupted, StopRequest
from fdfo.training.setup import overlaps
from tests.evaluation.parsed import Page, words
from tests.nightly import at_night
from tests.training.runs import largest_difference, run

MIX = (
    "reward=[{{name: shapes-contrastive}}, "
    "{{name: remote, label: served, url: '{url}', patience_s: {patience_s}, weight: 0.5}}, "
    "{{name: {own}, weight: 0.1}}]"
)
UNSEEN = "eval.rewards=[shapes-neatness, jpeg]"
OWN = """
import os, pathlib, signal
VICTIM = pathlib.Path(__file__).with_name("victim")
calls = []

def redness(images, prompts, metadata):
    if VICTIM.is_file():
        calls.append(len(images))
        if len(calls) == 2:
            os.kill(int(VICTIM.read_text()), signal.SIGKILL)
    return images[:, 0].mean((1, 2))
"""
"""A score that kills the process whose number is in the file beside it: at the end of scoring in the first epoch."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "reference", "train.sample_batch=2")


@pytest.mark.slow
def test_overlapped_scoring_changes_nothing(reference, tmp_path):
    overlapped = run(tmp_path / "overlapped", "train.sample_batch=2", "train.overlap_scoring=true")
    assert largest_difference(reference, overlapped) == 0
    scores = [
        [event["reward"] for event in read_events(f) if event["event"] == "rollout"] for f in (reference, overlapped)
    ]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_scores_that_take_turns_judge_all_images_at_once(reference, tmp_path, monkeypatch):
    """One offloaded network: every epoch and every evaluation it comes once, to the same scores but for rounding."""
    asked = []
    components = WeightedSum.components

    def counting(self, images, *rest, **options):
        asked.append(len(images))
        return components(self, images, *rest, **options)

    visits, temporarily_on = [], weighted.temporarily_on
    monkeypatch.setattr(WeightedSum, "components", counting)
    monkeypatch.setattr(
        weighted, "temporarily_on", lambda networks, device: visits.append(device) or temporarily_on(networks, device)
    )
    entries = ("reward=[{name: shapes-contrastive, offload: true}]", "eval.diversity=shapes-contrastive")
    assert largest_difference(reference, run(tmp_path / "run", "train.sample_batch=2", *entries)) < 1e-6
    assert asked.count(10) == 3 and len(asked) == 3 + 2 * 2  # 5 pairs in 3 epochs; 2 evaluations, trained and unseen
    assert len(visits) == 1 + 3 + 2 * 2  # when loaded; in every epoch; in evaluations for the score and the diversity


@pytest.mark.parametrize(
    ("entry", "device", "expected"),
    [
        ({"name": "jpeg"}, "cuda:0", False),
        ({"name": "jpeg", "device": "cuda:1"}, "cuda:0", True),
        ({"name": "jpeg", "device": "cuda:0"}, "cuda:0", False),
        ({"name": "jpeg", "device": "cuda:0"}, "cuda", False),
        ({"name": "jpeg", "device": "cuda:1"}, "cuda", True),
        ({"name": "jpeg", "device": "cuda"}, "cuda:1", False),
        ({"name": "jpeg", "device": "cpu"}, "cuda", True),
        ({"name": "remote", "url": "http://127.0.0.1:1"}, "cpu", True),
    ],
)
def test_scoring_overlaps_where_it_is_done_elsewhere(entry, device, expected):
    config = load_config("shapes", {"reward": [{"name": "shapes-verifier"}, entry]})
    assert overlaps(config, WeightedSum(config.reward), torch.device(device)) == expected
    fixed = load_config("shapes", {"reward": [entry], "train": {"overlap_scoring": not expected}})
    assert overlaps(fixed, WeightedSum(fixed.reward), torch.device(device)) == (not expected)


def test_what_a_thread_raises_arrives():
    def fail():
        raise RewardError("no")

    with pytest.raises(RewardError, match="no"):
        Background(fail).result(lambda: None)
    assert Background(lambda: 3).result(lambda: None) == 3


def test_a_stop_is_noticed_while_waiting():
    stop = StopRequest()
    stop.signal_number = signal.SIGTERM
    with pytest.raises(Interrupted):
        Background(lambda: time.sleep(5)).result(stop.check)


@pytest.mark.slow
def test_standardised_scores_are_resumed_exactly(tmp_path):
    mix = "reward=[{name: shapes-contrastive, standardize: true}, {name: shapes-verifier, weight: 0.1}]"
    whole = run(tmp_path / "whole", mix, "eval.rewards=[jpeg]")
    run(tmp_path / "parts", mix, "eval.rewards=[jpeg]", "train.epochs=2")
    parts = run(tmp_path / "parts", mix, "eval.rewards=[jpeg]")
    assert largest_difference(whole, parts) == 0
    plain = run(tmp_path / "plain", mix.replace("true", "false"), "eval.rewards=[jpeg]")
    assert largest_difference(whole, plain) > 0


def test_a_pairwise_score_trains_and_is_judged_against_the_base(tmp_path, capsys):
    (tmp_path / "brighter.py").write_text(
        "def brighter(first, second, prompts, metadata):\n    return (first - second).mean((1, 2, 3))\n"
        "brighter.pairwise = True\n"
    )
    reward = f"reward=[{{name: {tmp_path}/brighter.py:brighter, label: brighter}}]"
    folder = run(tmp_path / "run", reward, "eval.rewards=[jpeg]", "optim.ema=null", "optim.lr=1e-3")
    rollouts = [event for event in read_events(folder) if event["event"] == "rollout"]
    assert all(event["group_spread"] > 0 for event in rollouts)
    assert all(abs(event["reward"]) < 1e-6 for event in rollouts)  # scores of a pair sum to zero
    before, after = read_evaluations(folder)
    policy = load_policy("shapes", adapter=folder / "checkpoints/epoch-0000003", resolution=(32, 32))
    held_out = evenly_spread(load_prompts(None, "shapes-validation"), 4)
    how = {"steps": 2, "images_per_prompt": 2}
    means = [
        torch.cat([part.images for part in generate(policy, held_out, weights=weights, **how)]).mean((1, 2, 3))
        for weights in ("current", "base")
    ]
    expected = (means[0] - means[1]).double()
    torch.testing.assert_close(torch.tensor(after.scores["brighter"]).double(), expected, rtol=1e-3, atol=1e-6)
    assert after.scores["reward"] == after.scores["brighter"]
    told = " ".join(capsys.readouterr().out.split())
    won, lost = int((expected > 0).sum()), int((expected < 0).sum())
    assert f"held-out brighter against the base: won {won}, lost {lost}, {8 - won - lost} ties" in told
    assert "brighter" not in told.partition("held-out, epoch 0")[2].partition("epoch 1/3")[0]
    assert before.epoch == 0


@pytest.fixture
def serve():
    """Start `fdfo serve-reward` in a process of its own, at a given port (0: a free one); returns it with its URL."""
    processes = []

    def start(port=0):
        arguments = [sys.executable, "-m", "fdfo", "serve-reward", "shapes-verifier", "--port", str(port)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment)
        processes.append(process)
        assert process.stdout is not None
        url = process.stdout.readline().rpartition("url: ")[2].strip().rstrip("}")
        return process, url

    yield start
    for process in processes:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.mark.slow
def test_a_server_that_is_killed_and_restarted_loses_nothing(serve, tmp_path, capfd):
    own = tmp_path / "own.py"
    own.write_text(OWN)
    first, url = serve()
    mix = MIX.format(url=url, own=f"{own}:redness", patience_s=60)
    undisturbed = run(tmp_path / "undisturbed", mix, UNSEEN)
    (tmp_path / "victim").write_text(str(first.pid))

    def restart():
        first.wait(timeout=60)
        time.sleep(1.0)
        return serve(int(url.rpartition(":")[2]))

    restarted = Background(restart)
    disturbed = run(tmp_path / "disturbed", mix, UNSEEN)
    restarted.result(lambda: None)
    assert largest_difference(undisturbed, disturbed) == 0
    said = capfd.readouterr().out
    assert "does not answer" in said
    assert "answers again" in said
    rollout = next(event for event in read_events(disturbed) if event["event"] == "rollout")
    trained = {"shapes-contrastive", "served", f"{own}:redness"}
    assert {f"score/{name}" for name in trained} <= rollout.keys()
    shown, parts = table_of(disturbed / "report.html"), [f"{name} part of the reward" for name in trained]
    for name in (*parts, "shapes-neatness unseen", "jpeg unseen", "diversity"):
        before, after, difference, _ = shown[name]
        assert math.isfinite(number(before)) and math.isfinite(number(after))
        assert re.fullmatch(r"[▲▼≈] \S+ \[\S+, \S+\]", difference), difference  # a paired difference with its interval


def table_of(report):
    """The held-out results of a report: cells by the head of their row."""
    cells = [(part["tag"], words(part["text"])) for part in Page(report).elements if part["tag"] in ("th", "td")]
    rows = {}
    for tag, text in cells:
        if tag == "th":
            row = rows.setdefault(text, [])
        else:
            row.append(text)
    return rows


def number(text):
    return float(text.replace("−", "-"))


@pytest.mark.slow
def test_a_server_that_stays_away_ends_the_run_which_then_goes_on(serve, tmp_path, capfd):
    own, folder = tmp_path / "own.py", tmp_path / "run"
    own.write_text(OWN)
    first, url = serve()
    settings = MIX.format(url=url, own=f"{own}:redness", patience_s=0.5), UNSEEN, "train.checkpoint_every=100"
    undisturbed = run(tmp_path / "undisturbed", *settings)
    (tmp_path / "victim").write_text(str(first.pid))
    capfd.readouterr()
    with pytest.raises(RewardError, match=r"has not answered for patience_s=0\.5.* start the server, then repeat"):
        run(folder, *settings)
    said = capfd.readouterr().out
    assert f"stopped by an error; saved after epoch 1. Repeat the command with --run {folder} to continue\n" in said
    (tmp_path / "victim").unlink()
    serve(int(url.rpartition(":")[2]))
    assert largest_difference(undisturbed, run(folder, *settings)) == 0
    assert "continuing after epoch 1\n" in capfd.readouterr().out


@pytest.mark.parametrize(("value", "said"), [("inf", "inf"), at_night("-inf", "-inf"), at_night("nan", "NaN")])
def test_what_a_score_returned_instead_of_a_number_is_said(tmp_path, value, said):
    (tmp_path / "mine.py").write_text(
        f"def score(images, prompts, metadata):\n    return [float('{value}')] * len(prompts)\n"
    )
    with pytest.raises(RewardError, match=rf"mine\.py:score \(returned {said}\) on '"):
        run(tmp_path / "run", f"reward=[{{name: {tmp_path}/mine.py:score}}]", "eval.every=100")


def test_a_constant_score_is_said_once_and_stands_in_the_report(tmp_path, capsys):
    (tmp_path / "mine.py").write_text("def score(images, prompts, metadata):\n    return [0.1] * len(prompts)\n")
    folder = run(tmp_path / "run", f"reward=[{{name: {tmp_path}/mine.py:score}}]")
    said = "all images of every prompt got the same score, 0.1 in the mean"
    assert " ".join(capsys.readouterr().out.split()).count(said) == 1
    found = [event["epoch"] for event in read_events(folder) if event["event"] == "training_alarm"]
    assert found == [1, 2, 3]
    assert said in (folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("fdfo", []),
        at_night("flow_grpo", ["method.group_size=2", "method.steps=4"]),
        at_night("ddpo", ["method.buffer_size=4", "method.needed_scores=2", "method.steps=4"]),
        at_night("nft", ["method.group_size=2", "method.trained_times=3", "method.steps=4"]),
        at_night("awm", ["method.group_size=2", "method.trained_times=3", "method.steps=6", "method.on_policy=false"]),
    ],
)
@pytest.mark.parametrize("score", [123.456, at_night(100000.3)])
def test_a_constant_score_has_no_gradient_at_all(tmp_path, method, settings, score):
    """In whole runs: 0 exactly, in every update."""
    (tmp_path / "mine.py").write_text(f"def score(images, prompts, metadata):\n    return [{score}] * len(prompts)\n")
    overrides = [f"method.name={method}", *settings, "train.epochs=2", "eval.every=100"]
    folder = run(tmp_path / "run", f"reward=[{{name: {tmp_path}/mine.py:score}}]", *overrides)
    norms = [event["gradient_norm"] for event in read_events(folder) if event["event"] == "update"]
    assert norms == [0.0] * 6


def test_only_groups_can_have_equal_scores():
    constant = {"group_spread": 0.0, "reward": 0.0}
    assert constant_score(1, constant, group_size=2) is not None
    assert constant_score(1, constant, group_size=1) is None
    assert constant_score(1, {"group_spread": 1e-5, "reward": 1e9}, group_size=2) is None
    assert constant_score(1, {"group_spread": float("nan"), "reward": 1.0}, group_size=2) is None


def test_a_step_that_leaves_the_trust_region_is_said_once_and_logged(tmp_path, capsys):
    """The second update of an epoch, after a step of a hundred times the recipe's length."""
    folder = run(tmp_path / "run", "optim.lr=0.03", "eval.every=100", "optim.max_grad_norm=1e9")
    assert capsys.readouterr().out.replace("\n", " ").count("outside the trust region") == 1
    outside = [event for event in read_events(folder) if event["event"] == "training_alarm"]
    assert [event["epoch"] for event in outside] == [1, 2, 3]
    assert {event["name"] for event in outside} == {"trust region"}


def test_a_third_of_the_rows_may_be_outside():
    assert outside_trust_region(1, [{"clip_fraction": 0.0}, {"clip_fraction": 1 / 3}]) is None
    assert outside_trust_region(1, [{"loss": 1.0}]) is None
    found = outside_trust_region(4, [{"clip_fraction": 0.34}, {"clip_fraction": 0.0}])
    assert found is not None and (found.epoch, found.message[:3]) == (4, "34%")
