"""What processes agree on, and what they add up."""

import re
import signal

import pytest
import torch
from torch.nn import Parameter

from fdfo.config.load import load_config
from fdfo.errors import LostPeerError
from fdfo.planning.memory import Batches
from fdfo.training import distributed, interrupt, setup
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.interrupt import Interrupted, StopRequest, stop_on_signals
from tests.training.forks import forked
from tests.training.runs import TINY


def test_the_process_with_the_least_room_decides_the_batches_of_all(monkeypatch):
    def work(rank):
        own = Batches(4, 16, branches_together=False) if rank else Batches(8, 2)
        monkeypatch.setattr(setup, "chosen_batches", lambda *_: own)
        engine = setup.build_engine(load_config("shapes-smoke", TINY), this_team(), StopRequest(), Console(False, 1))
        assert (engine.micro_batch, engine.sample_batch, engine.policy.branches_together) == (4, 2, False)

    assert forked(2, work) == [0, 0]


class Echo:
    """An accelerator of two equal processes that gathers as one with NCCL does: into a flat tensor, viewed as rows."""

    process_index, num_processes, device, is_main_process = 0, 2, torch.device("cpu"), True

    def gather(self, tensor):
        return torch.cat([tensor.flatten()] * 2).view(-1, *tensor.shape[1:])


@pytest.mark.parametrize("shape", [(3, 0), (0, 4), (0, 0), (3, 2), (3,)])
def test_rows_of_any_width_are_gathered(shape):
    rows = torch.rand(shape)
    torch.testing.assert_close(distributed.Team(Echo()).gather_rows(rows), torch.cat([rows, rows]))


def test_only_what_peers_cause_is_told_as_their_loss():
    class Broken(Echo):
        def gather(self, tensor):
            raise self.error

    team = distributed.Team(Broken())
    for text in ("shape '[-1, 0]' is invalid for input of size 0", "CUDA out of memory"):
        team.accelerator.error = RuntimeError(text)
        with pytest.raises(RuntimeError, match=re.escape(text)):
            team.gather_rows(torch.rand(2))
    for text in ("[gloo/transport/tcp/pair.cc:547] Connection closed by peer", "NCCL communicator was aborted"):
        team.accelerator.error = RuntimeError(text)
        with pytest.raises(LostPeerError):
            team.gather_rows(torch.rand(2))


def test_a_signal_that_comes_twice_at_once_is_one(monkeypatch):
    with stop_on_signals() as stop:
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(Interrupted, match="SIGTERM"):
            stop.check()
        monkeypatch.setattr(interrupt, "ECHO_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("limit", "messages"), [(2**20, [68]), (24, [20, 40, 8]), (1, [12, 8, 40, 8])])
def test_gradients_are_added_up_in_messages_of_bounded_size(monkeypatch, limit, messages):
    """Four parameters of 3, 2, 10 and 2 numbers, the second without a gradient on one process."""
    monkeypatch.setattr(distributed, "BUCKET_BYTES", limit)

    def work(rank):
        parameters = [Parameter(torch.zeros(shape)) for shape in [(3,), (2,), (2, 5), (2,)]]
        for number, parameter in enumerate(parameters):
            if (rank, number) != (1, 1):
                parameter.grad = torch.full_like(parameter, 10.0 * rank + number)
        team = this_team()
        team.take_traffic()  # of meeting
        sent, reduce = [], distributed.Team._reduce
        monkeypatch.setattr(distributed.Team, "_reduce", lambda team, t: sent.append(t.nbytes) or reduce(team, t))
        team.sum_gradients(parameters)
        assert [set(p.grad.flatten().tolist()) for p in parameters] == [{10.0}, {1.0}, {14.0}, {16.0}]
        assert sent == messages
        assert team.take_traffic().bytes_exchanged == sum(messages)

    assert forked(2, work) == [0, 0]
