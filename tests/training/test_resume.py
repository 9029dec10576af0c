"""A run that was killed, stopped or broken continues to the same weights, bit for bit."""

import json
import os
import random
import resource
import signal
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fdfo.config.load import load_config
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.runs import read_events
from fdfo.training.checkpoint import prune
from fdfo.training.interrupt import Interrupted
from fdfo.training.judging import Jury
from fdfo.training.loop import train
from tests.nightly import at_night
from tests.training.runs import TINY, adapter, command, finish, run


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A whole run in a process of its own, with one thread, as the disturbed ones have."""
    folder = tmp_path_factory.mktemp("runs") / "undisturbed"
    finish(command(folder))
    return folder


def same(first, second):
    a, b = adapter(first), adapter(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def without_times(events):
    drop = {"seconds", "processor_s", "peak_memory_gib"}
    return [{key: value for key, value in event.items() if key not in drop} for event in events]


def start_and_wait_for(folder, *lines):
    """Start the run and return its process once it has printed a line with one of these beginnings."""
    process = command(folder)
    assert process.stdout is not None
    for text in process.stdout:
        if text.startswith(lines):
            return process
    process.communicate()
    raise AssertionError(f"the run ended before {lines}")


@pytest.mark.parametrize("kills", [1, at_night(8)])
def test_killed_at_random_moments(undisturbed, tmp_path, kills):
    folder = tmp_path / "killed"
    moments = random.Random(0)
    for _ in range(kills):
        process = start_and_wait_for(folder, "held-out, epoch 0", "continuing", "epoch")
        time.sleep(moments.uniform(0, 1.0))
        process.kill()
        process.communicate()
    finish(command(folder))
    assert same(folder, undisturbed)
    assert without_times(read_events(folder)) == without_times(read_events(undisturbed))


def test_sigterm_saves_and_says_how_to_continue(undisturbed, tmp_path):
    folder = tmp_path / "stopped"
    process = start_and_wait_for(folder, "epoch 1/3")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped by SIGTERM; saved after epoch" in output
    assert f"--run {folder}" in output
    finish(command(folder))
    assert same(folder, undisturbed)


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [2, 4])
def test_an_interrupted_evaluation_loses_no_epoch(tmp_path, monkeypatch, capsys, epoch):
    """In the middle of the run, and at its end."""
    settings = ("train.epochs=4", "eval.every=2")
    run(tmp_path / "whole", *settings)
    judge = Jury.judge

    def interrupted(self, engine, now):
        if now == epoch:
            raise Interrupted(signal.SIGINT)
        return judge(self, engine, now)

    monkeypatch.setattr(Jury, "judge", interrupted)
    with pytest.raises(Interrupted):
        run(tmp_path / "stopped", *settings)
    assert f"stopped by SIGINT; saved after epoch {epoch}" in capsys.readouterr().out
    monkeypatch.undo()
    run(tmp_path / "stopped", *settings)
    assert f"continuing after epoch {epoch}" in capsys.readouterr().out
    assert same(tmp_path / "stopped", tmp_path / "whole")
    events = [without_times(read_events(tmp_path / name)) for name in ("stopped", "whole")]
    assert events[0] == events[1]
    assert names_of(tmp_path / "stopped")[1] == names_of(tmp_path / "whole")[1]


@pytest.mark.slow
def test_a_damaged_checkpoint_is_passed_over(undisturbed, tmp_path, capsys):
    folder = tmp_path / "damaged"
    run(folder, "train.epochs=2")
    newest = folder / "checkpoints" / "epoch-0000002"
    damaged = bytearray((newest / "optimizer.safetensors").read_bytes())
    damaged[-1] ^= 1
    (newest / "optimizer.safetensors").write_bytes(damaged)
    capsys.readouterr()
    run(folder, "train.epochs=3")
    output = capsys.readouterr().out
    assert "epoch-0000002 is not sound (optimizer.safetensors changed" in output
    assert "continuing after epoch 1" in output
    assert same(folder, undisturbed)


def test_no_sound_checkpoint_is_an_error_and_erases_nothing(tmp_path):
    folder = tmp_path / "run"
    run(folder, "train.epochs=1")
    events = (folder / "metrics.jsonl").read_text()
    (folder / "checkpoints" / "epoch-0000001" / "complete.json").write_text("null")
    with pytest.raises(CheckpointError, match="None is left"):
        run(folder, "train.epochs=2")
    assert (folder / "metrics.jsonl").read_text() == events


class Killed(BaseException):
    """Stands for kill -9: nothing may catch it."""


@pytest.mark.slow
def test_killed_at_every_rename(tmp_path, monkeypatch):
    """Every file and folder of a run appears by a rename; die at each of them in turn, over and over, and continue."""
    import pathlib

    expected, folder = tmp_path / "undisturbed", tmp_path / "killed"
    run(expected, "eval.every=2")
    real_replace, real_rename = os.replace, pathlib.Path.rename
    survived = 0  # renames that this start may still do
    finished = False
    while not finished:
        left = survived = survived + 1

        def dying(operation):
            def rename(*arguments):
                nonlocal left
                left -= 1
                if left < 0:
                    raise Killed
                return operation(*arguments)

            return rename

        monkeypatch.setattr(os, "replace", dying(real_replace))
        monkeypatch.setattr(pathlib.Path, "rename", dying(real_rename))
        try:
            run(folder, "eval.every=2")
            finished = True
        except Killed:
            pass
        monkeypatch.undo()
    assert survived > 5
    assert same(folder, expected)
    assert without_times(read_events(folder)) == without_times(read_events(expected))
    assert names_of(folder) == names_of(expected)


def names_of(folder):
    """Checkpoints that are there, and what `latest` and `best` point to."""
    checkpoints = folder / "checkpoints"
    pointers = [checkpoints / name for name in ("latest", "best")]
    return sorted(p.name for p in checkpoints.glob("epoch-*")), [p.read_text() for p in pointers if p.is_file()]


def test_pruning_keeps_the_latest_the_best_and_the_multiples(tmp_path):
    for epoch in range(1, 9):
        (tmp_path / f"epoch-{epoch:07d}").mkdir()
    prune(tmp_path, keep=2, keep_every=3, best_epoch=4)
    assert sorted(int(path.name[6:]) for path in tmp_path.glob("epoch-*")) == [3, 4, 6, 7, 8]
    assert (tmp_path / "best").read_text() == "epoch-0000004\n"


@pytest.mark.slow
def test_extending_a_run_evaluates_as_one_run_would(tmp_path):
    run(tmp_path / "two parts", "train.epochs=1", "eval.every=2")
    run(tmp_path / "two parts", "train.epochs=3", "eval.every=2")
    run(tmp_path / "one", "train.epochs=3", "eval.every=2")
    events = [without_times(read_events(tmp_path / name)) for name in ("two parts", "one")]
    assert events[0] == events[1]


@pytest.mark.slow
def test_a_longer_run_continues_a_shorter_one(tmp_path):
    run(tmp_path / "in two", "train.epochs=1")
    run(tmp_path / "in two", "train.epochs=2")
    run(tmp_path / "in one", "train.epochs=2")
    assert same(tmp_path / "in two", tmp_path / "in one")


@pytest.mark.slow  # by day as a command: tests/commands/test_train.py
def test_another_configuration_is_refused(tmp_path):
    run(tmp_path / "run", "train.epochs=1")
    with pytest.raises(ConfigError, match=r"optim.lr is 0.0003 in the folder, 0.5 now"):
        run(tmp_path / "run", "train.epochs=1", "optim.lr=0.5")


def test_a_folder_of_something_else_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty and not a run folder"):
        run(tmp_path)


def test_a_full_disk_keeps_the_earlier_checkpoint(tmp_path):
    """No file may grow beyond 100 kB: the adapter fits, the optimizer's state does not."""
    folder = tmp_path / "full"
    run(folder, "train.epochs=1", "eval.every=100")
    before = adapter(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(CheckpointError, match=r"cannot save"):
            run(folder, "train.epochs=3", "eval.every=100")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (folder / "checkpoints").glob("*epoch*")] == ["epoch-0000001"]
    after = adapter(folder)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_folder_that_cannot_be_written_is_refused():
    with pytest.raises(CheckpointError, match="cannot write to /proc/run"):
        run(Path("/proc/run"))  # refuses even root


@pytest.mark.slow
def test_checkpoints_are_pruned_to_the_latest_and_the_best(tmp_path):
    config = load_config("shapes-smoke", [*TINY, "train.epochs=5", "train.keep=2", "eval.every=100"])
    train(config, tmp_path / "run")
    kept = sorted(path.name for path in (tmp_path / "run" / "checkpoints").glob("epoch-*"))
    assert kept[-2:] == ["epoch-0000004", "epoch-0000005"]
    assert len(kept) <= 3
    complete = json.loads((tmp_path / "run" / "checkpoints" / kept[-1] / "complete.json").read_text())
    assert {"adapter_model.safetensors", "adapter_config.json", "optimizer.safetensors", "state.json"} <= set(complete)


@pytest.mark.slow
def test_moments_in_8_bits_are_restored_exactly(tmp_path):
    """Rank 64: smaller tensors than 4096 numbers keep 32 bits."""
    settings = ("optim.kind=adamw8bit", "policy.adapter.rank=64", "optim.lr=1e-4")
    run(tmp_path / "whole", *settings)
    run(tmp_path / "parts", *settings, "train.epochs=1")
    run(tmp_path / "parts", *settings)
    assert same(tmp_path / "whole", tmp_path / "parts")
    state = load_file(sorted((tmp_path / "parts" / "checkpoints").glob("epoch-*"))[-1] / "optimizer.safetensors")
    assert {tensor.dtype for name, tensor in state.items() if name.endswith("/state1")} == {torch.uint8}
    run(tmp_path / "plain", *settings[1:])
    assert not same(tmp_path / "whole", tmp_path / "plain")
