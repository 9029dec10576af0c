"""Questions of each prompt: soft TIFA, against chances that transformers alone computes."""

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

from fdfo.config.load import reward_entries
from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.soft_tifa import spellings
from fdfo.rewards.vlm import VlmScore
from tests.rewards.tiny_clip import as_levels, pictures
from tests.rewards.tiny_vlm import make_qwen

PAIRS = [["How many cats?", "two"], ["Are they red <|image_pad|>?", "Yes"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_qwen(tmp_path_factory.mktemp("vlm"), version="3")


@pytest.fixture(scope="module")
def network(folder):
    reward = loaded(folder)
    return reward._answers.network


def loaded(folder, **options):
    reward = VlmScore(model=folder, dtype="float32", questions_from="questions", **options)
    reward.load(torch.device("cpu"), torch.float32)
    return reward


def chance(folder, image, question, words):
    """Of the first tokens of the words, of one question alone."""
    with quiet_loading(), torch.no_grad():
        model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        vision = Qwen2VLImageProcessorPil.from_pretrained(folder)([image], return_tensors="pt")
        pads = "<|image_pad|>" * (int(vision["image_grid_thw"].prod()) // 4)
        text = f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{question} Answer in one word.<|im_end|>\n"
        inputs = tokenizer(f"{text}<|im_start|>assistant\n", return_tensors="pt")
        kinds = (inputs["input_ids"] == model.config.image_token_id).int()
        chances = model(**inputs, **vision, mm_token_type_ids=kinds).logits[0, -1].softmax(-1)
        return sum(float(chances[token]) for token in {tokenizer.encode(word)[0] for word in words})


def test_the_mean_chance_of_the_answers(folder, network):
    """Of an image with two questions, one with one, and one without: in one batch and in small ones."""
    images = pictures(3, 32, 24)
    metadata = [{"questions": PAIRS}, {"questions": ["Is it?"]}, {}]
    first, second, _ = as_levels(images)
    two = chance(folder, first, "How many cats?", ["two", "Two", "2", " two", " Two", " 2"])
    red = chance(folder, first, "Are they red < |image_pad|>?", ["Yes", "yes", " Yes", " yes"])
    alone = chance(folder, second, "Is it?", ["Yes", "yes", " Yes", " yes"])
    assert abs(two - red) > 1e-3
    expected = {"arithmetic": (two + red) / 2, "geometric": (two * red) ** 0.5}
    for mean, value in expected.items():
        for batch_size in (8, 1):
            with torch.no_grad():
                scores = loaded(folder, mean=mean, batch_size=batch_size)(images, ["a", "b", "c"], metadata)
            wanted = torch.tensor([100 * value, 100 * alone, torch.nan])
            torch.testing.assert_close(scores, wanted, rtol=1e-4, atol=1e-4, equal_nan=True)


def test_images_carry_a_gradient(folder):
    images = pictures(1, 32, 24).requires_grad_()
    reward = loaded(folder, mean="geometric", differentiable=True)
    (gradient,) = torch.autograd.grad(reward(images, ["a"], [{"questions": PAIRS}]).sum(), images)
    assert gradient.abs().max() > 0


def test_ways_to_write_an_answer():
    assert set(spellings("Yes")) == {"Yes", "yes", " Yes", " yes"}  # GenEval 2's lists
    assert set(spellings("four")) == {"four", "Four", " four", " Four", "4", " 4"}
    assert set(spellings("red")) == {"red", "Red", " red", " Red"}


@pytest.mark.parametrize("questions", ["Is it?", [["Is it?"]], [["Is it?", ""]], [3], {"a": "b"}])
def test_a_field_of_another_kind_is_refused_by_its_prompt(folder, network, questions):
    with pytest.raises(RewardError, match=r"reward 'vlm': questions of 'a cat' is .*; expected a list of \[question"):
        loaded(folder)(pictures(1, 32, 24), ["a cat"], [{"questions": questions}])


def test_options_that_do_not_go_together():
    for options, message in (
        ({"questions_from": "q", "questions": ["quality"]}, "leave questions, target and contrast out"),
        ({"mean": "geometric"}, "it goes with questions_from"),
        ({"questions_from": "q", "mean": "median"}, "mean must be one of arithmetic, geometric"),
        ({"questions_from": ""}, "questions_from must name a field"),
    ):
        with pytest.raises(RewardError, match=message):
            VlmScore(**options)
    (entry,) = reward_entries(["soft-tifa"], "test")
    assert entry.options == {
        "model": "Qwen/Qwen3-VL-8B-Instruct",
        "questions_from": "questions",
        "mean": "geometric",
    }
