"""Every model that a score reads can be pinned to a revision: a hub cache where nothing but that revision exists."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

from fdfo.errors import RewardError
from fdfo.rewards import hpsv2
from fdfo.rewards.aesthetic import Aesthetic
from fdfo.rewards.clip import ClipScore, PickScore
from fdfo.rewards.detect import Detect
from fdfo.rewards.hpsv2 import HpsV2
from fdfo.rewards.image_reward import ImageReward
from tests.rewards.tiny_clip import make_clip

CLIP, HEAD, DETECTOR, WEIGHTS = "someone/clip", "someone/head", "someone/detector", "xswu/HPSv2"
PINNED = {CLIP: "clip-v1", HEAD: "head-v1", DETECTOR: "detector-v1", WEIGHTS: "weights-v1"}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folders of the cached models, which a download would have left; the hub cannot be reached."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folders = {}
    for name, revision in PINNED.items():
        place = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        commit = f"{len(folders):040d}"
        folders[name] = place / "snapshots" / commit
        folders[name].mkdir(parents=True)
        (place / "refs").mkdir()
        (place / "refs" / revision).write_text(commit)
    make_clip(folders[CLIP])
    return folders


def prepare(cache: dict[str, Path]) -> None:
    """What is not CLIP: an aesthetic head, a detector, and HPSv2's weights as its authors publish them."""
    save_file({"weight": torch.ones(1, 8), "bias": torch.zeros(1)}, cache[HEAD] / "head.safetensors")
    size = {"num_hidden_layers": 1, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    config = YolosConfig(image_size=[32, 32], patch_size=8, num_detection_tokens=6, **size)
    YolosForObjectDetection(config).save_pretrained(cache[DETECTOR])
    YolosImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(cache[DETECTOR])


CLIP_OPTIONS = {"model": CLIP, "revision": "clip-v1"}
PROCESSOR_OPTIONS = {"processor": CLIP, "processor_revision": "clip-v1"}
CASES = {
    "clip": (ClipScore, CLIP_OPTIONS, ["revision"]),
    "pickscore": (PickScore, CLIP_OPTIONS | PROCESSOR_OPTIONS, ["revision", "processor_revision"]),
    "hpsv2": (HpsV2, CLIP_OPTIONS | PROCESSOR_OPTIONS, ["revision", "processor_revision"]),
    "aesthetic": (
        Aesthetic,
        CLIP_OPTIONS | {"head": HEAD, "head_file": "head.safetensors", "head_revision": "head-v1"},
        ["revision", "head_revision"],
    ),
    "detect": (
        Detect,
        {"model": DETECTOR, "revision": "detector-v1", "color_model": CLIP, "color_revision": "clip-v1"},
        ["revision", "color_revision"],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_all_models_of_a_score_can_be_pinned(cache, name):
    prepare(cache)
    reward, options, _ = CASES[name]
    reward(**options).load("cpu", torch.float32)


@pytest.mark.parametrize(("name", "pin"), [(name, pin) for name, (_, _, pins) in CASES.items() for pin in pins])
def test_without_one_pin_the_newest_revision_is_asked_for(cache, name, pin):
    prepare(cache)
    reward, options, _ = CASES[name]
    with pytest.raises(RewardError, match=f"reward '{name}', model 'someone/"):
        reward(**options | {pin: None}).load("cpu", torch.float32)


def test_the_tokenizer_of_image_reward_can_be_pinned():
    """It is read first: what is blamed is the tokenizer, or the model after it."""
    options = {"model": HEAD, "revision": "head-v1", "tokenizer": CLIP}
    with pytest.raises(RewardError, match=f"model '{CLIP}'"):
        ImageReward(**options).load("cpu", torch.float32)
    with pytest.raises(RewardError, match=f"model '{HEAD}'"):
        ImageReward(**options, tokenizer_revision="clip-v1").load("cpu", torch.float32)


def test_the_revision_of_published_weights_is_not_that_of_their_architecture(cache, monkeypatch):
    folder = make_clip(cache[CLIP].parent / "architecture")
    published = hpsv2.PICKLES[WEIGHTS]
    asked = []
    monkeypatch.setattr(hpsv2, "published_file", lambda *file: asked.append(file) or cache[WEIGHTS] / "weights.pt")
    monkeypatch.setitem(hpsv2.PICKLES, WEIGHTS, hpsv2.Pickle(published.file, CLIP, dict))
    torch.save({}, cache[WEIGHTS] / "weights.pt")
    (cache[CLIP].parents[1] / "refs" / "main").write_text(cache[CLIP].name)
    with pytest.raises(RewardError, match="its weights lack"):
        HpsV2(model=WEIGHTS, revision="weights-v1", processor=folder).load("cpu", torch.float32)
    assert asked == [(WEIGHTS, published.file, "weights-v1")]


def test_a_revision_of_no_processor_is_refused():
    with pytest.raises(RewardError, match="processor_revision belongs to processor"):
        ClipScore(model=CLIP, processor_revision="clip-v1")
