"""`fdfo train` with several mistakes: one message for all of them."""

import subprocess
import sys

import pytest

from fdfo.config.load import load_config
from fdfo.config.run_folder import load_run_config
from fdfo.training.folder import RunFolder
from tests.test_cli import fdfo
from tests.training.runs import adapter, run

NEED_THE_CODE = {
    "policy.resolution=[33,32]": "policy.resolution: height 33 is not a multiple of",
    "prompts.path=empty.txt": "empty.txt: the file has no prompts",
    "reward=[{name: jpeg, qualty: 3}]": "reward.0.qualty: unknown option",
}
NEED_NONE = {
    "reward=[{name: nofile.py:f}]": "reward.0.name: no file 'nofile.py'",
    "eval.rewards=[jpge]": "eval.rewards.0.name: unknown reward 'jpge'; did you mean 'jpeg'?",
    "prompts.path=missing.txt": "prompts.path: missing.txt: no such file",
    "prompts.eval_name=shapes-tset": "prompts.eval_name: unknown prompts 'shapes-tset'; did you mean 'shapes-test'?",
    "optim.lrr=1": "optim.lrr: unknown key; did you mean 'lr'?",
    "optim.updates_per_epoch=7": "optim.updates_per_epoch=7 does not divide",
    "method.stepz=3": "method.stepz: unknown key; did you mean 'steps'?",
}
"""Told first, before any code of methods, models or scores is imported."""


def test_all_mistakes_are_told_at_once(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    for mistakes in (NEED_THE_CODE, NEED_NONE):
        code, _, err = fdfo(monkeypatch, capsys, "train", "shapes", *mistakes, "--run", "run")
        assert code == 2
        assert f"{len(mistakes)} problems in shapes" in err
        assert all(fragment in err for fragment in mistakes.values())
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_not_found_is_told_with_the_rest(monkeypatch, capsys, tmp_path):
    mistakes = ("policy.name=no/such-model-here", "prompts.path=empty.txt", "reward=[{name: jpeg, qualty: 3}]")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.txt").touch()
    code, _, err = fdfo(monkeypatch, capsys, "train", "own", *mistakes)
    assert code == 2
    assert "3 problems" in err


def test_the_dry_run_tells_how_many_prompts_are_read_and_held_out(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("fdfo.planning.describe.describe", lambda config: "")  # seconds, and not asked here
    monkeypatch.chdir(tmp_path)
    (tmp_path / "four.txt").write_text("a\nb\nc\nd\n")
    four = ("prompts.path=four.txt", "prompts.eval_name=null")
    _, out, _ = fdfo(monkeypatch, capsys, "train", "shapes", *four, "--dry-run")
    assert "prompts: '4 prompts read: 3 to train on, 1 held out; one held-out prompt gives no interval; " in out
    _, out, _ = fdfo(monkeypatch, capsys, "train", "shapes", "prompts.name=pickscore-train", "--dry-run")
    assert "prompts: 'pickscore-train: counted when read'" in out


@pytest.mark.parametrize("entry", ["key_variable: sk-secret-1", "key: sk-secret-1"])
def test_a_key_in_the_configuration_is_neither_written_nor_shown(entry, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for reward in (f"reward=[{{name: remote, {entry}}}]", f"eval.rewards=[{{name: vlm-server, {entry}}}]"):
        for mode in (["--run", "run"], ["--dry-run"]):
            code, out, err = fdfo(monkeypatch, capsys, "train", "shapes-smoke", reward, *mode)
            assert code == 2 and "key" in err
            assert "sk-secret-1" not in out + err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_folder_is_its_own_recipe(monkeypatch, capsys, tmp_path):
    changes = ("train.seed=3", "method.steps=6", "optim.lr=2e-4")
    folder = run(tmp_path / "run", "train.epochs=1", *changes)
    straight = run(tmp_path / "straight", "train.epochs=2", *changes)
    code, _, err = fdfo(monkeypatch, capsys, "train", "--run", folder)
    assert (code, err) == (0, "")
    code, _, err = fdfo(monkeypatch, capsys, "train", "train.epochs=2", "train.micro_batch=4", "--run", folder)
    assert code == 0, err
    assert adapter(folder, 2).keys() == adapter(straight, 2).keys()
    assert load_run_config(folder).train.seed == 3
    code, _, err = fdfo(monkeypatch, capsys, "train", "optim.lr=1e-4", "train.epochs=3", "--run", folder)
    assert code == 2
    assert "optim.lr is 0.0002 in the folder, 0.0001 now" in err
    assert f"`fdfo train --run {folder}` continues it by its own settings" in err
    assert "train.epochs" not in err and "method" not in err


def test_another_configuration_is_refused_before_anything_is_loaded(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = RunFolder(tmp_path / "run")
    folder.prepare(load_config("shapes-smoke"))
    folder.begin()
    monkeypatch.setattr("fdfo.commands.train.load_config", lambda *_: pytest.fail("it was loaded"))
    changes = ("optim.lr=0.5", "train.seed=7", "train.epochs=90")
    code, out, err = fdfo(monkeypatch, capsys, "train", "shapes-smoke", *changes, "--run", folder.path)
    assert (code, out) == (2, "")
    assert "2 problems in" in err and "train.seed is 0 in the folder, 7 now" in err and "epochs" not in err


def test_something_is_said_before_anything_heavy_is_imported(tmp_path):
    """In a process of its own, whose first look for a method's settings, which imports torch, fails."""
    code = (
        "import sys, fdfo.cli\n"
        "import fdfo.commands.train as train\n"
        "def fail(*_): sys.exit(str(sorted({'torch', 'numpy', 'transformers', 'diffusers'} & set(sys.modules))))\n"
        "train.load_config = fail\n"
        "fdfo.cli.main()\n"
    )
    command = [sys.executable, "-c", code, "train", "shapes-smoke", "--run", str(tmp_path / "run")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.stdout, found.stderr) == ("loading ...\n", "[]\n")
