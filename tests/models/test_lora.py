"""LoRA as its users know it: where it sits, how it is scaled, and under which names it is written."""

import copy

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from fdfo.config.tree import AdapterConfig
from fdfo.errors import ModelError
from fdfo.models.families import FAMILIES, JOINT_ATTENTION
from fdfo.models.lora_layouts import LAYOUTS, in_layout
from fdfo.models.weights import TrainableWeights
from tests.models.families.builders import flux, stable_diffusion_3
from tests.models.test_foreign import CLOSE, current, evaluated, loaded


@pytest.fixture(scope="module")
def pipeline():
    return stable_diffusion_3()


def attached(network, **options):
    """Weights of a network with a new adapter, changed at random."""
    weights = TrainableWeights(copy.deepcopy(network), JOINT_ATTENTION)
    weights.attach(AdapterConfig(rank=4, alpha=6, **options), seed=0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in weights.named().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return weights


def adapted(network, targets):
    """Names of the modules with an adapter."""
    names = attached(network, targets=targets).plain_lora()
    return {name.partition(".lora_")[0] for name in names}


ATTENTION = {f"transformer_blocks.0.{name}" for name in JOINT_ATTENTION}
FEED_FORWARD = {f"transformer_blocks.0.{ff}.net.{end}" for ff in ("ff", "ff_context") for end in ("0.proj", "2")}


def first_block(names):
    return {name for name in names if name.startswith("transformer_blocks.0.")}


def test_targets_by_name_by_list_and_by_pattern(pipeline):
    network = pipeline.transformer
    assert first_block(adapted(network, None)) == first_block(adapted(network, "attention")) == ATTENTION
    assert first_block(adapted(network, "attention+mlp")) == ATTENTION | FEED_FORWARD
    everything = adapted(network, "all-linear")
    assert first_block(everything) == {
        name
        for name, module in network.named_modules()
        if isinstance(module, torch.nn.Linear) and name.startswith("transformer_blocks.0.")
    }
    assert all(name.startswith("transformer_blocks.") for name in everything)
    assert adapted(network, r"transformer_blocks\.1\..*to_q") == {"transformer_blocks.1.attn.to_q"}
    assert first_block(adapted(network, ("attn.to_q",))) == {"transformer_blocks.0.attn.to_q"}


def test_feed_forward_layers_of_single_blocks_count(pipeline):
    single = {name for name in adapted(flux().transformer, "attention+mlp") if name.startswith("single_")}
    assert {name.rpartition(".")[2] for name in single} >= {"proj_mlp", "proj_out", "to_q", "to_k", "to_v"}


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (("attn.to_q", "nothing"), "'nothing' matches none of them"),
        ("nothing", "it matches the whole name of none of them"),
        ("to_(q", "no regular expression"),
    ],
    ids=str,
)
def test_targets_that_match_nothing_name_what_is_there(pipeline, targets, said):
    with pytest.raises(ModelError, match=said) as refused:
        attached(pipeline.transformer, targets=targets)
    assert "attn.to_q" in str(refused.value) or "regular" in said
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("options", [{}, {"rslora": True}, {"dora": True}], ids=str)
def test_weights_come_back_from_a_checkpoint_and_from_a_file(pipeline, tmp_path, options):
    weights = attached(pipeline.transformer, **options)
    expected = current(weights)
    assert_close(current(weights, "base"), evaluated(pipeline.transformer))
    weights.save(tmp_path)
    assert weights.read(tmp_path).keys() == weights.named().keys()
    assert_close(current(loaded(pipeline, tmp_path)), expected, **CLOSE)
    save_file(in_layout(weights.plain_lora(), "diffusers", "StableDiffusion3Pipeline"), tmp_path / "one.safetensors")
    assert_close(current(loaded(pipeline, tmp_path / "one.safetensors")), expected, **CLOSE)
    network = copy.deepcopy(pipeline.transformer)
    network.load_lora_adapter(weights.plain_lora(), prefix=None)
    assert_close(evaluated(network), expected, **CLOSE)


def test_rslora_scales_by_the_root_of_the_rank(pipeline):
    """B A of the file is alpha / sqrt(rank) times that of the trained matrices: 6 / 2."""
    weights = attached(pipeline.transformer, rslora=True)
    up = {name: value for name, value in weights.copy().items() if ".lora_B." in name}
    files = weights.plain_lora()
    for name, value in up.items():
        assert_close(files[name.removeprefix("base_model.model.").replace(".default.", ".")], 3 * value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_read_back(pipeline, tmp_path, layout):
    weights = attached(pipeline.transformer)
    file = tmp_path / "lora.safetensors"
    save_file(in_layout(weights.plain_lora(), layout, "StableDiffusion3Pipeline"), file)
    assert_close(current(loaded(pipeline, file)), current(weights), **CLOSE)


def test_layouts_that_nobody_would_read_are_refused(pipeline):
    layers = attached(pipeline.transformer, dora=True).plain_lora()
    with pytest.raises(ModelError, match="no such place as diffusers' for DoRA"):
        in_layout(layers, "kohya", "FluxPipeline")
    with pytest.raises(ModelError, match="which names ComfyUI reads for a Flux2KleinPipeline is not known here"):
        in_layout(layers, "comfyui", "Flux2KleinPipeline")
    with pytest.raises(ModelError, match="no loader of LoRA for a PRXPipeline; use --to merged"):
        in_layout(layers, "diffusers", "PRXPipeline")
    assert "Flux2KleinPipeline" in FAMILIES


def test_the_change_since_a_start_has_no_multiples(pipeline, tmp_path):
    attached(pipeline.transformer).save(tmp_path)
    weights = TrainableWeights(copy.deepcopy(pipeline.transformer), JOINT_ATTENTION)
    weights.start(tmp_path, "lora")
    with pytest.raises(ModelError, match="--strength: the run started from a LoRA"):
        weights.strengthen("half", 0.5)


def test_a_dora_has_no_multiples(pipeline):
    with pytest.raises(ModelError, match="--strength: the change of a DoRA adapter has no multiples"):
        attached(pipeline.transformer, dora=True).strengthen("half", 0.5)
