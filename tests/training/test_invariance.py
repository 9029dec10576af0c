"""What must not change a run: processes, micro-batch, sampling batch."""

import pytest

from tests.training.runs import command, finish, largest_difference, run

TOLERANCE = 1e-6
"""Absolute, on adapter entries of about 0.1."""

SMOOTH = ("optim.lr=3e-5", "method.strength=0.04")
"""The reference's learning rate: Adam turns rounding in a gradient near zero into a share of a whole step, so the
difference scales with the rate (6e-6 at the 3e-4 of shapes-smoke). And a gap between the images of a pair that is large
against the rounding of the images: at a strength of 0.01, single entries differ by 3e-6."""


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "reference"
    return run(folder, *SMOOTH)


@pytest.mark.parametrize("micro_batch", [1, 3, 16])
def test_micro_batch(reference, tmp_path, micro_batch):
    run(tmp_path / "run", *SMOOTH, f"train.micro_batch={micro_batch}")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_sampling_batch(reference, tmp_path):
    run(tmp_path / "run", *SMOOTH, "train.sample_batch=2")
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_two_processes_with_an_odd_number_of_pairs(reference, tmp_path):
    finish(command(tmp_path / "run", *SMOOTH, processes=2))
    assert largest_difference(tmp_path / "run", reference) < TOLERANCE


def test_the_seed_does_change_it(reference, tmp_path):
    run(tmp_path / "run", *SMOOTH, "train.seed=1")
    assert largest_difference(tmp_path / "run", reference) > 1e-4
