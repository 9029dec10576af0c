"""A frozen network in few bits under a LoRA."""

import copy
from unittest.mock import patch

import pytest
import torch
from torch.testing import assert_close

from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig
from fdfo.errors import ConfigError, ModelError
from fdfo.models import load_policy
from fdfo.models.quantise import BITS, linear_layers, quantise_encoder, quantise_network
from fdfo.models.sizes import policy_sizes
from fdfo.models.targets import blocks_of
from fdfo.planning.batches import planner
from tests.models.families.builders import stable_diffusion_3
from tests.models.test_foreign import evaluated
from tests.nightly import by_day

ERROR = {"nf4": 0.2, "int8": 0.02, "fp8": 0.06}
"""Of the output, relative: a step of int8 is 1/127 of a row's largest weight, of fp8 2^-3 of each, of nf4 about 1/8."""


@pytest.fixture(scope="module")
def network():
    return stable_diffusion_3().transformer


@pytest.mark.parametrize("kind", ERROR)
def test_the_blocks_are_kept_in_few_bits_and_nearly_the_same_function(network, kind):
    few = copy.deepcopy(network)
    quantise_network(few, kind)
    few.to("cpu")
    plain = evaluated(network)
    error = float((evaluated(few) - plain).abs().max() / plain.abs().max())
    assert 0 < error < ERROR[kind]
    inside = linear_layers(blocks_of(few))
    assert inside
    assert all(type(layer.weight) is not torch.nn.Parameter for layer in inside)
    assert type(few.proj_out.weight) is torch.nn.Parameter


def test_a_row_of_zeros_which_has_no_scale_stays_finite():
    encoder = torch.nn.Sequential(torch.nn.Linear(64, 32))
    with torch.no_grad():
        encoder[0].weight[3] = 0
    quantise_encoder(encoder, "fp8")
    assert bool(encoder(torch.ones(1, 64)).isfinite().all())


@pytest.mark.parametrize("kind", ["int8", "fp8", "nf4"])
def test_a_lora_learns_beside_them_and_is_saved(kind, tmp_path):
    policy = load_policy("shapes", adapter=AdapterConfig(rank=2, alpha=4), quantize=kind, quantize_text=kind)
    cond = policy.encode(["a red circle"])
    x = torch.randn(1, *policy.latent_shape, generator=torch.Generator().manual_seed(0))
    policy.velocity(x, 0.5, cond).square().mean().backward()
    gradients = [parameter.grad for parameter in policy.trainable()]
    assert {parameter.dtype for parameter in policy.trainable()} == {torch.float32}
    assert all(gradient is not None and bool(gradient.isfinite().all()) for gradient in gradients)
    assert any(float(gradient.abs().max()) > 0 for gradient in gradients if gradient is not None)
    with torch.no_grad():
        base = policy.velocity(x, 0.5, cond)
        for parameter in policy.trainable():
            parameter.add_(0.05)
        now = policy.velocity(x, 0.5, cond)
        assert_close(policy.velocity(x, 0.5, cond, weights="base"), base)
    policy.weights.save(tmp_path)
    again = load_policy("shapes", adapter=tmp_path, quantize=kind, quantize_text=kind)
    with torch.no_grad():
        assert_close(again.velocity(x, 0.5, again.encode(["a red circle"])), now)
    with pytest.raises(ModelError, match="nothing can be merged into weights in few bits"):
        policy.save_merged(tmp_path)


def test_what_cannot_be_done_with_them_is_refused_before_anything_is_loaded():
    with pytest.raises(ConfigError, match=r"policy.quantize=int8: weights in few bits cannot be trained themselves"):
        load_config("shapes-smoke", ["policy.quantize=int8", "policy.adapter.kind=full"])
    with pytest.raises(ConfigError, match=r"policy.quantize=nf4: DoRA needs the lengths"):
        load_config("shapes-smoke", ["policy.quantize=nf4", "policy.adapter.dora=true"])
    with pytest.raises(ModelError, match="weights in few bits cannot be trained themselves"):
        load_policy("shapes", adapter=AdapterConfig(kind="full"), quantize="int8")


@pytest.mark.parametrize(("kind", "package"), [("nf4", "bitsandbytes"), ("int8", "torchao"), ("fp8", "torchao")])
def test_a_missing_library_is_named(kind, package):
    with (
        patch("fdfo.config.checks.find_spec", lambda name: None),
        pytest.raises(ConfigError, match=rf"policy.quantize={kind}: the package '{package}' is not installed"),
    ):
        load_config("shapes-smoke", [f"policy.quantize={kind}"])


@pytest.mark.parametrize("kind", by_day(["nf4"], BITS))
def test_the_plan_counts_their_bits(kind):
    """float32 weights of linear layers in blocks shrink to so many bits, and nothing else does."""
    whole = policy_sizes(load_config("shapes-smoke").policy)
    few = policy_sizes(load_config("shapes-smoke", [f"policy.quantize={kind}"]).policy)
    layers = linear_layers(blocks_of(load_policy("shapes").pipeline.transformer))
    weights = sum(layer.weight.numel() for layer in layers)
    itemsize = 2 if load_config("shapes-smoke").policy.dtype == "bfloat16" else 4
    assert whole.frozen - few.frozen == pytest.approx(weights * (itemsize - BITS[kind] / 8), abs=1)
    assert few.text_encoders == whole.text_encoders
    assert policy_sizes(load_config("shapes-smoke", [f"policy.quantize_text={kind}"]).policy).frozen == whole.frozen


@pytest.mark.parametrize(("given", "stays"), [([], False), (["policy.quantize=int8"], True)])
def test_the_plan_has_them_beside_the_text_encoders(given, stays):
    """Weights in few bits are not moved to the host while prompts are encoded."""
    plan = planner(load_config("shapes-smoke", given), torch.device("cpu"))(10**12)[1]
    assert (plan.phases["encode"].get("transformer", 0) > 0) == stays
