"""What must not change a run: processes, micro-batch, sampling batch."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fdfo.config.load import load_config
from fdfo.errors import ConfigError
from fdfo.evaluation.runs import read_evaluations, read_events
from fdfo.models.load import policy_from_config
from fdfo.models.policy import velocity_dtype
from fdfo.training.setup import held_out_prompts, training_prompts
from tests.nightly import at_night
from tests.training.forks import forked
from tests.training.runs import TINY, adapter, largest_difference, run

TOLERANCE = 1e-6
"""Absolute, on adapter entries of about 0.1."""

SMOOTH = ("optim.lr=3e-5", "method.strength=0.04", "eval.prompts=5")
"""The reference's learning rate: Adam turns rounding in a gradient near zero into a share of a whole step, so the
difference scales with the rate (6e-6 at the 3e-4 of shapes-smoke). And a gap between the images of a pair that is large
against the rounding of the images: at a strength of 0.01, single entries differ by 3e-6."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return run(folder, *SMOOTH)


@pytest.mark.slow
@pytest.mark.parametrize("micro_batch", [3, 1, 16])
def test_micro_batch(reference, tmp_path, micro_batch):
    run(tmp_path / "run", *SMOOTH, f"train.micro_batch={micro_batch}")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


@pytest.mark.slow
def test_sampling_batch(reference, tmp_path):
    run(tmp_path / "run", *SMOOTH, "train.sample_batch=2")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["lora", "full"])
def test_trajectories_lose_nothing_in_the_precision_of_the_network(tmp_path, monkeypatch, kind):
    settings = ("policy.dtype=bfloat16", f"policy.adapter.kind={kind}", "eval.prompts=1")
    compact = run(tmp_path / "compact", *settings)

    def in_float32(*args, **options):
        policy = policy_from_config(*args, **options)
        assert (policy.state_dtype, policy.velocity_dtype) == (torch.bfloat16, torch.bfloat16)
        policy.state_dtype = policy.velocity_dtype = torch.float32
        return policy

    monkeypatch.setattr("fdfo.training.setup.policy_from_config", in_float32)
    assert largest_difference(compact, run(tmp_path / "float32", *settings)) == 0


def test_guided_velocities_are_kept_in_float32():
    assert velocity_dtype(2.0, torch.bfloat16) == torch.float32
    assert velocity_dtype(1.0, torch.bfloat16) == torch.bfloat16


def assert_same_evaluations(first, second):
    """Every number of every image; networks of other batch sizes round scores of about 10 to within 1e-4."""
    a, b = read_evaluations(first), read_evaluations(second)
    assert [evaluation.epoch for evaluation in a] == [evaluation.epoch for evaluation in b] == [0, 3]
    for one, other in zip(a, b, strict=True):
        assert (one.prompts, list(one.scores)) == (other.prompts, list(other.scores))
        for name in [*one.metrics, *one.signals]:
            np.testing.assert_allclose(other.values(name), one.values(name), rtol=0, atol=1e-4, err_msg=name)


@pytest.fixture(scope="module", params=[2, at_night(3)])
def shared(tmp_path_factory, request):
    """A run of several processes. 5 pairs and 5 held-out prompts: shares of 2 and 3, or of 1, 2 and 2."""
    folder = tmp_path_factory.mktemp("runs") / "shared"
    assert forked(request.param, lambda rank: run(folder, *SMOOTH)) == [0] * request.param
    return folder, {2: 3, 3: 2}[request.param]


def test_processes_with_an_odd_number_of_pairs(reference, shared):
    folder, _ = shared
    assert largest_difference(folder, reference) < TOLERANCE
    assert_same_evaluations(reference, folder)


def test_the_bytes_of_an_epoch_have_a_closed_form(shared):
    """Gradients, scores and a handful of counts cross; no trajectory, no image."""
    folder, largest_share = shared
    config = load_config("shapes-smoke", TINY)
    trained = sum(tensor.numel() for tensor in adapter(folder).values())
    metrics, images, components = 4, 2, 1  # loss, ratio_change, clip_fraction, velocity_rms; of a pair; contrastive
    update = 4 * trained + 8 * (1 + 2 + metrics)  # gradients; rows, errors of them and of the step, metrics
    scores = 8 * largest_share * images * components
    counts = 8 * (2 + 1 + 2 + 1)  # errors of encoding and sampling, rows; network evaluations, halved batches
    rollouts = [event for event in read_events(folder) if event["event"] == "rollout"]
    expected = config.optim.updates_per_epoch * update + scores + counts
    assert [event["bytes_exchanged"] for event in rollouts] == [expected] * config.train.epochs
    assert all(0 < event["waited_s"] < sum(event["seconds"].values()) for event in rollouts)


@pytest.mark.slow
def test_the_seed_does_change_it(reference, tmp_path):
    run(tmp_path / "run", *SMOOTH, "train.seed=1")
    assert largest_difference(tmp_path / "run", reference) > 1e-4


def test_more_processes_than_prompts_are_refused():
    team = SimpleNamespace(size=6)
    with pytest.raises(ConfigError, match="5 prompts cannot go round 6 processes; use at least 6"):
        training_prompts(load_config("shapes-smoke", TINY), team)
    with pytest.raises(ConfigError, match="4 prompts cannot go round 6 processes"):
        held_out_prompts(load_config("shapes-smoke", TINY), team)
