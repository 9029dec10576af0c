"""Scores from a user's file, and plain functions and classes as rewards."""

import sys

import pytest
import torch

from fdfo.config.tree import RewardConfig
from fdfo.errors import PluginError, RewardError
from fdfo.rewards import build, build_reward

IMAGES = torch.rand(2, 3, 4, 4)
ARGS = (IMAGES, ["a", "b"], [{"n": 1}, {"n": 2}])

CODE = """
import math
from dataclasses import dataclass

def score(images, prompts, metadata, *, sign=1):
    return [sign * (len(p) + m["n"]) for p, m in zip(prompts, metadata)]

def smooth(images, prompts, metadata):
    return images.mean((1, 2, 3))
smooth.differentiable = True

class Bright:
    differentiable = False
    def __init__(self, *, scale=1.0):
        if scale < 0:
            raise ValueError("scale is negative")
        self.scale, self.device = scale, None
    def load(self, device, dtype):
        self.device = device
    def __call__(self, images, prompts, metadata):
        return images.mean((1, 2, 3)) * self.scale

bright = Bright(scale=3.0)

@dataclass
class Settings:
    number: int = 5

class Incomplete:
    differentiable = "yes"
    def __call__(self, images):
        return images

def one_argument(images):
    return images
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "my scores.py"
    path.write_text(CODE)
    return path


def build_from(file, name, **options):
    return build_reward(RewardConfig(name=f"{file}:{name}", **options))


def test_function_with_and_without_options(file):
    assert build_from(file, "score")(*ARGS) == [2, 3]
    assert build_from(file, "score", sign=-1)(*ARGS) == [-2, -3]
    assert not build_from(file, "score").differentiable
    assert build_from(file, "smooth").differentiable


def test_class_gets_the_options_and_an_object_none(file):
    reward = build_from(file, "Bright", scale=2.0)
    reward.load(torch.device("cpu"), torch.float32)
    assert reward.device == torch.device("cpu")
    torch.testing.assert_close(reward(*ARGS), 2 * IMAGES.mean((1, 2, 3)))
    torch.testing.assert_close(build_from(file, "bright")(*ARGS), 3 * IMAGES.mean((1, 2, 3)))
    with pytest.raises(RewardError, match="takes no options, got scale"):
        build_from(file, "bright", scale=1.0)


def test_import_path_is_left_alone_and_neighbours_can_be_imported(file):
    (file.parent / "fdfo_test_neighbour.py").write_text("VALUE = 7\n")
    file.write_text(
        "from fdfo_test_neighbour import VALUE\ndef score(images, prompts, metadata):\n    return [VALUE] * 2"
    )
    before = list(sys.path)
    try:
        assert build_from(file, "score")(*ARGS) == [7, 7]
    finally:
        sys.modules.pop("fdfo_test_neighbour", None)
    assert sys.path == before
    assert not [path for path in file.parent.rglob("*.pyc") if "scores" in path.name]


def test_file_is_run_once_until_it_changes_and_files_do_not_share_names(file, tmp_path):
    text = "CALLS = []\ndef score(images, prompts, metadata):\n    CALLS.append(1)\n    return [len(CALLS)] * 2\n"
    file.write_text(text)
    first = build_from(file, "score")
    assert first(*ARGS) == [1, 1]
    assert build_from(file, "score")(*ARGS) == [2, 2]  # the same module
    file.write_text(text.replace("[len(CALLS)]", "[-len(CALLS)]"))
    assert build_from(file, "score")(*ARGS) == [-1, -1]
    other = tmp_path / "other"
    other.mkdir()
    (other / file.name).write_text(text)
    assert build_from(other / file.name, "score")(*ARGS) == [1, 1]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("scoer", {}, "no 'scoer' in the file; did you mean 'score'"),
        ("math", {}, "is a module; accepted: def score"),
        ("one_argument", {}, "cannot be called with (images, prompts, metadata)"),
        ("score", {"sing": 1}, "cannot be called with (images, prompts, metadata, sing=...)"),
        ("Bright", {"scael": 1}, "unexpected keyword argument 'scael'; its options: scale"),
        ("Bright", {"scale": -1}, "ValueError: scale is negative (my scores.py:16)"),
        (
            "Incomplete",
            {},
            "no attribute 'differentiable' that is True or False; no method load(device, dtype);",
        ),
    ],
)
def test_what_does_not_fit_is_explained(file, name, options, message):
    with pytest.raises(RewardError) as caught:
        build_from(file, name, **options)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_missing_file_and_missing_name(tmp_path, file):
    with pytest.raises(RewardError, match=r"no file .*gone\.py"):
        build_from(tmp_path / "gone.py", "score")
    with pytest.raises(RewardError, match=r"which function of the file\? add it as file\.py:name"):
        build_reward(RewardConfig(name=str(file)))
    file.write_text("import math\n")
    with pytest.raises(RewardError, match="it defines none; add def score"):
        build_from(file, "score")


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1\nimport no_such_module_of_fdfo\n", "ModuleNotFoundError: No module named .*my scores.py:2"),
        ("def score(images:\n", "SyntaxError"),
        ("raise SystemExit(2)\n", "SystemExit: 2"),
    ],
)
def test_file_that_cannot_be_run(file, code, message):
    file.write_text(code)
    before = list(sys.path), set(sys.modules)
    with pytest.raises(RewardError, match=message) as caught:
        build_from(file, "score")
    assert caught.value.__cause__ is not None
    assert (list(sys.path), set(sys.modules)) == before


def test_registered_names_may_be_classes_or_functions(monkeypatch):
    def registered(kind, name):
        return {"length": lambda images, prompts, metadata: [len(prompt) for prompt in prompts]}[name]

    monkeypatch.setattr(build, "find", registered)
    assert build_reward(RewardConfig(name="length"))(*ARGS) == [1, 1]
    monkeypatch.undo()
    assert build_reward(RewardConfig(name="jpeg", quality=50))(*ARGS).shape == (2,)
    with pytest.raises(RewardError, match="'qualty'; its options: quality, sign"):
        build_reward(RewardConfig(name="jpeg", qualty=50))
    with pytest.raises(PluginError, match="did you mean 'jpeg'"):
        build_reward(RewardConfig(name="jpg"))


def test_options_are_a_copy_at_every_depth():
    entry = RewardConfig.model_validate({"name": "x.py:f", "n": [1], "deep": {"n": [2]}})
    entry.options["n"].append(1)
    entry.options["deep"]["n"].append(1)
    assert entry.options == {"n": [1], "deep": {"n": [2]}}


def test_a_file_of_nobody_is_not_there():
    with pytest.raises(RewardError, match="no file"):
        build_reward(RewardConfig(name="~nobodyxyz/a.py:f"))
