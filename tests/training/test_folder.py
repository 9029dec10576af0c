"""A run folder belongs to the run that began in it."""

import os

import pytest
import torch
from safetensors import safe_open

from fdfo.commands.export import run_export
from fdfo.config.load import load_config
from fdfo.config.run_folder import load_run_config
from fdfo.errors import ConfigError, RewardError
from fdfo.training.folder import RunFolder
from tests.training.runs import run


def test_a_run_that_did_not_load_leaves_its_folder_free(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise RewardError("does not load")

    monkeypatch.setattr("fdfo.training.run.build_engine", fail)
    with pytest.raises(RewardError):
        run(tmp_path / "run", "optim.lr=0.5")
    RunFolder(tmp_path / "run").prepare(load_config("shapes-smoke", ["optim.lr=0.25"]))
    assert load_run_config(tmp_path / "run").optim.lr == 0.25


@pytest.mark.parametrize("kept", ["metrics.jsonl", "checkpoints/epoch-0000001", "checkpoints/unsound-epoch-0000001"])
def test_what_a_run_wrote_keeps_its_folder(tmp_path, kept):
    RunFolder(tmp_path).prepare(load_config("shapes-smoke"))
    (tmp_path / kept).touch()
    with pytest.raises(ConfigError, match=r"optim\.lr is"):
        RunFolder(tmp_path).prepare(load_config("shapes-smoke", ["optim.lr=0.5"]))


@pytest.mark.parametrize("foreign", ["config.yaml", "notes.txt"])
def test_what_someone_else_wrote_is_kept(tmp_path, foreign):
    if foreign != "config.yaml":
        RunFolder(tmp_path).prepare(load_config("shapes-smoke"))
    (tmp_path / foreign).write_text("mine: 1\n")
    with pytest.raises(ConfigError):
        RunFolder(tmp_path).prepare(load_config("shapes-smoke", ["optim.lr=0.5"]))
    assert (tmp_path / foreign).read_text() == "mine: 1\n"


def test_a_run_that_has_loaded_keeps_its_folder(tmp_path):
    folder = RunFolder(tmp_path)
    folder.prepare(load_config("shapes-smoke"))
    folder.begin()
    with pytest.raises(ConfigError, match=r"optim\.lr is"):
        folder.prepare(load_config("shapes-smoke", ["optim.lr=0.5"]))


@pytest.mark.slow
def test_weights_have_the_permissions_of_any_new_file(tmp_path):
    before = os.umask(0o027)
    try:
        folder = run(tmp_path / "run", "train.epochs=1")
        for to in ("diffusers", "merged"):
            run_export(folder, to, "latest", tmp_path / to, "bfloat16")
    finally:
        os.umask(before)
    files = [path for part in ("run/checkpoints", "diffusers", "merged") for path in (tmp_path / part).rglob("*")]
    weights = [path for path in files if path.suffix == ".safetensors"]
    assert len(weights) > 5
    with safe_open(tmp_path / "diffusers" / "pytorch_lora_weights.safetensors", "pt") as lora:
        said, dtypes = lora.metadata(), {lora.get_tensor(key).dtype for key in lora.keys()}  # noqa: SIM118
    assert dtypes == {torch.bfloat16}
    assert said["fdfo.base_model"] == "shapes" and said["fdfo.checkpoint"] == "epoch-0000001"
    assert said["fdfo.score"] == "1 shapes-contrastive" and len(said["fdfo.run_sha256"]) == 64
    assert {path.stat().st_mode & 0o777 for path in weights} == {0o640}
