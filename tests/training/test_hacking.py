"""Runs that are made to hack their score raise their alarms, and the same run at its usual learning rate does not.

benchmarks/evidence/hacking.py has the slow way there: a contrastive score that rises while the verifier's falls.
"""

import pytest

from fdfo.config.load import load_config
from fdfo.evaluation.report.record import read_run
from fdfo.training.loop import train

SHORT = (
    "optim.ema=null",
    "prompts.pairs_per_epoch=12",
    "train.epochs=3",
    "eval.prompts=20",
    "eval.every=3",
    "eval.rewards=[shapes-verifier]",
)


@pytest.mark.parametrize(
    ("score", "lr", "raised"),
    [
        ("shapes-contrastive", 2.0e-4, set()),
        ("shapes-contrastive", 4.0e-3, {"diversity", "velocity", "sharpness"}),
        ("jpeg", 1.0e-3, {"over-optimisation", "diversity", "sharpness"}),  # one flat colour is the smallest file
    ],
    ids=["as usual", "learning rate", "score"],
)
@pytest.mark.slow
def test_alarms_of_a_run(tmp_path, score, lr, raised):
    overrides = [f"reward=[{{name: {score}}}]", f"optim.lr={lr}", *SHORT]
    record = read_run(train(load_config("shapes", overrides), tmp_path / "run"))
    assert {alarm.name for alarm in record.alarms} == raised
    assert {alarm.epoch for alarm in record.alarms} <= {3}
