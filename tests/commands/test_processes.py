"""`fdfo train --processes`."""

import os
import signal
import sys
import time

import pytest
import torch

from fdfo.commands import processes as starting
from fdfo.commands.processes import processes
from fdfo.errors import ConfigError
from tests.training.forks import Command
from tests.training.runs import TINY, adapter, finish, largest_difference, run

SMOOTH = ("optim.lr=3e-5", "method.strength=0.04")  # a step that magnifies no rounding


def two(folder, *overrides):
    return Command("train", "shapes-smoke", *TINY, *overrides, "--processes", "2", "--run-dir", str(folder))


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path):
    output = finish(two(tmp_path / "two", *SMOOTH))
    assert output.count("loading ...") == 1
    run(tmp_path / "one", *SMOOTH)
    assert adapter(tmp_path / "one").keys() == adapter(tmp_path / "two").keys()
    assert 0 < largest_difference(tmp_path / "one", tmp_path / "two") < 1e-6  # sums in another order


def test_the_first_one_leaves_no_other_behind_and_nothing_in_the_environment(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["fdfo", "serve-reward", "jpeg", "--port", "0"])  # never ends by itself
    monkeypatch.setattr(starting, "GRACE_S", 0.0)
    monkeypatch.setenv("OMP_NUM_THREADS", str(torch.get_num_threads()))
    started, start = [], starting._start
    monkeypatch.setattr(starting, "_start", lambda *given: started.append(start(*given)) or started[-1])
    before = dict(os.environ)
    with processes(3):
        assert (os.environ["RANK"], os.environ["WORLD_SIZE"]) == ("0", "3")
    assert [other.returncode for other in started] == [-signal.SIGKILL] * 2
    assert dict(os.environ) == before


def test_under_a_launcher_no_more_are_started(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ConfigError, match="a launcher has started processes already"), processes(2):
        pass


@pytest.mark.slow
def test_a_signal_to_the_first_one_saves_and_ends_all(tmp_path):
    process = two(tmp_path, "train.epochs=400")
    while not (tmp_path / "metrics.jsonl").is_file() or '"rollout"' not in (tmp_path / "metrics.jsonl").read_text():
        assert process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM, output
    assert adapter(tmp_path)
