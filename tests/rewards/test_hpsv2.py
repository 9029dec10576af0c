"""HPSv2: the fixed scale, and weights that are published as pickles."""

from dataclasses import replace

import pytest
import torch
from transformers import CLIPModel

from fdfo.errors import RewardError
from fdfo.rewards import hpsv2, pickled
from fdfo.rewards.clip import ClipScore
from fdfo.rewards.hpsv2 import HpsV2
from fdfo.rewards.open_clip import as_transformers
from tests.rewards.tiny_clip import SIDE, make_clip, pictures

CPU = torch.device("cpu")
ARGS = (pictures(3, SIDE, SIDE), ["ab", "c", "a b"], [{}] * 3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(autouse=True)
def _cache(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def scores(reward):
    reward.load(CPU, torch.float32)
    return reward(*ARGS)


def in_open_clip(model):
    """The same weights under open_clip's names, written down independently of the code under test."""
    theirs, weights = {}, model.state_dict()
    for ours, tower in (("text_model", ""), ("vision_model", "visual.")):
        for layer in range(2):
            old, new = f"{ours}.encoder.layers.{layer}", f"{tower}transformer.resblocks.{layer}"
            for kind in ("weight", "bias"):
                parts = [weights[f"{old}.self_attn.{letter}_proj.{kind}"] for letter in "qkv"]
                theirs[f"{new}.attn.in_proj_{kind}"] = torch.cat(parts)
                theirs[f"{new}.attn.out_proj.{kind}"] = weights[f"{old}.self_attn.out_proj.{kind}"]
                theirs[f"{new}.mlp.c_fc.{kind}"] = weights[f"{old}.mlp.fc1.{kind}"]
                theirs[f"{new}.mlp.c_proj.{kind}"] = weights[f"{old}.mlp.fc2.{kind}"]
                theirs[f"{new}.ln_1.{kind}"] = weights[f"{old}.layer_norm1.{kind}"]
                theirs[f"{new}.ln_2.{kind}"] = weights[f"{old}.layer_norm2.{kind}"]
    for kind in ("weight", "bias"):
        theirs[f"ln_final.{kind}"] = weights[f"text_model.final_layer_norm.{kind}"]
        theirs[f"visual.ln_pre.{kind}"] = weights[f"vision_model.pre_layrnorm.{kind}"]
        theirs[f"visual.ln_post.{kind}"] = weights[f"vision_model.post_layernorm.{kind}"]
    theirs["token_embedding.weight"] = weights["text_model.embeddings.token_embedding.weight"]
    theirs["positional_embedding"] = weights["text_model.embeddings.position_embedding.weight"]
    theirs["visual.positional_embedding"] = weights["vision_model.embeddings.position_embedding.weight"]
    theirs["visual.class_embedding"] = weights["vision_model.embeddings.class_embedding"]
    theirs["visual.conv1.weight"] = weights["vision_model.embeddings.patch_embedding.weight"]
    theirs["text_projection"] = weights["text_projection.weight"].T
    theirs["visual.proj"] = weights["visual_projection.weight"].T
    theirs["logit_scale"] = weights["logit_scale"]
    return theirs


def test_score_is_a_hundred_times_the_cosine(folder):
    clip = ClipScore(model=folder)
    expected = scores(clip) / clip._loaded.scale * 100
    torch.testing.assert_close(scores(HpsV2(model=folder, processor=folder)), expected)


def test_pictures_that_are_not_square_are_judged_whole(folder):
    hps, clip = HpsV2(model=folder, processor=folder), ClipScore(model=folder)
    wide = pictures(1, 12, SIDE)
    on_black = torch.nn.functional.pad(wide, (0, 0, 6, 6))
    for reward in (hps, clip):
        reward.load(CPU, torch.float32)
    torch.testing.assert_close(hps(wide, ["ab"], [{}]), hps(on_black, ["ab"], [{}]))
    assert not torch.allclose(clip(wide, ["ab"], [{}]), clip(on_black, ["ab"], [{}]), rtol=1e-3)


@pytest.fixture
def published(folder, tmp_path, monkeypatch):
    """Make a model of the hub a local file of torch.save, beside the architecture of the tiny CLIP."""

    def published(model, content):
        asked = []
        torch.save(content, tmp_path / "weights.pt")
        monkeypatch.setattr(hpsv2, "published_file", lambda *file: asked.append(file) or tmp_path / "weights.pt")
        monkeypatch.setitem(hpsv2.PICKLES, model, replace(hpsv2.PICKLES[model], config=folder))
        return asked

    return published


@pytest.mark.parametrize(
    ("name", "file"), [("adams-story/HPSv2-hf", "pytorch_model.bin"), ("xswu/HPSv2", "HPS_v2.1_compressed.pt")]
)
def test_published_pickles_are_converted_once(folder, name, file, published, monkeypatch):
    model = CLIPModel.from_pretrained(folder)
    contents = [model.state_dict(), {"state_dict": in_open_clip(model), "epoch": 3}]
    asked = published(name, contents[name == "xswu/HPSv2"])
    expected = scores(HpsV2(model=folder, processor=folder))
    torch.testing.assert_close(scores(HpsV2(model=name, processor=folder)), expected)
    assert asked == [(name, file, None)]
    monkeypatch.setattr(torch, "load", lambda *args, **kwargs: pytest.fail("unpickled again"))
    torch.testing.assert_close(scores(HpsV2(model=name, processor=folder)), expected)


def test_pickle_that_would_run_code_is_refused(folder, published):
    class Evil:
        def __reduce__(self):
            return print, ("executed",)

    published("adams-story/HPSv2-hf", {"weight": Evil()})
    with pytest.raises(RewardError, match=r"'hpsv2', model .*: cannot be loaded: weights.pt holds more than tensors"):
        scores(HpsV2(processor=folder))


@pytest.mark.parametrize(
    "name", ["visual.head.weight", "transformer.resblocks.0.ls_1.gamma", "x.transformer.resblocks.0.ln_1.bias"]
)
def test_checkpoint_with_other_tensors_is_refused(name):
    with pytest.raises(ValueError, match=f"'{name}', which no CLIP of open_clip has"):
        as_transformers({name: torch.zeros(1)})


def test_safetensors_need_no_conversion(tmp_path):
    from safetensors.torch import save_file

    save_file({"a": torch.ones(2)}, tmp_path / "w.safetensors")
    assert pickled.read_pickled(tmp_path / "w.safetensors", dict)["a"].tolist() == [1, 1]
