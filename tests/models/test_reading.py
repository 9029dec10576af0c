"""Prompts that are longer than the model reads: told with their number, wherever prompts are given."""

import pytest
import torch
import yaml

from fdfo.config.tree import PolicyConfig
from fdfo.models.reading import reading_notes
from tests.test_cli import fdfo
from tests.training.runs import run

LONG = "a red circle above a blue square and a green triangle"
"""The embedded encoders read twelve tokens: ten words between the two of begin and end."""


def test_what_is_told_is_what_is_cut(policy):
    texts = [LONG, f"{LONG} left", " ".join(LONG.split()[:9])]
    first, second, shorter = policy.encode(texts).rows
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], shorter[name]) for name in first)
    (line,) = reading_notes(PolicyConfig(), texts)
    assert line.startswith("2 of 3 prompts have more than the 12 tokens that shapes reads")
    assert reading_notes(PolicyConfig(), ["a red circle", "a red circle"]) == []


def test_a_plan_tells_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(f"{LONG}\na red circle\ntwo blue squares\n")
    (tmp_path / "lists.py").write_text(f"def mine():\n    return ['{LONG}', 'a red circle', 'two blue squares']\n")
    for prompts in ("prompts.path=mine.txt", "prompts.name=lists.py:mine"):
        plan = fdfo(monkeypatch, capsys, "train", "shapes-smoke", prompts, "--dry-run")[1]
        assert "1 of 3 prompts have more than the 12 tokens" in yaml.safe_load(plan)["too_long"][0]


@pytest.mark.slow
def test_every_other_command_tells_it(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.txt").write_text(f"{LONG}\na red circle\ntwo blue squares\n")
    said = "1 of 3 prompts have more than the 12 tokens"
    folder = run(tmp_path / "run", "train.epochs=1", "prompts.path=mine.txt", "prompts.eval_path=mine.txt")
    assert said in capsys.readouterr().out
    short = ("--steps", "1", "-o")
    assert said in fdfo(monkeypatch, capsys, "generate", "--file", "mine.txt", "--run", folder, *short, "x.png")[1]
    assert said in fdfo(monkeypatch, capsys, "eval", "--run", folder, "--rewards", "jpeg", "--steps", "1")[1]
