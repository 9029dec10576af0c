"""The example of docs/methods.md, as it stands there, found by an entry point."""

import importlib
import re
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from fdfo.config.load import load_config
from fdfo.plugins import BUILT_IN, find, names
from fdfo.training.setup import check
from tests.methods.world import held_out_scores, make_engine, train
from tests.worlds import GaussianPolicy

DOCUMENT = Path(__file__).parents[2] / "docs" / "methods.md"


@pytest.fixture
def _raft(tmp_path, monkeypatch):
    """Install the example as a package would."""
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.S)
    (line,) = re.findall(r'raft = "my_package.raft:(.*?)"', DOCUMENT.read_text(encoding="utf-8"))
    (tmp_path / "my_raft.py").write_text(example)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    point = EntryPoint("raft", f"my_raft:{line}", "fdfo.methods")
    monkeypatch.setattr("fdfo.plugins.entry_points_of", lambda kind: [point] if f"fdfo.{kind}" == point.group else [])


@pytest.mark.usefixtures("_raft")
def test_the_documented_example_is_a_method_that_learns():
    overrides = ["method.name=raft", "method.group_size=8", "method.trained_times=2", "optim.updates_per_epoch=1"]
    config = load_config("shapes", overrides)
    check(config)
    assert "raft" in names("methods")
    method, policy = find("methods", "raft")(config.method), GaussianPolicy()
    before = held_out_scores(policy)
    train(make_engine(method, policy), epochs=30, count=8)
    assert float((held_out_scores(policy) - before).mean()) > 1.0


def test_the_table_names_every_method_and_its_recipes():
    text = DOCUMENT.read_text(encoding="utf-8")
    for name in BUILT_IN["methods"]:
        (row,) = re.findall(rf"^\| `{name}`.*$", text, re.M)
        for recipe in re.findall(r"`([^`]+)`", row.split("|")[4]):
            assert load_config(recipe).method.name == name
        needs_gradient = row.split("|")[3].strip() == "yes"
        assert find("methods", name)(load_config(recipe).method).differentiates_reward == needs_gradient


def test_every_field_that_the_document_mentions_exists():
    text = DOCUMENT.read_text(encoding="utf-8").partition("## Adding")[0]
    for section in text.split("\n## ")[1:]:
        (module,) = re.findall(r"\[`methods/(\w+)\.py`\]", section)
        fields = set(find("methods", module).Config.model_fields)
        words = re.findall(r"`(\w+)(?:=\w+)?`", section)
        values = {"group", "batch", "huber", "velocity", "clean", "noise", "bound"}
        assert {word for word in words if word not in values} <= fields, module
