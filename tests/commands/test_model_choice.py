"""Which weights `generate`, `eval` and `export` take, and what they say where those are damaged."""

import pytest

from fdfo.commands.model_choice import ModelChoice
from tests.nightly import at_night
from tests.test_cli import fdfo
from tests.training.runs import run


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A run whose best checkpoint was changed on disk, and its name."""
    folder = run(tmp_path_factory.mktemp("runs") / "damaged", "train.epochs=2", "train.checkpoint_every=1")
    best = folder / "checkpoints" / "epoch-0000002"
    (folder / "checkpoints" / "best").write_text(best.name + "\n")
    with (best / "state.json").open("a") as file:
        file.write(" ")
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        at_night(("generate", "a red circle", "--seeds", 1, "--steps", 1, "-o", "a.png", "--run")),
        ("eval", "--count", 1, "--steps", 1, "--run"),
        at_night(("export", "-o", "out")),
    ],
)
def test_a_damaged_best_checkpoint_is_not_passed_over_in_silence(
    monkeypatch, capsys, caplog, tmp_path, damaged, arguments
):
    monkeypatch.chdir(tmp_path)
    code, _, err = fdfo(monkeypatch, capsys, *arguments, damaged)
    assert code == 0, err
    assert [record.getMessage() for record in caplog.records if record.name.startswith("fdfo")] == [
        "checkpoint epoch-0000002 is not sound (state.json changed after it was written); using epoch-0000001 instead"
    ]


def test_weights_are_told_by_their_checkpoint_where_they_are_a_runs(damaged):
    sound = damaged / "checkpoints" / "epoch-0000001"
    for given in (damaged, sound):
        assert ModelChoice(None, "shapes", str(given), None, None).place == str(sound)
    assert ModelChoice(damaged, None, None, None, None).place == str(sound)
