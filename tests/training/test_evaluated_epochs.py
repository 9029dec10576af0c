"""Which epochs are judged, and with which weights."""

import pytest

from fdfo.evaluation.runs import read_evaluations, read_events
from tests.training.runs import run

FEW = ("eval.every=100", "eval.at=[1]", "eval.raw=true")


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    """A run of three epochs with averaged weights, judged at epochs 0, 1 and 3."""
    return run(tmp_path_factory.mktemp("runs") / "averaged", *FEW)


def test_named_epochs_are_judged_beside_the_start_and_the_end(averaged):
    assert [one.epoch for one in read_evaluations(averaged)] == [0, 1, 3]


def test_training_pairs_are_kept_from_every_epoch_that_is_judged_the_last_one_too(averaged):
    names = sorted(path.name for path in (averaged / "samples").glob("pairs-*.png"))
    assert names == ["pairs-0000001.png", "pairs-0000003.png"]


@pytest.mark.slow
def test_raw_weights_are_those_of_a_run_without_an_average(averaged, tmp_path):
    plain = run(tmp_path / "plain", *FEW, "optim.ema=null")
    raw, expected = read_evaluations(averaged, raw=True), read_evaluations(plain)
    assert [one.to_dict() for one in raw] == [one.to_dict() for one in expected]
    assert not read_evaluations(plain, raw=True)
    assert raw[0] == read_evaluations(averaged)[0]
    assert raw[-1].scores != read_evaluations(averaged)[-1].scores


@pytest.mark.slow
def test_a_longer_run_keeps_the_named_evaluations_of_a_shorter_one(averaged, tmp_path):
    folder = run(tmp_path / "run", *FEW, "train.epochs=1")
    first = folder / "evaluations" / "epoch-0000001.json"
    before = first.stat().st_mtime_ns
    run(folder, *FEW)
    assert first.stat().st_mtime_ns == before
    for raw in (False, True):
        assert read_evaluations(folder, raw=raw) == read_evaluations(averaged, raw=raw)


@pytest.mark.slow
def test_what_the_end_of_a_shorter_run_added_is_forgotten(tmp_path):
    folder = run(tmp_path / "run", "eval.every=100", "eval.raw=true", "train.epochs=1")
    run(folder, "eval.every=100", "eval.raw=true", "train.epochs=2")
    for raw in (False, True):
        assert [one.epoch for one in read_evaluations(folder, raw=raw)] == [0, 2]


def test_no_epoch_judges_the_start_alone(averaged, tmp_path):
    folder = run(tmp_path / "run", "train.epochs=0")
    assert read_evaluations(folder) == read_evaluations(averaged)[:1]
    assert not list((folder / "checkpoints").iterdir())
    assert (folder / "report.html").is_file()


def test_the_processor_time_of_an_epoch_is_logged_without_its_evaluation(averaged):
    spent = [event["processor_s"] for event in read_events(averaged) if event["event"] == "rollout"]
    assert len(spent) == 3
    assert all(0 < seconds < 60 for seconds in spent)
