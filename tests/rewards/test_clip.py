"""CLIP-like rewards against transformers' own processor and model, on a tiny random CLIP made here."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError
from huggingface_hub.errors import RevisionNotFoundError as RevisionMissing
from torch.nn.functional import interpolate
from transformers import CLIPModel, CLIPProcessor

from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards import clip
from fdfo.rewards.clip import ClipScore, PickScore, ShapesContrastive
from fdfo.rewards.hpsv2 import HpsV2
from tests.rewards.tiny_clip import SIDE, TOKENS, as_levels, make_clip, pictures

PROMPTS = ["ab", "c", "a b c d"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def score(folder: str) -> ClipScore:
    return loaded(ClipScore(model=folder))


def loaded(reward):
    reward.load(CPU, torch.float32)
    return reward


def reference(folder: str, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
    """logits_per_image of transformers for the pairs."""
    with quiet_loading():
        model = CLIPModel.from_pretrained(folder).eval()
        processor = CLIPProcessor.from_pretrained(folder)
    batch = processor(images=as_levels(images), text=prompts, return_tensors="pt", padding=True)
    with torch.no_grad():
        return model(**batch).logits_per_image.diagonal()


@pytest.mark.parametrize("size", [(SIDE, SIDE), (96, 96), (60, 45), (30, 71)], ids=str)
def test_scores_are_those_of_transformers(folder, score, size):
    images = pictures(3, 6, 6)
    images = (interpolate(images, size, mode="bilinear") * 255).round() / 255  # smooth, and whole levels
    expected = reference(folder, images, PROMPTS)
    assert expected.std() > 0.3  # the model tells the pairs apart
    actual = score(images, PROMPTS, [{}] * 3)
    assert actual.dtype == torch.float32
    assert actual.shape == (3,)
    if size == (SIDE, SIDE):
        torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    else:
        scale = score._loaded.scale.item()
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-3 * scale)  # Pillow rounds


@pytest.mark.parametrize("size", [(512, 512), (400, 600)], ids=str)
@pytest.mark.parametrize("detail", [6, 64])
def test_scores_of_images_of_real_size(tmp_path, size, detail):
    """Pillow rounds to levels of 1/255; over the 224 x 224 pixels of real models that moves a cosine by up to 2e-4.

    That is 1e-3 of a score of 21, as PickScore's are at a scale of 100.
    """
    folder = make_clip(tmp_path, side=224)
    images = (interpolate(pictures(3, detail, detail), size, mode="bilinear") * 255).round() / 255
    reward = loaded(ClipScore(model=folder))
    expected = reference(folder, images, PROMPTS)
    assert expected.std() > 0.3
    actual = reward(images, PROMPTS, [{}] * 3)
    torch.testing.assert_close(actual, expected, rtol=0, atol=2e-4 * reward._loaded.scale.item())


def test_processor_saved_in_the_older_layout(folder, score, tmp_path):
    other = loaded(ClipScore(model=make_clip(tmp_path, nested=False)))
    images = pictures(3, 40, 30)
    assert torch.equal(other(images, PROMPTS, [{}] * 3), score(images, PROMPTS, [{}] * 3))


def test_gradient_is_the_derivative(score):
    images = pictures(2, 40, 30).requires_grad_()
    score(images, PROMPTS[:2], [{}] * 2).sum().backward()
    direction = images.grad / images.grad.norm()
    step = 1e-2
    with torch.no_grad():
        ends = [score(images + sign * step * direction, PROMPTS[:2], [{}] * 2).sum() for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    assert slope == pytest.approx(images.grad.norm().item(), rel=2e-2)  # second-order and float32 error of the step


def test_no_graph_without_a_gradient_to_follow(score):
    assert not score(pictures(2, SIDE, SIDE), PROMPTS[:2], [{}] * 2).requires_grad
    network = score._loaded.model
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("batch_size", [2, 5])
def test_neither_the_batch_nor_its_size_matters(folder, score, batch_size):
    images, prompts = pictures(5, 40, 30), ["ab", "c", "ab", "abc", ""]
    other = loaded(ClipScore(model=folder, batch_size=batch_size))
    alone = torch.cat([score(images[i : i + 1], prompts[i : i + 1], [{}]) for i in range(5)])
    torch.testing.assert_close(other(images, prompts, [{}] * 5), alone)


def test_empty_and_very_long_prompts(score):
    image = pictures(1, SIDE, SIDE)
    for prompt in ("", "a " * 5000, "{braces} 'quotes' \u2028", "é" * 10):
        assert score(image, [prompt], [{}]).isfinite().all()
    kept = "a " * (TOKENS - 2)  # between the start and the end token
    torch.testing.assert_close(score(image, ["a " * 5000], [{}]), score(image, [kept], [{}]))
    assert score(image, [kept], [{}]) != score(image, ["a " * (TOKENS - 3)], [{}])


def test_bfloat16_network_with_float32_comparison(folder, score):
    reward = ClipScore(model=folder)
    reward.load(CPU, torch.bfloat16)
    images = pictures(3, 40, 30).requires_grad_()
    scores = reward(images, PROMPTS, [{}] * 3)
    assert scores.dtype == torch.float32
    assert {p.dtype for p in reward._loaded.model.parameters()} == {torch.bfloat16}
    scale = reward._loaded.scale
    assert scale.dtype == torch.float32
    assert scale == score._loaded.scale  # 14.2857, which bfloat16 would make 14.19
    torch.testing.assert_close(scores, score(images, PROMPTS, [{}] * 3), rtol=0, atol=0.02 * scale.item())
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    assert gradient.isfinite().all() and gradient.abs().sum() > 0


def test_a_score_may_have_a_dtype_of_its_own(folder):
    for reward in (ClipScore, PickScore, HpsV2):
        own = reward(model=folder, processor=folder, dtype="bfloat16")
        own.load(CPU, torch.float32)
        assert {parameter.dtype for parameter in own.networks[0].parameters()} == {torch.bfloat16}
        assert own(pictures(1, SIDE, SIDE), ["a"], [{}]).dtype == torch.float32


def test_image_features_are_what_the_score_compares(folder, score):
    images = pictures(3, SIDE, SIDE)
    features = score.image_features(images)
    assert (features.shape, features.dtype) == ((3, 8), torch.float32)
    with quiet_loading():
        model = CLIPModel.from_pretrained(folder).eval()
    pixels = score._loaded.preprocess(images)
    with torch.no_grad():
        expected = model.get_image_features(pixel_values=pixels).pooler_output
    torch.testing.assert_close(features, expected)


def test_a_bad_image_spoils_only_its_own_score(score):
    images = pictures(3, SIDE, SIDE)
    expected = score(images, PROMPTS, [{}] * 3)
    images[1, 0, 0, 0] = torch.nan
    actual = score(images, PROMPTS, [{}] * 3)
    assert actual[1].isnan()
    torch.testing.assert_close(actual[[0, 2]], expected[[0, 2]])


# ---- the named models ----


def test_shapes_contrastive_is_the_embedded_folder(score, tmp_path, monkeypatch):
    make_clip(tmp_path / "shapes" / "assets" / "contrastive")
    monkeypatch.setattr(clip, "files", lambda package: {"fdfo": tmp_path}[package])
    images = pictures(3, SIDE, SIDE)
    reward = loaded(ShapesContrastive())
    assert torch.equal(reward(images, PROMPTS, [{}] * 3), score(images, PROMPTS, [{}] * 3))


def test_pickscore_uses_the_published_model_and_processor(folder, tmp_path, monkeypatch):
    asked = []

    def fail(name, file, revision):
        asked.append((name, file, revision))
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(RewardError, match=r"'pickscore'.*yuvalkirstain/PickScore_v1"):
        loaded(PickScore(revision="abc"))
    assert asked == [("yuvalkirstain/PickScore_v1", "config.json", "abc")]
    assert PickScore()._processor == "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    local = loaded(PickScore(model=folder, processor=folder))
    assert local(pictures(1, SIDE, SIDE), ["a"], [{}]).shape == (1,)


# ---- errors ----

_RESPONSE: Any = SimpleNamespace(headers={}, request=None, status_code=404)


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (GatedRepoError("403", response=_RESPONSE), "accept its licence"),
        (RepositoryNotFoundError("404", response=_RESPONSE), "no such folder or hub id"),
        (RevisionMissing("404", response=_RESPONSE), "no revision 'v9'"),
        (LocalEntryNotFoundError("offline"), "the hub cannot be reached"),
        (OSError("disk is full\nlong explanation"), "cannot be loaded: disk is full"),
    ],
    ids=["gated", "missing", "revision", "offline", "other"],
)
def test_hub_failures_say_what_to_do(monkeypatch, error, advice):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(RewardError) as caught:
        loaded(ClipScore(model="someone/clip", revision="v9"))
    message = str(caught.value)
    assert message.startswith("reward 'clip', model 'someone/clip': ")
    assert advice in message
    assert "\n" not in message


def test_failures_that_transformers_wraps_are_recognised(folder, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("You are trying to access a gated repo.") from GatedRepoError("403", response=_RESPONSE)

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", fail)
    with pytest.raises(RewardError, match="reward 'clip', model 'lab/words': access is gated"):
        loaded(ClipScore(model=folder, processor="lab/words"))


def test_folder_that_does_not_exist():
    with pytest.raises(RewardError, match=r"'clip', model '/no/such/folder': no such folder"):
        loaded(ClipScore(model="/no/such/folder"))


def test_model_of_another_kind(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "siglip"}))
    with pytest.raises(RewardError, match="'siglip' model; this reward takes a 'clip' model"):
        loaded(ClipScore(model=str(tmp_path)))


def test_weights_missing_or_incomplete(tmp_path):
    from safetensors.torch import load_file, save_file

    model = make_clip(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["text_projection.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(RewardError, match=r"lack text_projection\.weight"):
        loaded(ClipScore(model=model))
    (tmp_path / "model.safetensors").write_bytes(b"half a file")
    with pytest.raises(RewardError, match="cannot be loaded"):
        loaded(ClipScore(model=model))
    (tmp_path / "model.safetensors").unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(RewardError, match=r"no file named model\.safetensors"):
        loaded(ClipScore(model=model))


def test_processor_of_another_model(folder, tmp_path):
    small = make_clip(tmp_path / "small", {"size": {"shortest_edge": 16}, "crop_size": 16})
    with pytest.raises(RewardError, match=r"makes \(16, 16\) pixels and the model takes \(24, 24\)"):
        loaded(ClipScore(model=folder, processor=small))
    other_end = make_clip(tmp_path / "end", end=7)
    with pytest.raises(RewardError, match="is not the model's"):
        loaded(ClipScore(model=other_end))


def test_options_are_checked_together_before_loading():
    with pytest.raises(RewardError, match=r"model must be.*batch_size must be.*dtype must be one of"):
        ClipScore(model="", batch_size=0, dtype="half")
