"""What networks are said to be given before a prompt is encoded is what their pipelines give them."""

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves_with_path

from fdfo.config.load import load_config
from fdfo.errors import ModelError
from fdfo.models import inputs
from fdfo.models.inputs import INPUTS, network_inputs
from fdfo.models.load import is_planned, policy_from_config
from fdfo.models.outline import Outline
from fdfo.models.sizes import policy_sizes
from fdfo.models.source import ModelSource, encodes_text
from fdfo.planning.batches import chosen_batches
from tests.models.families.world import ALL, PROMPTS, World
from tests.nightly import by_day

GIB = 2**30
DAILY = ("StableDiffusion3Pipeline", "Flux2KleinPipeline", "ZImagePipeline", "QwenImagePipeline")


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    return World(request.param, tmp_path_factory.mktemp(request.param))


def tensors(arguments):
    """By where they are."""
    return {str(path): leaf for path, leaf in tree_leaves_with_path(dict(arguments)) if isinstance(leaf, Tensor)}


def shapes(arguments):
    return {path: (*tensor.shape,) for path, tensor in tensors(arguments).items()}


@pytest.mark.parametrize("world", by_day(DAILY, sorted(INPUTS.keys() & ALL)), indirect=True, scope="module")
def test_the_table_has_what_pipelines_give_their_networks(world, monkeypatch):
    row = world.policy(1.0).row(PROMPTS[1])
    assert all(tensor.is_meta for tensor in tensors(row).values())
    if world.family.ragged:  # the length of this prompt
        text = row["cap_feats"][0] if "cap_feats" in row else row["encoder_hidden_states"]
        monkeypatch.setattr(inputs, "USUAL_TOKENS", text.shape[-2])
    outline = Outline.of(ModelSource.find(str(world.folder)))
    tokens = world.case.tokens
    if world.name == "Krea2Pipeline":  # its closing words are 5 tokens, and as many as bytes with this tokenizer
        tokens += len(world.pipeline.tokenizer(world.pipeline.prompt_template_encode_suffix).input_ids) - 5
    table = network_inputs(outline, tokens, world.size, torch.float32)
    assert shapes(table) == shapes(row)
    assert table.get("img_shapes") == row.get("img_shapes")
    encoders = [one for name, one in world.pipeline.components.items() if encodes_text(name)]
    of_encoders = sum(weight.nbytes for encoder in encoders for weight in encoder.parameters())
    assert policy_sizes(configured(world).policy, row).text_encoders == of_encoders


def configured(world):
    own = [f"policy.name={world.folder}", f"policy.resolution={list(world.size)}", "policy.dtype=float32"]
    return load_config("sd35-medium-paper", [*own, "policy.text_tokens=null"])


@pytest.mark.parametrize("world", ["Lumina2Pipeline"], indirect=True, scope="module")
def test_a_network_that_looks_at_its_arguments_is_not_measured(world):
    with pytest.raises(ModelError, match=r"give train\.micro_batch"):
        policy_sizes(configured(world).policy, world.policy(1.0).row(PROMPTS[1]))


@pytest.mark.parametrize("world", ["AuraFlowPipeline"], indirect=True, scope="module")
def test_a_family_that_no_table_has_is_measured_by_its_first_prompt(world):
    config = configured(world)
    assert not is_planned(config.policy)
    with pytest.raises(ModelError, match="a run measures it then"):
        policy_sizes(config.policy)
    row = world.policy(1.0).row(PROMPTS[1])
    assert policy_sizes(config.policy, row).saved > 0
    found = chosen_batches(config, torch.device("cuda"), 80 * GIB, row=lambda: row)
    assert found.micro_batch == 64, "it is tiny"
    assert chosen_batches(config, torch.device("cpu"), None, row=lambda: pytest.fail("asked")).micro_batch > 1


def test_a_measured_row_is_as_large_as_the_table_says():
    settings = load_config("shapes", []).policy
    row = policy_from_config(settings, seed=0, device="cpu").row("a red circle")
    assert policy_sizes(settings, row) == policy_sizes(settings)
