"""Whole runs with code of others that does to the process whatever it likes."""

import signal
import time
from functools import partial

import pytest

from fdfo.errors import RewardError
from fdfo.evaluation.runs import read_evaluations
from fdfo.training.interrupt import ECHO_S
from tests.guard.leaks import IMPORTS, TOGETHER
from tests.nightly import at_night
from tests.training.runs import command, largest_difference, run, torchrun

SCORE = """
def score(images, prompts, metadata):
    scores = images.mean((1, 2, 3)) + torch.tensor([0.01 * len(prompt) for prompt in prompts])
    {0}
    return scores
"""

LEAVES = """
import os, sys
CALLS = []
def score(images, prompts, metadata):
    CALLS.append(1)
    if len(CALLS) > 2:  # one evaluation, and one epoch
        {0}
    return images.mean((1, 2, 3))
"""


def written(path, text):
    path.write_text(text)
    return f"reward=[{{name: '{path}:score'}}]"


@pytest.mark.slow
def test_what_a_score_leaves_behind_changes_nothing(tmp_path):
    """To the bit: weights, evaluations, and the scores of others, whose networks run in between."""
    vandal = IMPORTS + "\n".join(TOGETHER) + SCORE.format("\n    ".join(TOGETHER))
    clean = written(tmp_path / "clean.py", "import torch\n" + SCORE.format("pass"))
    settings = ["eval.rewards=[shapes-contrastive, shapes-neatness]", "train.overlap_scoring=false"]
    before = run(tmp_path / "before", clean, *settings)
    after = run(tmp_path / "after", written(tmp_path / "vandal.py", vandal), *settings)
    assert largest_difference(before, after) == 0
    scores = [[list(e.scores.values()) for e in read_evaluations(folder)] for folder in (before, after)]
    assert scores[0] == scores[1]


@pytest.mark.parametrize(
    "code",
    [
        "sys.exit()",
        at_night("raise GeneratorExit"),
        at_night("raise KeyboardInterrupt"),
    ],
)
def test_a_score_that_leaves_stops_the_run_with_its_state(tmp_path, capsys, code):
    told = r"score' failed on 10 images, the first for '.*': .* \(mine.py:7\)"
    with pytest.raises(RewardError, match=told):
        run(tmp_path / "run", written(tmp_path / "mine.py", LEAVES.format(code)), "eval.every=100")
    assert "stopped by an error; saved after epoch 1" in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "run/checkpoints/epoch-0000001/complete.json").is_file()
    assert "1 of 3 so far" in (tmp_path / "run/report.html").read_text()  # no evaluation came after it


def test_a_second_sigterm_saves_what_is_finished_and_leaves_a_score_that_hangs(tmp_path):
    reward = written(
        tmp_path / "mine.py", LEAVES.format("open(__file__ + '.hangs', 'w').close(); __import__('time').sleep(600)")
    )
    started = command(tmp_path / "run", reward, "eval.every=100", "train.checkpoint_every=100", "train.keep=1")
    hangs = tmp_path / "mine.py.hangs"
    try:
        while not hangs.exists() and started.poll() is None:
            time.sleep(0.1)
        started.send_signal(signal.SIGTERM)
        time.sleep(ECHO_S + 0.5)
        started.send_signal(signal.SIGTERM)
        output, _ = started.communicate(timeout=60)
    finally:
        hangs.unlink(missing_ok=True)
    assert started.returncode == -signal.SIGTERM, output
    assert "stopped at once; saved after epoch 1" in " ".join(output.split())
    assert (tmp_path / "run/checkpoints/epoch-0000001/complete.json").is_file()


@pytest.mark.parametrize("start", [command, at_night(partial(torchrun, processes=2))])
def test_leaving_by_sys_exit_is_a_failure_for_whoever_started_it(tmp_path, start):
    reward = written(tmp_path / "mine.py", LEAVES.format("sys.exit(0)"))
    started = start(tmp_path / "run", reward, "eval.every=100")
    output, _ = started.communicate(timeout=240)
    assert started.returncode == 1
    assert output.count("mine.py:score' failed on") == 1 and "SystemExit: 0 (mine.py:7)" in output
    assert (tmp_path / "run/checkpoints/epoch-0000001/complete.json").is_file()
