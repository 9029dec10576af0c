"""What must not change a run: processes, micro-batch, sampling batch."""

import pytest

from tests.training.runs import command, finish, largest_difference, run

TOLERANCE = 1e-6
"""Absolute, on adapter entries of about 0.1 after 9 updates of about 3e-4."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return run(folder)


@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_micro_batch(reference, tmp_path, micro_batch):
    run(tmp_path / "run", f"train.micro_batch={micro_batch}")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_sampling_batch(reference, tmp_path):
    run(tmp_path / "run", "train.sample_batch=2")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_two_processes_with_an_odd_number_of_pairs(reference, tmp_path):
    finish(command(tmp_path / "run", processes=2))
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_the_seed_does_change_it(reference, tmp_path):
    run(tmp_path / "run", "train.seed=1")
    assert largest_difference(tmp_path / "run", reference) > 1e-4
