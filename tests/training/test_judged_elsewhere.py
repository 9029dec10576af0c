"""Train low, judge high; train on a base, judge on its sibling: shown on the embedded model and on a copy of it."""

import json
import re
import shutil
from importlib.resources import files

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.drawing import generate
from fdfo.errors import ConfigError
from fdfo.evaluation.runs import read_evaluations
from fdfo.models.evaluated_model import evaluated_model
from fdfo.models.load import policy_from_config
from fdfo.records import Prompt
from fdfo.training.setup import check
from tests.training.runs import run

PIPELINE = files("fdfo") / "shapes" / "assets" / "pipeline"
OWN = ("policy.text_tokens=1", "train.epochs=1", "eval.every=1", "prompts.name=shapes-train")
PROMPTS = [Prompt(text="a red circle", number=3)]


@pytest.fixture(scope="module")
def sibling(tmp_path_factory):
    """A pipeline folder with the embedded model's weights: on it an adapter draws what it draws on that."""
    folder = tmp_path_factory.mktemp("models") / "sibling"
    shutil.copytree(str(PIPELINE), folder)
    return folder


def images(model, weights="current", steps=2):
    with model.having(weights) as name:
        return torch.cat([part.images for part in generate(model.policy, PROMPTS, steps=steps, weights=name)])


def configured(*changes):
    config = load_config("shapes-smoke", [*OWN, *changes])
    policy = policy_from_config(config.policy, seed=0, device="cpu")
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return policy, evaluated_model(config, policy)


def test_a_sibling_is_judged_with_the_weights_of_training(sibling):
    own, alone = configured()
    policy, other = configured(f"eval.policy={sibling}")
    assert alone.policy is own and other.policy is not policy
    for weights in ("current", "base"):
        assert torch.equal(images(other, weights), images(alone, weights))
    assert not torch.equal(images(other), images(other, "base"))
    policy.weights.snapshots["ema"] = {name: 0 * value for name, value in policy.weights.copy().items()}
    assert torch.equal(images(other, "ema"), images(alone, "base"))


@pytest.mark.slow
def test_a_run_that_is_judged_on_a_copy_is_judged_alike(sibling, tmp_path):
    plain, elsewhere = (
        run(tmp_path / name, *OWN, *more) for name, more in (("a", ()), ("b", (f"eval.policy={sibling}",)))
    )
    first, second = read_evaluations(plain), read_evaluations(elsewhere)
    assert [one.to_dict() for one in first] == [one.to_dict() for one in second]
    assert first[-1].scores != first[0].scores


def test_judged_images_have_their_own_size_and_guidance():
    policy, larger = configured("policy.resolution=[16, 32]", "eval.resolution=[32, 16]", "eval.guidance=3")
    assert (policy.resolution, larger.policy.resolution) == ((16, 32), (32, 16))
    assert images(larger).shape == (1, 3, 32, 16)
    assert (policy.guidance, larger.policy.guidance) == (1.0, 3.0)
    guided = policy_from_config(
        load_config("shapes-smoke", [*OWN, "policy.resolution=[32, 16]", "policy.guidance=3"]).policy,
        seed=0,
        device="cpu",
    )
    guided.weights.set(policy.weights.copy())
    expected = torch.cat([part.images for part in generate(guided, PROMPTS, steps=2)])
    assert torch.equal(images(larger), expected)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("eval.resolution=[33, 32]", "eval.resolution: height 33 is not a multiple"),
        ("eval.policy={wider}", "another num_attention_heads than the trained model"),
        ("eval.policy=black-forest-labs/FLUX.1-dev", "is a FluxPipeline, the trained model a StableDiffusion3Pipeline"),
    ],
)
def test_what_cannot_be_judged_is_said_before_anything_loads(change, said, sibling, tmp_path):
    wider = tmp_path / "wider"
    shutil.copytree(sibling, wider)
    path = wider / "transformer" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_attention_heads": 3}))
    with pytest.raises(ConfigError, match=said):
        check(load_config("shapes-smoke", [*OWN, "policy.adapter.kind=lora", change.format(wider=wider)]))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("policy.adapter.kind=full", r"needs policy\.adapter\.kind=lora"),
        ("policy.quantize=int8", r"needs policy\.quantize=null"),
        ("policy.adapter.start=some/adapter", r"does not go with policy\.adapter\.start"),
    ],
)
def test_weights_that_fit_no_sibling_are_refused(change, said, sibling):
    with pytest.raises(ConfigError) as caught:
        load_config("shapes-smoke", [*OWN, change, f"eval.policy={sibling}"])
    (problem,) = caught.value.problems
    assert re.search(said, problem)
