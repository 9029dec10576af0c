"""What processes agree on, and what they add up."""

from fdfo.config.load import load_config
from fdfo.planning.memory import Batches
from fdfo.training import setup
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.interrupt import StopRequest
from tests.training.forks import forked
from tests.training.runs import TINY


def test_the_process_with_the_least_room_decides_the_batches_of_all(monkeypatch):
    def work(rank):
        own = Batches(4, 16, branches_together=False) if rank else Batches(8, 2)
        monkeypatch.setattr(setup, "chosen_batches", lambda config, device: own)
        trainer = setup.build_trainer(load_config("shapes-smoke", TINY), this_team(), StopRequest(), Console(False, 1))
        assert (trainer.micro_batch, trainer.sample_batch, trainer.policy.branches_together) == (4, 2, False)

    assert forked(2, work) == [0, 0]
