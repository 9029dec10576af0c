"""What must not change a run: processes, micro-batch, sampling batch."""

import pytest

from tests.training.runs import command, finish, largest_difference, run

TOLERANCE = 1e-6
"""Absolute, on adapter entries of about 0.1."""

RATE = "optim.lr=3e-5"
"""The reference's learning rate. Adam turns rounding in a gradient near zero into a share of a whole step, so the
difference scales with the rate (6e-6 at the 3e-4 of shapes-smoke)."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return run(folder, RATE)


@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_micro_batch(reference, tmp_path, micro_batch):
    run(tmp_path / "run", RATE, f"train.micro_batch={micro_batch}")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_sampling_batch(reference, tmp_path):
    run(tmp_path / "run", RATE, "train.sample_batch=2")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_two_processes_with_an_odd_number_of_pairs(reference, tmp_path):
    finish(command(tmp_path / "run", RATE, processes=2))
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_the_seed_does_change_it(reference, tmp_path):
    run(tmp_path / "run", RATE, "train.seed=1")
    assert largest_difference(tmp_path / "run", reference) > 1e-4
