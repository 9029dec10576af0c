"""No command writes over what a run, or somebody else, has in the place of its output."""

import os

import pytest
import torch

from fdfo.commands.output import prepare_folder, prepare_output
from fdfo.config.run_folder import load_run_config, owner_of
from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.dataset import refuse_foreign, write_dataset


@pytest.fixture
def run(tmp_path):
    """A folder that is a run as far as outputs are concerned."""
    run = tmp_path / "run"
    (run / "checkpoints").mkdir(parents=True)
    for name in ("config.yaml", "metrics.jsonl"):
        (run / name).write_text("")
    return run


@pytest.mark.parametrize(
    "name",
    ["config.yaml", "metrics.jsonl", "inputs.json", "checkpoints/best", "samples/a/b.png", "export/../config.yaml"],
)
def test_what_is_a_runs_own_is_no_output(run, name):
    with pytest.raises(ConfigError, match=f"it belongs to the run in {run}"):
        prepare_output(run / name)


def test_a_run_is_no_folder_of_pictures(run):
    for folder in (run, run / "evaluations"):
        with pytest.raises(ConfigError, match="it belongs to the run"):
            prepare_folder(folder)


@pytest.mark.parametrize("name", ["report.html", "images.png", "export/config.yaml", "../page.html"])
def test_beside_it_there_is_room(run, name):
    assert owner_of(run / name) is None
    prepare_output(run / name)


def test_pictures_go_where_nothing_or_such_pictures_are(tmp_path):
    (tmp_path / "metadata.jsonl").write_text("{}")
    with pytest.raises(ConfigError, match="give a new one"):
        refuse_foreign(tmp_path)
    ours = tmp_path / "ours"
    refuse_foreign(ours)
    write_dataset(ours, {"base": torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8)}, ["a"], {})
    refuse_foreign(ours)


def test_a_pipe_is_no_configuration(tmp_path):
    os.mkfifo(tmp_path / "config.yaml")
    with pytest.raises(CheckpointError, match="not a file"):
        load_run_config(tmp_path)
