"""docs/rewards.md is true: its code runs as it stands there, its entries load, its tables are complete."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from fdfo.config.load import load_config
from fdfo.config.presets import PRESETS
from fdfo.config.tree import RewardConfig
from fdfo.plugins import find, names
from fdfo.rewards import WeightedSum

TEXT = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text(encoding="utf-8")


def blocks(language, text=TEXT):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def loaded(tmp_path, code, name):
    """The reward that a block of code defines, as a user's file."""
    path = tmp_path / "mine.py"
    path.write_text(code)
    rewards = WeightedSum([RewardConfig(name=f"{path}:{name}", label=name)])
    rewards.load(torch.device("cpu"), torch.float32)
    return rewards


def test_the_score_in_five_lines_runs(tmp_path):
    code = blocks("python")[0]
    assert len([line for line in code.splitlines() if line.strip() and not line.startswith("#")]) <= 5
    rewards = loaded(tmp_path, code, "warmth")
    images = torch.zeros(3, 3, 4, 4)
    images[0, 0], images[1, 2] = 1, 1  # red, blue, black
    assert rewards(images, ["a"] * 3, [{}] * 3).tolist() == [1, -1, 0]


def test_the_pairwise_score_runs(tmp_path):
    rewards = loaded(tmp_path, blocks("python")[1], "sharper")
    images = torch.zeros(2, 3, 4, 4)
    images[1, :, :, ::2] = 1  # stripes
    (scores,) = rewards.components(images, ["a"] * 2, [{}] * 2, group_size=2).values()
    assert scores.tolist() == [-0.5, 0.5]
    assert rewards(images, ["a"] * 2, [{}] * 2).tolist() == [0, 0]


@pytest.mark.parametrize("text", blocks("yaml"))
def test_the_entries_load(text, monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    assert load_config("shapes", yaml.safe_load(text)).reward


def test_the_commands_load():
    commands = re.findall(r"^fdfo train shapes reward='(.*)' --run", TEXT, flags=re.MULTILINE)
    assert len(commands) == 1
    for value in commands:
        assert load_config("shapes", [f"reward={value}"]).reward[0].options["url"] == "http://127.0.0.1:8765"


def test_the_tables_are_complete():
    listed = set(re.findall(r"^\| `([^`/]+)` \|", TEXT, flags=re.MULTILINE))
    listed |= set(re.findall(r"`(vlm-[a-z]+)`", TEXT))
    assert listed == {*names("rewards"), *PRESETS}


def test_the_table_says_what_the_classes_say():
    rows = re.findall(r"^\| `([^`/]+)` \| [^|]* \| ([^|]*) \| [^|]* \| (yes|no|optional) \|$", TEXT, flags=re.MULTILINE)
    assert len(rows) == len(names("rewards"))
    for name, model, differentiable in rows:
        cls = find("rewards", name)
        if differentiable != "optional":
            assert cls.differentiable == (differentiable == "yes"), name
        if "/" in model:
            assert model in {*(cls.__init__.__kwdefaults__ or {}).values()}, name
