"""ImageReward on a tiny BLIP: the published names, and the score of the authors' code."""

import pytest
import torch
from torch import nn
from transformers import BertTokenizer, BlipTextConfig, BlipTextModel, BlipVisionConfig, BlipVisionModel

from fdfo.errors import RewardError
from fdfo.rewards.image_reward import ImageReward, as_transformers
from tests.rewards.tiny_clip import pictures

SIDE, WIDTH, SEEN = 16, 64, 128
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
PROMPTS = ["a b", "c", "d e f " * 30]


def mlp():
    layers = nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(0.2), nn.Linear(8, 4), nn.Dropout(0.1), nn.Linear(4, 1))
    return nn.ModuleDict({"layers": layers}).eval()


@pytest.fixture(scope="module")
def networks():
    torch.manual_seed(0)
    vision = BlipVisionConfig(
        hidden_size=SEEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=SIDE,
        patch_size=8,
        layer_norm_eps=1e-6,
        initializer_range=0.1,
    )
    text = BlipTextConfig(
        vocab_size=len(WORDS) + 2,
        hidden_size=WIDTH,
        encoder_hidden_size=SEEN,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=40,
        initializer_range=0.2,
    )
    return BlipVisionModel(vision).eval(), BlipTextModel(text, add_pooling_layer=False).eval(), mlp()


def published(networks):
    """The same weights as the authors name them, written down independently of the code under test."""
    vision, text, head = (network.state_dict() for network in networks)
    weights = {f"blip.text_encoder.{name}": value for name, value in text.items()}
    weights["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    weights |= {f"mlp.{name}": value for name, value in head.items()}
    weights |= {
        f"blip.{side}_proj.{kind}": torch.zeros(2, 2) for side in ("vision", "text") for kind in ("weight", "bias")
    }
    blip = "blip.visual_encoder."
    weights[blip + "cls_token"] = vision["embeddings.class_embedding"]
    weights[blip + "pos_embed"] = vision["embeddings.position_embedding"]
    for kind in ("weight", "bias"):
        weights[f"{blip}patch_embed.proj.{kind}"] = vision[f"embeddings.patch_embedding.{kind}"]
        weights[f"{blip}norm.{kind}"] = vision[f"post_layernorm.{kind}"]
        for i in range(2):
            new, old = f"encoder.layers.{i}", f"{blip}blocks.{i}"
            weights[f"{old}.norm1.{kind}"] = vision[f"{new}.layer_norm1.{kind}"]
            weights[f"{old}.norm2.{kind}"] = vision[f"{new}.layer_norm2.{kind}"]
            weights[f"{old}.attn.qkv.{kind}"] = vision[f"{new}.self_attn.qkv.{kind}"]
            weights[f"{old}.attn.proj.{kind}"] = vision[f"{new}.self_attn.projection.{kind}"]
            weights[f"{old}.mlp.fc1.{kind}"] = vision[f"{new}.mlp.fc1.{kind}"]
            weights[f"{old}.mlp.fc2.{kind}"] = vision[f"{new}.mlp.fc2.{kind}"]
    return weights


@pytest.fixture(scope="module")
def folder(networks, tmp_path_factory):
    folder = tmp_path_factory.mktemp("image-reward")
    torch.save(published(networks), folder / "ImageReward.pt")
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    return str(folder)


@pytest.fixture
def reward(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    reward = ImageReward(model=folder, tokenizer=folder, batch_size=2)
    reward.load("cpu", torch.float32)
    return reward


def test_score_is_that_of_the_authors_code(networks, folder, reward):
    """Steps of ImageReward.score, one image at a time."""
    vision, text, head = networks
    tokenizer = BertTokenizer.from_pretrained(folder)
    images = pictures(3, SIDE, SIDE)
    mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).view(3, 1, 1)
    std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).view(3, 1, 1)
    expected = []
    with torch.no_grad():
        for image, prompt in zip(images, PROMPTS, strict=True):
            seen = vision(pixel_values=((image - mean) / std)[None]).last_hidden_state
            tokens = tokenizer(prompt, padding="max_length", truncation=True, max_length=35, return_tensors="pt")
            output = text(
                tokens.input_ids,
                attention_mask=tokens.attention_mask,
                encoder_hidden_states=seen,
                encoder_attention_mask=torch.ones(seen.shape[:-1], dtype=torch.long),
            )
            score = head["layers"](output.last_hidden_state[:, 0]).item()
            expected.append((score - 0.16717362830052426) / 1.0333394966054072)
    actual = reward(images, PROMPTS, [{}] * 3)
    assert torch.tensor(expected).std() > 1e-3
    torch.testing.assert_close(actual, torch.tensor(expected), rtol=1e-4, atol=1e-5)


def test_company_does_not_matter(reward):
    images = pictures(3, 20, 30)
    whole = reward(images, PROMPTS, [{}] * 3)
    alone = torch.cat([reward(images[i : i + 1], PROMPTS[i : i + 1], [{}]) for i in range(3)])
    torch.testing.assert_close(whole, alone, rtol=1e-4, atol=1e-5)
    assert reward(images[:1], [""], [{}]).isfinite().all()


def test_gradient_is_the_derivative(reward):
    images = pictures(1, SIDE, SIDE).requires_grad_()
    reward(images, ["a b"], [{}]).sum().backward()
    step = 0.05 * images.grad / images.grad.norm()
    with torch.no_grad():
        ends = [reward(images + sign * step, ["a b"], [{}]) for sign in (1, -1)]
    assert ((ends[0] - ends[1]) / 0.1).item() == pytest.approx(images.grad.norm().item(), rel=2e-2)


@pytest.mark.parametrize("name", ["other.w", "blip.visual_encoder.head.w", "blip.visual_encoder.blocks.0.ls.w"])
def test_a_tensor_without_a_place_is_refused(name):
    with pytest.raises(ValueError, match="it has a tensor"):
        as_transformers({name: torch.zeros(1)})


def test_something_else_is_refused(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    torch.save({"mlp.layers.0.weight": torch.zeros(1)}, tmp_path / "ImageReward.pt")
    with pytest.raises(RewardError, match="it lacks the tensor 'embeddings"):
        ImageReward(model=str(tmp_path), tokenizer=folder).load("cpu", torch.float32)


def test_an_incomplete_checkpoint_is_refused(networks, folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = published(networks)
    del weights["blip.text_encoder.encoder.layer.1.output.dense.weight"]
    torch.save(weights, tmp_path / "ImageReward.pt")
    with pytest.raises(RewardError, match=r"'image-reward', model .*cannot be loaded: .*BlipTextModel"):
        ImageReward(model=str(tmp_path), tokenizer=folder).load("cpu", torch.float32)
