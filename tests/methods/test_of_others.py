"""Methods, prompts and scores of a file, or of the program that makes the configuration."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from fdfo.config.load import load_config, to_yaml
from fdfo.errors import ConfigError, PluginError, PromptError, RewardError
from fdfo.plugins import method_of
from fdfo.prompts import load_file_or_list, load_prompts
from fdfo.records import Prompt
from fdfo.rewards import WeightedSum
from tests.guard.leaks import IMPORTS, TOGETHER, everything
from tests.methods.world import held_out_scores, make_engine, train
from tests.worlds import GaussianPolicy

(RAFT,) = re.findall(
    r"```python\n(.*?)```", (Path(__file__).parents[2] / "docs/methods.md").read_text(encoding="utf-8"), re.S
)
SETTINGS = ["method.group_size=8", "method.trained_times=2", "optim.updates_per_epoch=1"]


@pytest.fixture
def raft(tmp_path):
    path = tmp_path / "raft.py"
    path.write_text(RAFT)
    return path


def test_a_method_of_a_file_is_named_in_one_word_and_learns(raft, tmp_path):
    config = load_config("shapes", [f"method.name={raft}:RAFT", *SETTINGS])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_config(tmp_path / "config.yaml") == config
    method, policy = method_of(config.method), GaussianPolicy()
    before = held_out_scores(policy)
    train(make_engine(method, policy), epochs=30, count=8)
    assert float((held_out_scores(policy) - before).mean()) > 1.0


def test_it_leaves_nothing_behind_and_fails_by_name(raft):
    leaks = "\n        ".join(TOGETHER)
    vandal = IMPORTS + RAFT.replace("        v = policy", f"        {leaks}\n        v = policy")
    raft.write_text(vandal.replace("return matching_items(", "scores.total.zero_()\n        return matching_items("))
    config = load_config("shapes", [f"method.name={raft}:RAFT", *SETTINGS])
    engine = make_engine(method_of(config.method), GaussianPolicy())
    before = everything()
    with pytest.raises(PluginError, match=r"method '.*raft.py:RAFT' failed in loss: .*\(raft.py:\d+\)"):
        train(engine, epochs=1)  # without its gradient it cannot train
    assert everything() == before


def test_what_it_declares_is_read_through_the_guard(raft):
    more = "\n    @property\n    def extra(self):\n        import sys\n        sys.exit()\n"
    raft.write_text(re.sub(r"class RAFT.*:\n", lambda found: found[0] + more, RAFT))
    method = method_of(load_config("shapes", [f"method.name={raft}:RAFT", *SETTINGS]).method)
    with pytest.raises(PluginError, match=r"failed where its extra was read: SystemExit \(raft.py:\d+\)"):
        method.extra  # noqa: B018
    assert not hasattr(method, "nothing") and method.group_size > 1


@pytest.mark.parametrize(("name", "kind"), [("rollout", "Rollout"), ("credit", "Items"), ("loss", "LossOutput")])
def test_what_it_returns_is_told_where_it_is_nothing(raft, name, kind):
    raft.write_text(f"{RAFT}\n    def {name}(self, *given):\n        pass\n")
    config = load_config("shapes", [f"method.name={raft}:RAFT", *SETTINGS])
    with pytest.raises(PluginError, match=rf"{name} is to return a fdfo\.records\.{kind}, got NoneType"):
        train(make_engine(method_of(config.method), GaussianPolicy()), epochs=1)


MEMORY = """
class Vandal:
    def observe(self, prompts, totals):
        totals.zero_()
        for prompt in prompts:
            prompt.metadata["seen"] = True
        torch.set_default_dtype(torch.float64)
    def state(self):
        return {"count": torch.tensor(self.no_such_number)}
    def restore(self, state):
        state["count"].add_(1)
"""


def test_its_memory_gets_copies_and_is_guarded(raft):
    raft.write_text("import torch\n" + MEMORY + RAFT.replace("self.memory = {}, None", "self.memory = {}, Vandal()"))
    assert "Vandal()" in raft.read_text()
    memory = method_of(load_config("shapes", [f"method.name={raft}:RAFT", *SETTINGS]).method).memory
    totals, prompt, state = torch.ones(2), Prompt(text="a", metadata={}), {"count": torch.zeros(1)}
    memory.observe([prompt], totals)
    memory.restore(state)
    assert (totals.tolist(), prompt.metadata, state["count"].item()) == ([1, 1], {}, 0)
    assert torch.get_default_dtype() == torch.float32
    with pytest.raises(PluginError, match=r"failed in memory.state: AttributeError: .*\(raft.py:\d+\)"):
        memory.state()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("gone.py:RAFT", "no file"),
        ("raft.py:RAFTT", "no 'RAFTT' in the file; did you mean 'RAFT'"),
        ("raft.py:RaftConfig", "has no Config"),
        ("raft.py", "which function of the file"),
    ],
)
def test_a_method_that_is_not_there_is_one_line(raft, name, told):
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", [f"method.name={raft.parent / name}", *SETTINGS])
    assert [told in problem for problem in caught.value.problems] == [True]


PROMPTS = """
def texts():
    return ["a red circle", "two squares"]
def described():
    yield {"prompt": "a cat", "category": "animals"}
class Listed(list):
    def __init__(self):
        super().__init__(["one"])
def none():
    return []
def wrong():
    return ["a", 3]
def text():
    return "a cat"
def leaves():
    raise SystemExit
def endless():
    while True:
        yield "a cat"
"""


def test_prompts_of_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr("fdfo.prompts.MOST_PROMPTS", 100)
    (tmp_path / "mine.py").write_text(PROMPTS)

    def of(name):
        return [(prompt.text, prompt.metadata) for prompt in load_prompts(None, f"{tmp_path}/mine.py:{name}")]

    assert of("texts") == [("a red circle", {}), ("two squares", {})]
    assert of("described") == [("a cat", {"category": "animals"})]
    assert of("Listed") == [("one", {})]
    assert len(load_file_or_list(f"{tmp_path}/mine.py:texts")) == 2
    assert load_config("shapes", [f"prompts.name={tmp_path}/mine.py:texts"]).prompts.name.endswith("mine.py:texts")
    for name, told in {
        "none": "got none",
        "wrong": "got 3",
        "text": "'a cat'",
        "endless": "gives more than 100 prompts",
        "leaves": r"SystemExit \(mine.py:16\)",
    }.items():
        with pytest.raises(PromptError, match=rf"mine.py:{name}'.*{told}"):
            of(name)
    with pytest.raises(ConfigError, match="no 'descibed' in the file; did you mean 'described'"):
        load_config("shapes", [f"prompts.name={tmp_path}/mine.py:descibed"])


def warmth(images, prompts, metadata):
    return images[:, 0].mean((1, 2)) - images[:, 2].mean((1, 2))


def cats():
    return ["a cat"]


def test_functions_and_classes_of_the_program_are_what_their_names_stand_for(monkeypatch):
    monkeypatch.setattr("fdfo.plugins._given", {})  # other tests give functions of the same names
    found = {}
    exec(RAFT, found)
    method = {"name": found["RAFT"], "group_size": 8, "trained_times": 2}
    own = {"reward": [warmth, {"name": warmth, "weight": 2.0, "label": "again"}, "jpeg"], "prompts": {"name": cats}}
    config = load_config("shapes", {**own, "method": method, "optim": {"updates_per_epoch": 1}})
    assert [entry.name for entry in config.reward] == ["python:warmth", "python:warmth", "jpeg"]
    assert yaml.safe_load(to_yaml(config))["prompts"]["name"] == "python:cats"
    assert load_prompts(None, config.prompts.name)[0].text == "a cat"
    assert method_of(config.method).group_size == 8
    images = torch.rand(2, 3, 8, 8)
    scores = WeightedSum(config.reward[:2])(images, ["p", "q"], [{}, {}])
    torch.testing.assert_close(scores, 3 * warmth(images, [], []).double())


def test_two_of_the_same_name_are_two_and_a_forgotten_one_is_told():
    other = {"warmth": lambda images, prompts, metadata: [0.0] * len(images)}["warmth"]
    other.__qualname__ = "warmth"
    assert len({entry.name for entry in load_config("shapes", {"reward": [warmth, other]}).reward}) == 2
    with pytest.raises(ConfigError, match="'python:gone' is part of the program that named it"):
        load_config("shapes", ["reward=[{name: 'python:gone'}]"])
    assert RewardError
