"""What happens when one of several processes fails or is lost."""

import os
import signal
import time

import pytest
import torch

from fdfo.cli import main
from fdfo.errors import LostPeerError, PeerError, RewardError
from fdfo.training.distributed import this_team
from tests.nightly import at_night
from tests.training.forks import forked
from tests.training.runs import TINY, run


def test_a_process_alone_exchanges_nothing():
    team = this_team()
    team.sum([1.0])
    team.gather_rows(torch.ones(3, 2))
    team.wait()
    assert team.take_traffic().bytes_exchanged == 0


def lost(rank, how, timeout_s=60.0):
    """Two processes meet; the second one is lost as told; the first one waits for it, as the command line would."""
    team = this_team(timeout_s)
    assert team.sum([1.0]) == [2.0]
    if rank == 1:
        how()
    start = time.monotonic()
    with pytest.raises(LostPeerError, match="lost contact with another process"):
        team.sum([1.0])
    assert time.monotonic() - start < 3  # a hanging one closes its connection after 4


def test_a_killed_process_is_noticed_at_once():
    assert forked(2, lambda rank: lost(rank, lambda: os.kill(os.getpid(), signal.SIGKILL))) == [0, -signal.SIGKILL]


def test_a_process_that_does_not_answer_is_waited_for_no_longer_than_the_timeout():
    def hang():
        time.sleep(4)
        os._exit(7)

    assert forked(2, lambda rank: lost(rank, hang, timeout_s=0.5)) == [0, 7]


@pytest.mark.parametrize("failing", [(1,), (0, 1)])
def test_one_process_raises_what_failed_and_the_others_leave(failing):
    def work(rank):
        error = RewardError("no score") if rank in failing else None
        with pytest.raises(RewardError if rank == failing[0] else PeerError):
            this_team().raise_together(error)

    assert forked(2, work) == [0, 0]


@pytest.mark.parametrize(
    ("where", "rank_of_error"),
    [
        at_night("fdfo.training.setup.policy_from_config", 1),
        at_night("fdfo.rewards.weighted.WeightedSum.load", 1),
        at_night("torch.optim.AdamW.step", 1),
        ("fdfo.training.run.save_checkpoint", 0),
        at_night("fdfo.training.run.write_report", 0),
    ],
)
def test_an_error_anywhere_on_one_process_ends_both(tmp_path, monkeypatch, where, rank_of_error):
    """Also between the phases, and where one process alone writes: the other one leaves without losing contact."""

    def failing(*_, **__):
        raise OSError("injected")

    def work(rank):
        if rank == rank_of_error:
            monkeypatch.setattr(where, failing)
        with pytest.raises(OSError if rank == rank_of_error else PeerError):
            run(tmp_path / "run", "train.checkpoint_every=1")

    assert forked(2, work) == [0, 0]


@pytest.mark.slow
def test_a_lost_process_is_told_of_once_and_the_rest_of_three_leave(tmp_path, capfd, monkeypatch):
    """Killed between two epochs' work; whoever is left says so once, and saves."""
    (tmp_path / "mine.py").write_text(
        "import os, signal\ncalls = []\n\ndef score(images, prompts, metadata):\n    calls.append(1)\n"
        "    if os.environ['RANK'] == '1' and len(calls) == 2:\n        os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return images.mean((1, 2, 3))\n"
    )
    scores = (f"reward=[{tmp_path}/mine.py:score]", "eval.rewards=[]", "eval.every=100", "train.epochs=2")
    arguments = ["fdfo", "train", "shapes-smoke", *TINY, *scores, "--run", str(tmp_path / "run")]
    monkeypatch.setattr("sys.argv", arguments)
    codes = forked(3, lambda rank: main())
    assert codes == [1, -signal.SIGKILL, 1]
    output = capfd.readouterr()
    assert (output.out + output.err).count("error: ") == 1
    assert "error: lost contact with another process" in output.err
    assert "Traceback" not in output.err
