"""Pipelines made of blocks: found, planned and loaded from a folder or the hub, and called as a card says."""

import json
import shutil
from pathlib import Path

import diffusers
import huggingface_hub
import pytest
import torch
import yaml
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import PreTrainedTokenizerFast, T5TokenizerFast

from fdfo.config.tree import PolicyConfig
from fdfo.errors import ModelError
from fdfo.flow.solve import integrate
from fdfo.models import load_policy, outline
from fdfo.models.load import policy_notes, policy_problems
from fdfo.models.modular import _kind
from fdfo.models.source import MODULAR_INDEX, ModelSource
from fdfo.models.usage import diffusers_code
from tests.models.families.world import PROMPTS, STEPS, World
from tests.test_cli import fdfo

pytestmark = pytest.mark.skipif(not hasattr(diffusers, "Flux3ModularPipeline"), reason="diffusers 0.40 has no FLUX.3")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """FLUX.3, which has a block too many, a component that no index names, and no scheduler's file."""
    return World("Flux3ModularPipeline", tmp_path_factory.mktemp("flux3"))


def test_a_folder_is_planned_and_told_what_is_left_out(world, monkeypatch, capsys):
    own = [f"policy.name={world.folder}", "policy.resolution=[64,32]"]
    code, plan, err = fdfo(monkeypatch, capsys, "train", "flux2-klein-16gb", *own, "--dry-run")
    assert code == 0, err
    (note,) = policy_notes(PolicyConfig(name=str(world.folder)))
    assert "its prompt upsampler is left out" in note
    assert yaml.safe_load(plan)


def test_a_folder_that_was_moved_is_loaded_from_where_it_is(world, tmp_path):
    moved = Path(shutil.copytree(world.folder, tmp_path / "elsewhere"))
    index = json.loads((moved / MODULAR_INDEX).read_text())
    for entry in index.values():
        if isinstance(entry, list):
            entry[2]["pretrained_model_name_or_path"] = str(tmp_path / "gone")
    (moved / MODULAR_INDEX).write_text(json.dumps(index))
    assert ModelSource.find(str(moved)).component_config("vae")["latent_channels"] == 4
    ours, theirs = load_policy(moved, resolution=world.size), world.policy(1.0)
    x = torch.randn(1, *ours.latent_shape)
    with torch.no_grad():
        a, b = (policy.velocity(x, 0.5, policy.encode(PROMPTS[:1])) for policy in (ours, theirs))
    assert_close(a, b, rtol=0, atol=0)


def pickled(world, place, kind):
    """A copy whose text encoder is a pickle, and which its index calls something else."""
    folder = Path(shutil.copytree(world.folder, place))
    weights = folder / "text_encoder" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    index = json.loads((folder / MODULAR_INDEX).read_text())
    index["text_encoder"][2].update(type_hint=kind, pretrained_model_name_or_path=str(folder))
    (folder / MODULAR_INDEX).write_text(json.dumps(index))
    return folder


@pytest.mark.parametrize("kind", ["AutoModel", "AutoModelForImageTextToText", "Qwen3VLForConditionalGeneration"])
def test_no_pickle_is_read_whatever_class_an_index_names(world, monkeypatch, tmp_path, kind):
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("read a pickle"))
    folder = pickled(world, tmp_path / "pickled", ["transformers", kind])
    with pytest.raises(ModelError, match=r"no file named model\.safetensors"):
        load_policy(folder, resolution=world.size)


def test_blocks_tell_the_class_of_a_component_and_an_index_a_special_case_of_it():
    class Special(torch.nn.Linear):
        pass

    assert _kind(torch.nn.Linear, Special) is Special
    assert _kind(torch.nn.Linear, torch.nn.Conv2d) is torch.nn.Linear
    assert _kind(torch.nn.Linear, None) is torch.nn.Linear
    assert _kind(None, Special) is Special
    assert _kind(T5TokenizerFast, PreTrainedTokenizerFast) is PreTrainedTokenizerFast  # a folder's own words


def test_a_model_of_the_hub_is_found_by_either_index_and_by_parts_of_others(world, monkeypatch, tmp_path):
    """Its decoder lies in a folder of another model."""
    index = json.loads((world.folder / MODULAR_INDEX).read_text())
    for name, entry in index.items():
        if isinstance(entry, list):
            entry[2].update(pretrained_model_name_or_path="me/parts", subfolder=f"old/{name}", revision="main")
    asked = []

    def download(repository, file, revision=None):
        asked.append((repository, file, revision))
        (tmp_path / "file.json").write_text(json.dumps(index if file == MODULAR_INDEX else {"latent_channels": 7}))
        if file == "model_index.json":
            raise LocalEntryNotFoundError("none")
        return str(tmp_path / "file.json")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    source = ModelSource.find("me/model")
    assert source.pipeline_class == "Flux3ModularPipeline"
    assert source.components["vae"] == "AutoencoderKLFlux2"
    assert source.component_config("vae") == {"latent_channels": 7}
    assert asked[-1] == ("me/parts", "old/vae/config.json", "main")


def test_a_folder_without_either_index_lacks_the_usual_one(tmp_path):
    with pytest.raises(ModelError, match=r"the folder has no model_index\.json"):
        ModelSource.find(str(tmp_path))


def test_a_pipeline_that_this_diffusers_lacks_is_told(world, monkeypatch):
    monkeypatch.delattr(diffusers, "Flux3ModularPipeline")
    monkeypatch.setattr(diffusers, "_class_to_module", {}, raising=False)
    with pytest.raises(ModelError, match=r"has no Flux3ModularPipeline; a newer one may: pip install -U"):
        policy_problems(PolicyConfig(name=str(world.folder)))


@pytest.mark.parametrize(("pads", "said"), [(True, "its pipeline needs torchvision"), (False, None)])
def test_a_package_that_some_networks_need_is_asked_for_by_those(world, monkeypatch, tmp_path, pads, said):
    for name in ("transformer", "vae", "scheduler"):
        (tmp_path / name).mkdir()
    kinds = {"transformer": "CosmosTransformer3DModel", "vae": "AutoencoderKLQwenImage"}
    index = {name: ["diffusers", kind, {"type_hint": ["diffusers", kind]}] for name, kind in kinds.items()}
    (tmp_path / MODULAR_INDEX).write_text(json.dumps({"_class_name": "AnimaModularPipeline", **index}))
    network = {"in_channels": 16, "patch_size": [1, 2, 2], "concat_padding_mask": pads}
    (tmp_path / "transformer/config.json").write_text(json.dumps(network))
    (tmp_path / "vae/config.json").write_text(json.dumps({"z_dim": 16, "dim_mult": [1], "temperal_downsample": [True]}))
    monkeypatch.setattr(outline, "find_spec", lambda package: None)
    found = policy_problems(PolicyConfig(name=str(tmp_path)))
    assert [said in problem for problem in found] == ([True] if said else [])


def test_the_code_of_a_card_draws_what_the_policy_draws(world, tmp_path):
    policy = world.policy(2.5)
    for parameter in policy.trainable():
        torch.nn.init.normal_(parameter, std=0.1)
    policy.save_lora(tmp_path)
    code = diffusers_code(policy, PolicyConfig(name=str(world.folder), dtype="float32"), str(tmp_path), STEPS)
    *lines, drawing = code.splitlines()
    made = {}
    exec("\n".join(lines), made)
    x = torch.randn(1, *policy.latent_shape)
    drawing = drawing.replace("{prompt}", "text, latents=x, output_type='pt'")
    found: dict[str, torch.Tensor] = {}
    exec(drawing, made | {"text": PROMPTS[0], "x": x}, found)
    cond = policy.encode(PROMPTS[:1])
    with torch.no_grad():
        x0 = integrate(lambda x, t: policy.velocity(x, t, cond), x, policy.grid(STEPS).tolist())
        assert_close(found["image"][None], policy.decode(x0), rtol=0, atol=1e-5)


def test_merged_weights_are_a_pipeline_of_blocks(world, tmp_path):
    policy = load_policy(world.folder, resolution=world.size)
    policy.save_merged(tmp_path / "merged")
    index = json.loads((tmp_path / "merged" / MODULAR_INDEX).read_text())
    assert index["_class_name"] == "Flux3ModularPipeline"
    again = load_policy(tmp_path / "merged", resolution=world.size)
    assert type(again.pipeline).__name__ == "Flux3ModularPipeline"
