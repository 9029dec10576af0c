"""`hpsv3` on a tiny Qwen2-VL with a head: equal to the authors' forward, written down again from its description."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import linear
from transformers import AutoTokenizer, Qwen2VLForConditionalGeneration, Qwen2VLImageProcessorPil

from fdfo.errors import RewardError
from fdfo.rewards import hpsv3
from fdfo.rewards.hpsv3 import QUESTION, HpsV3
from tests.rewards.tiny_vlm import PATCH, make_qwen

BLOCKS = 12
"""Of the images here, in place of 256."""
PROMPTS = ["a red cat", "<|Reward|> {prompt} <|image_pad|>, much longer than the other one"]


@pytest.fixture(scope="module", autouse=True)
def small_images():
    assert hpsv3.BLOCKS * 28 * 28 == 200704  # the authors' min_pixels and max_pixels, for blocks of 28 x 28
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hpsv3, "BLOCKS", BLOCKS)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> str:
    return make_qwen(tmp_path_factory.mktemp("base"), version="2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, base) -> Path:
    """A file as the authors' trainer writes it: all layers, one more token, the head; weights unlike the base's."""
    torch.manual_seed(1)
    network = Qwen2VLForConditionalGeneration.from_pretrained(base)
    network.resize_token_embeddings(len(AutoTokenizer.from_pretrained(base)) + 1, mean_resizing=False)
    weights = {name: tensor * 1.1 for name, tensor in network.state_dict().items()}
    for layer, (out, wide) in {0: (1024, 32), 3: (16, 1024), 5: (2, 16)}.items():
        weights[f"rm_head.{layer}.weight"] = torch.randn(out, wide) / wide**0.5
        weights[f"rm_head.{layer}.bias"] = torch.randn(out)
    for pattern, name in ((r"^model\.visual\.", "visual."), (r"^model\.language_model\.", "model.")):  # before 4.52
        weights = {re.sub(pattern, name, key): tensor for key, tensor in weights.items()}
    folder = tmp_path_factory.mktemp("weights")
    save_file({key: tensor.clone() for key, tensor in weights.items()}, folder / "HPSv3.safetensors")
    return folder


def since_4_52(weights):
    """The same under the names of newer transformers."""
    names = {re.sub(r"^model\.", "model.language_model.", key): tensor for key, tensor in weights.items()}
    return {re.sub(r"^visual\.", "model.visual.", key): tensor for key, tensor in names.items()}


def loaded(folder, base, **options) -> HpsV3:
    reward = HpsV3(model=str(folder), base=base, dtype="float32", **options)
    reward.load(torch.device("cpu"), torch.float32)
    return reward


@pytest.fixture(scope="module")
def reward(folder, base) -> HpsV3:
    return loaded(folder, base)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    levels = torch.randint(0, 256, (2, 3, 96, 64), generator=torch.Generator().manual_seed(0))
    return levels / 255


def by_the_authors(folder: Path, base: str, image: torch.Tensor, prompt: str) -> float:
    """One image alone: all tokens in one row, the head at the reward token, its first number."""
    weights = load_file(folder / "HPSv3.safetensors")
    network = Qwen2VLForConditionalGeneration.from_pretrained(base)
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.add_tokens(["<|Reward|>"], special_tokens=True)
    network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    own = {key: tensor for key, tensor in since_4_52(weights).items() if not key.startswith("rm_head.")}
    network.load_state_dict(own)

    side = 2 * PATCH
    size = {"shortest_edge": BLOCKS * side**2, "longest_edge": BLOCKS * side**2}
    processor = Qwen2VLImageProcessorPil(size=size, patch_size=PATCH, merge_size=2)
    picture = (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    seen = processor(images=[np.ascontiguousarray(picture)], return_tensors="pt")
    blocks = int(seen["image_grid_thw"].prod()) // 4
    safe = prompt.replace("<|Reward|>", "< |Reward|>").replace("<|image_pad|>", "< |image_pad|>")
    text = (
        "<|im_start|>user\n<|vision_start|>" + "<|image_pad|>" * blocks + "<|vision_end|>"
        f"{QUESTION.replace('{prompt}', safe)}<|im_end|>\n<|im_start|>assistant\n"
    )
    tokens = tokenizer(text, return_tensors="pt").input_ids
    with torch.no_grad():
        embedded = network.get_input_embeddings()(tokens)
        image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        features = network.model.visual(seen["pixel_values"], grid_thw=seen["image_grid_thw"]).pooler_output
        embedded[tokens == image_token] = features
        hidden = network.model.language_model(inputs_embeds=embedded).last_hidden_state[0]
        (place,) = (tokens[0] == tokenizer.convert_tokens_to_ids("<|Reward|>")).nonzero()[:, 0]
        state = hidden[place]
        for layer in (0, 3):
            state = linear(state, weights[f"rm_head.{layer}.weight"], weights[f"rm_head.{layer}.bias"]).relu()
        return float(linear(state, weights["rm_head.5.weight"], weights["rm_head.5.bias"])[0])


def test_it_is_the_authors_score(reward, folder, base, images):
    """Also in a batch with a longer text, and for a prompt that names the tokens that are read."""
    scores = reward(images, PROMPTS, [{}, {}])
    expected = [by_the_authors(folder, base, image, prompt) for image, prompt in zip(images, PROMPTS, strict=True)]
    assert abs(expected[0] - expected[1]) > 0.01
    torch.testing.assert_close(scores, torch.tensor(expected), rtol=1e-3, atol=1e-3)  # the image is rounded there


def test_the_images_carry_a_gradient_and_matter(reward, images):
    tracked = images[:1].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(tracked, PROMPTS[:1], [{}]).sum(), tracked)
    assert gradient.isfinite().all()
    assert gradient.abs().max() > 0
    assert reward.differentiable


def test_both_layouts_of_names_and_any_batch_give_the_same(reward, folder, base, images, tmp_path):
    save_file(since_4_52(load_file(folder / "HPSv3.safetensors")), tmp_path / "HPSv3.safetensors")
    other = loaded(tmp_path, base, batch_size=1)
    torch.testing.assert_close(
        other(images, PROMPTS, [{}] * 2), reward(images, PROMPTS, [{}] * 2), rtol=1e-4, atol=1e-4
    )
    assert [type(network).__name__ for network in other.networks] == ["_Rater"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda w: w.pop("model.norm.weight"), r"its weights lack language_model\.norm\.weight"),
        (lambda w: [w.pop(key) for key in list(w) if key.startswith("rm_head")], "holds no Qwen2-VL with a head"),
        (lambda w: w.update({"model.embed_tokens.weight": w["model.embed_tokens.weight"][:-1]}), "it knows 267 tokens"),
        (lambda w: w.update({"rm_head.5.weight": w["rm_head.5.weight"][:1]}), "'5.weight': .1, 16.*; expected"),
    ],
)
def test_weights_of_something_else_are_told(folder, base, tmp_path, spoil, message):
    weights = load_file(folder / "HPSv3.safetensors")
    spoil(weights)
    save_file(weights, tmp_path / "HPSv3.safetensors")
    with pytest.raises(RewardError, match=f"reward 'hpsv3', model '{tmp_path}': .*{message}"):
        loaded(tmp_path, base)


def test_unusable_options(tmp_path):
    with pytest.raises(RewardError, match=r"batch_size must be .*; dtype must be .*; file must be in safetensors"):
        HpsV3(batch_size=0, dtype="int8", file="HPSv3.pt")
    other = make_qwen(tmp_path, version="2.5")
    with pytest.raises(RewardError, match="is a 'qwen2_5_vl' model; the base of this reward is a 'qwen2_vl' model"):
        loaded(tmp_path, other)


def test_the_question_keeps_the_authors_spaces():
    """Lines with trailing spaces, which an editor may strip; on them the network was trained."""
    assert [line for line in QUESTION.split("\n") if line.endswith(" ")] == [
        line for line in QUESTION.split("\n") if line.startswith(("You are", "**", "- **Safety"))
    ]
    assert QUESTION.startswith("\nYou are tasked")
    assert QUESTION.endswith("{prompt}\n\n\n\nPlease provide the overall ratings of this image: <|Reward|>\n\nEND\n")
