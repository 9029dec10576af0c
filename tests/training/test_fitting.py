"""Running out of memory in any phase: half the batch, the same run."""

import json

import pytest
import torch

from fdfo.errors import FdfoError
from fdfo.evaluation.runs import read_events
from fdfo.models.policy import FlowPolicy
from fdfo.rewards.contrastive import ContrastiveScore
from fdfo.training import judging
from tests.nightly import at_night
from tests.training.forks import forked
from tests.training.runs import largest_difference, run
from tests.training.test_invariance import SMOOTH, TOLERANCE

LIMIT = 3
"""Rows, or images, that fit."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return run(tmp_path_factory.mktemp("runs") / "reference", *SMOOTH)


def limited(monkeypatch, cls, name, applies, error=None):
    """Let a method run out of memory for more than LIMIT rows."""
    method = getattr(cls, name)

    def limited_method(self, rows, *rest, **options):
        if len(rows) > LIMIT and applies():
            raise error or torch.OutOfMemoryError("injected")
        return method(self, rows, *rest, **options)

    monkeypatch.setattr(cls, name, limited_method)


PHASES = {
    "sample": (FlowPolicy, "velocity", lambda: not torch.is_grad_enabled()),
    "decode": (FlowPolicy, "decode", lambda: True),
    "score": (ContrastiveScore, "__call__", lambda: True),
    "train": (FlowPolicy, "velocity", torch.is_grad_enabled),
}


@pytest.mark.slow
@pytest.mark.parametrize("phase", PHASES)
def test_the_run_goes_on_with_smaller_batches(reference, tmp_path, monkeypatch, capsys, phase):
    limited(monkeypatch, *PHASES[phase])
    folder = run(tmp_path / "run", *SMOOTH)
    assert largest_difference(folder, reference) < TOLERANCE
    events = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    halved = [event for event in events if event["event"] == "out_of_memory"]
    names = {"sample": "sample_batch", "decode": "sample_batch", "score": "score_batch", "train": "micro_batch"}
    assert {event["batch"] for event in halved} == {names[phase]}
    assert halved[0]["size"] < 128
    assert "out of memory: going on with" in capsys.readouterr().out


@pytest.mark.slow
def test_what_every_process_halves_is_told_and_logged_once(tmp_path, monkeypatch, capfd):
    """Two run out in training, the second again in the last evaluation."""
    evaluations, judge_prompts = [], judging.judge_prompts

    def counted(*args, **options):
        evaluations.append(args)
        return judge_prompts(*args, **options)

    monkeypatch.setattr(judging, "judge_prompts", counted)

    def work(rank):
        def applies():
            return torch.is_grad_enabled() or (rank == 1 and len(evaluations) > 1)

        limited(monkeypatch, FlowPolicy, "velocity", applies)
        run(tmp_path / "run", *SMOOTH, "eval.prompts=8")

    assert forked(2, work) == [0, 0]
    events = [event for event in read_events(tmp_path / "run") if event["event"] == "out_of_memory"]
    expected = {(1, 0, "micro_batch"), (1, 1, "micro_batch"), (3, 1, "sample_batch")}
    assert {(event["epoch"], event["process"], event["batch"]) for event in events} == expected
    said = capfd.readouterr().out
    for event in events:
        where = " on process 1" if event["process"] else ""
        assert said.count(f"out of memory{where}: going on with {event['batch']} = {event['size']}\n") == 1


@pytest.mark.slow
def test_guidance_goes_on_with_one_branch_at_a_time(tmp_path, monkeypatch, capsys):
    guided = (*SMOOTH, "policy.guidance=2")
    reference = run(tmp_path / "reference", *guided)
    network = FlowPolicy._network

    def limited_network(self, x, *rest):
        if len(x) > 2:  # a pair fits, not both branches of it
            raise torch.OutOfMemoryError("injected")
        return network(self, x, *rest)

    monkeypatch.setattr(FlowPolicy, "_network", limited_network)
    folder = run(tmp_path / "run", *guided)
    assert largest_difference(folder, reference) < TOLERANCE
    assert "going on with branches of guidance = 1" in capsys.readouterr().out


@pytest.mark.slow
def test_images_whose_score_gradient_does_not_fit_are_drawn_again(tmp_path, monkeypatch):
    followed = (*SMOOTH, "method.direction=score_gradient")
    reference = run(tmp_path / "reference", *followed)
    grad = torch.autograd.grad

    def limited_grad(outputs, inputs, *rest, **options):
        if len(inputs) > LIMIT:
            raise torch.OutOfMemoryError("injected")
        return grad(outputs, inputs, *rest, **options)

    monkeypatch.setattr(torch.autograd, "grad", limited_grad)
    folder = run(tmp_path / "run", *followed)
    assert largest_difference(folder, reference) < TOLERANCE
    halved = [event for event in read_events(folder) if event["event"] == "out_of_memory"]
    assert {event["batch"] for event in halved} == {"sample_batch"}


@pytest.mark.parametrize(
    ("place", "batch", "message"),
    [
        at_night((FlowPolicy, "decode"), "sample_batch", "CUDA error: out of memory"),
        (
            (ContrastiveScore, "__call__"),
            "score_batch",
            "CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        ),
    ],
)
def test_libraries_run_out_of_memory_in_their_own_words(tmp_path, monkeypatch, message, place, batch):
    limited(monkeypatch, *place, lambda: True, RuntimeError(message))
    events = read_events(run(tmp_path / "run", *SMOOTH, "train.epochs=1"))
    assert {event["batch"] for event in events if event["event"] == "out_of_memory"} == {batch}


def test_any_error_leaves_the_state_and_what_was_halved(tmp_path, monkeypatch):
    """Of a library, in the second epoch."""
    steps, step = [], torch.optim.AdamW.step

    def failing_step(self, *rest):
        steps.append(self)
        if len(steps) == 4:
            limited(monkeypatch, FlowPolicy, "velocity", torch.is_grad_enabled)
        if len(steps) == 5:
            raise RuntimeError("an error of the device")
        return step(self, *rest)

    monkeypatch.setattr(torch.optim.AdamW, "step", failing_step)
    folder = tmp_path / "run"
    with pytest.raises(RuntimeError, match="an error of the device"):
        run(folder, *SMOOTH, "train.checkpoint_every=3")
    assert [path.name for path in (folder / "checkpoints").glob("epoch-*")] == ["epoch-0000001"]
    halved = [event for event in read_events(folder) if event["event"] == "out_of_memory"]
    assert {(event["epoch"], event["batch"]) for event in halved} == {(2, "micro_batch")}


def test_a_single_row_that_does_not_fit_ends_the_run(tmp_path, monkeypatch):
    def full(self, *rest, **options):
        raise torch.OutOfMemoryError("injected")

    monkeypatch.setattr(FlowPolicy, "velocity", full)
    with pytest.raises(FdfoError, match=r"out of device memory \(injected\); lower train.micro_batch"):
        run(tmp_path / "run", *SMOOTH)
