"""Trainable weights: base, snapshots, files, and what other programs read."""

import copy

import pytest
import torch
from diffusers import StableDiffusion3Pipeline
from torch.testing import assert_close

from fdfo.config.tree import AdapterConfig
from fdfo.errors import ModelError
from fdfo.models import load_policy
from fdfo.models.families import JOINT_ATTENTION
from fdfo.models.source import EMBEDDED_TEXT_TOKENS
from tests.nightly import at_night

PROMPTS = ["a red circle", "three blue squares"]


def trained(kind="lora"):
    """A policy whose weights were changed at random."""
    policy = load_policy("shapes", adapter=AdapterConfig(kind=kind, rank=4, alpha=12))
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return policy


def velocity(policy, weights="current"):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *policy.latent_shape, generator=generator)
    with torch.no_grad():
        return policy.velocity(x, 0.5, policy.encode(PROMPTS), weights=weights)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_new_weights_leave_the_function_as_it_is(kind):
    fresh = load_policy("shapes", adapter=AdapterConfig(kind=kind))
    assert_close(velocity(fresh), velocity(load_policy("shapes")))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_base_is_the_function_before_training(kind):
    policy = trained(kind)
    base = velocity(load_policy("shapes"))
    assert_close(velocity(policy, "base"), base)
    assert float((velocity(policy) - base).abs().max()) > 1e-3


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_a_snapshot_is_evaluated_and_the_current_weights_stay(kind):
    policy = trained(kind)
    then = velocity(policy)
    policy.weights.snapshots["then"] = policy.weights.copy()
    with torch.no_grad():
        for parameter in policy.trainable():
            parameter.mul_(1.5)
    now = velocity(policy)
    assert_close(velocity(policy, "then"), then)
    assert_close(velocity(policy), now)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_saved_weights_come_back(kind, tmp_path):
    policy = trained(kind)
    policy.weights.save(tmp_path)
    assert_close(velocity(load_policy("shapes", adapter=tmp_path)), velocity(policy))


def test_adapters_sit_on_the_attention_projections_of_both_streams():
    names = load_policy("shapes", adapter=AdapterConfig()).weights.named()
    modules = {name.split("transformer_blocks.0.")[1].split(".lora_")[0] for name in names if "blocks.0." in name}
    assert modules == set(JOINT_ATTENTION)


def test_initialisation_follows_the_seed_and_leaves_the_global_generator():
    before = torch.random.get_rng_state()
    first, same, other = (load_policy("shapes", adapter=AdapterConfig(), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert_close(first.weights.copy(), same.weights.copy())
    assert any(not torch.equal(a, b) for a, b in zip(first.trainable(), other.trainable(), strict=True))


def pipeline_velocity(pipe, policy):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, *policy.latent_shape, generator=generator)
    tokens, _, pooled, _ = pipe.encode_prompt(
        PROMPTS, PROMPTS, PROMPTS, do_classifier_free_guidance=False, max_sequence_length=EMBEDDED_TEXT_TOKENS
    )
    with torch.no_grad():
        return pipe.transformer(x, tokens, pooled, torch.full((2,), 500.0), return_dict=False)[0]


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_weights_move_with_their_snapshots(kind):
    weights = load_policy("shapes", adapter=AdapterConfig(kind=kind)).weights
    average = weights.snapshots["ema"] = weights.copy()
    weights.place("meta")
    tensors = [*weights.network.parameters(), *average.values()]  # who holds the average goes on with it
    tensors += [value for snapshot in weights.snapshots.values() for value in snapshot.values()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_exported_lora_loads_in_diffusers(folder, tmp_path):
    policy = trained()
    policy.save_lora(tmp_path)
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.load_lora_weights(tmp_path)
    assert_close(pipeline_velocity(pipe, policy), velocity(policy), rtol=1e-4, atol=1e-5)


def test_checkpoint_loads_in_peft(folder, tmp_path):
    from peft import PeftModel

    policy = trained()
    policy.weights.save(tmp_path)
    pipe = StableDiffusion3Pipeline.from_pretrained(folder, dtype=torch.float32)
    pipe.transformer = PeftModel.from_pretrained(pipe.transformer, tmp_path)
    assert_close(pipeline_velocity(pipe, policy), velocity(policy), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_merged_pipeline_needs_no_adapter(kind, tmp_path, capfd):
    policy = trained(kind)
    expected = velocity(policy)
    policy.save_merged(tmp_path)
    assert capfd.readouterr() == ("", "")  # no bar of a library
    assert_close(velocity(load_policy(tmp_path, text_tokens=EMBEDDED_TEXT_TOKENS)), expected, rtol=1e-4, atol=1e-5)


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"expected adapter_model.safetensors"):
        load_policy("shapes", adapter=tmp_path)


def test_a_pickle_is_never_read(tmp_path):
    trained().weights.save(tmp_path)
    (tmp_path / "adapter_model.safetensors").rename(tmp_path / "adapter_model.bin")
    with pytest.raises(ModelError, match="expected"):
        load_policy("shapes", adapter=tmp_path)


def test_an_adapter_of_another_model_is_refused(tmp_path):
    from safetensors.torch import load_file, save_file

    trained().weights.save(tmp_path)
    file = tmp_path / "adapter_model.safetensors"
    renamed = {key.replace("blocks.0.", "blocks.9."): value for key, value in load_file(file).items()}
    save_file(renamed, file)
    with pytest.raises(ModelError, match="made for another model"):
        load_policy("shapes", adapter=tmp_path)


def test_unknown_adapter_targets_are_explained():
    with pytest.raises(
        ModelError, match=r"policy.adapter.targets=\['nothing'\]: .*; its linear layers: .*attn.to_q, .*to_out.0"
    ):
        load_policy("shapes", adapter=AdapterConfig(targets=("nothing",)))


@pytest.mark.parametrize("kind", ["lora", at_night("full")])
def test_strength_multiplies_the_change_of_every_weight(kind):
    policy = trained(kind)
    base = dict(load_policy("shapes").weights.network.named_parameters())
    merged = dict(copy.deepcopy(policy).weights.merged().named_parameters())
    for strength in (0.0, 0.5, 1.0, 1.5):
        policy.weights.strengthen("drawn", strength)
        expected = load_policy("shapes")
        with torch.no_grad():
            for name, weight in expected.weights.network.named_parameters():
                weight.copy_(base[name] + strength * (merged[name] - base[name]))
        assert_close(velocity(policy, "drawn"), velocity(expected), atol=2e-5, rtol=1e-4)  # float32, other order
