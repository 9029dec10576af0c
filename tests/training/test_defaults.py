"""Every default is run, whether a shipped recipe uses it or not."""

import pytest
import torch

from fdfo.config.load import from_mapping, load_config, recipe_names
from fdfo.config.section import Section
from fdfo.evaluation.runs import read_evaluations
from fdfo.flow.noise import NoiseStreams
from fdfo.plugins import find, names
from fdfo.shapes import PIPELINE
from fdfo.training.loop import train
from fdfo.training.setup import precision_notes
from tests.methods.world import Quadratic, flat, prompts, scored, start_averages
from tests.worlds import GaussianPolicy


def own(folder):
    """A recipe that says nothing but what has no default, and is quick."""
    (folder / "model").symlink_to(PIPELINE)
    (folder / "mine.txt").write_text("\n".join(f"{n} red circles" for n in ("one", "two", "three", "four", "five")))
    return {
        "policy": {"name": str(folder / "model"), "text_tokens": 1},
        "method": {"name": "fdfo", "steps": 4},
        "reward": ["jpeg"],
        "prompts": {"path": str(folder / "mine.txt"), "pairs_per_epoch": 1},
        "train": {"epochs": 1},
        "eval": {"prompts": 1, "steps": 4},
    }


def defaults(section, above=""):
    """(dotted key, default, value) of every field that has a default and is no section."""
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from defaults(value, f"{above}{name}.")
        elif not field.is_required():
            yield above + name, field.default, value


def test_a_run_on_defaults_alone_has_every_default_that_no_recipe_uses(tmp_path):
    config = from_mapping(own(tmp_path), "own")
    recipes = [load_config(name) for name in recipe_names() if name != "own"]
    used = {key for recipe in recipes for key, default, value in defaults(recipe) if value == default}
    changed = {key for key, default, value in defaults(config) if value != default}
    assert "eval.images_per_prompt" not in used  # so this test is about something
    assert not changed - used
    folder = train(config, tmp_path / "run")
    train(load_config(folder / "config.yaml", ["train.epochs=2"]), folder)
    assert [evaluation.epoch for evaluation in read_evaluations(folder)] == [0, 2]


@pytest.mark.parametrize("name", names("methods"))
def test_every_method_runs_on_its_defaults(name):
    method, policy = find("methods", name)(find("methods", name).Config()), GaussianPolicy()
    start_averages(method, policy)
    rollout = method.rollout(policy, prompts(1), NoiseStreams(seed=0, epoch=0))
    rows = flat(method.credit(rollout, scored(method, rollout)))
    assert bool(torch.isfinite(method.loss(policy, rows, Quadratic()).losses).all())


@pytest.mark.parametrize(
    ("dtype", "device", "told"), [("bfloat16", "cpu", 1), ("float32", "cpu", 0), ("bfloat16", "cuda", 0)]
)
def test_a_precision_that_is_slow_on_a_cpu_is_told(dtype, device, told):
    notes = precision_notes(load_config("shapes", [f"policy.dtype={dtype}"]), torch.device(device))
    assert len(notes) == told and all("policy.dtype=float32" in note for note in notes)
