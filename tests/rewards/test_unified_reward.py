"""UnifiedReward: what a tiny Qwen2.5-VL writes is the likeliest text, and marks are read from the authors' examples."""

import math

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer, Qwen2VLImageProcessorPil

from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.unified_reward import (
    DIMENSIONS,
    PAIR_QUESTION,
    POINT_QUESTION,
    UnifiedReward,
    UnifiedRewardPair,
    pair_preference,
    point_score,
)
from fdfo.rewards.unified_reward_1 import PAIR_QUESTION as PAIR_QUESTION_1
from fdfo.rewards.unified_reward_1 import POINT_QUESTION as POINT_QUESTION_1
from fdfo.rewards.unified_reward_1 import UnifiedReward1, UnifiedReward1Pair, conclusion, final_score
from tests.rewards.tiny_clip import as_levels, pictures
from tests.rewards.tiny_vlm import make_qwen

POINT = """Alignment Score (1-5): 2.694700002670288
Coherence Score (1-5): 2.371500015258789
Style Score (1-5): 2.802500009536743
"""
PAIR = """Alignment Score:
 Image 1: 0.435699999332428
 Image 2: 0.564300000667572

Coherence Score:
 Image 1: 0.4180000126361847
 Image 2: 0.5820000171661377

Style Score:
 Image 1: 0.40790000557899475
 Image 2: 0.5921000242233276
"""
"""The authors' example outputs."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_qwen(tmp_path_factory.mktemp("vlm"))


def loaded(cls, folder, **options):
    reward = cls(model=folder, dtype="float32", **options)
    reward.load(torch.device("cpu"), torch.float32)
    return reward


def likeliest(folder, images, question, length):
    """Token by token, each from the whole text again, of one conversation."""
    with quiet_loading(), torch.no_grad():
        model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        vision = Qwen2VLImageProcessorPil.from_pretrained(folder)(images, return_tensors="pt")
        pads = "<|image_pad|>" * (int(vision["image_grid_thw"][0].prod()) // 4)
        shown = f"<|vision_start|>{pads}<|vision_end|>" * len(images)
        text = f"<|im_start|>user\n{shown}{question}<|im_end|>\n<|im_start|>assistant\n"
        tokens = tokenizer(text, return_tensors="pt").input_ids
        start = tokens.shape[1]
        for _ in range(length):
            kinds = (tokens == model.config.image_token_id).int()
            logits = model(input_ids=tokens, **vision, mm_token_type_ids=kinds).logits[0, -1]
            tokens = torch.cat([tokens, logits.argmax().reshape(1, 1)], 1)
        return tokenizer.decode(tokens[0, start:], skip_special_tokens=True)


def test_it_writes_the_likeliest_text(folder):
    """In a batch of texts of different lengths, and of two images."""
    images = pictures(4, 32, 24)
    first, second, third, fourth = as_levels(images)
    network = loaded(UnifiedReward, folder).network
    written = network.answers(images[:2], [network.render(text) for text in ("a", "a longer one")], 3)
    assert written == [likeliest(folder, [first], "a", 3), likeliest(folder, [second], "a longer one", 3)]
    assert written[0] != written[1]
    assert network.answers(images[2:], [network.render("two", 2)], 3) == [likeliest(folder, [third, fourth], "two", 3)]


def test_marks_of_an_image(folder, monkeypatch):
    """The question names the prompt, with special tokens broken; failures are NaN; small batches give the same."""
    reward = loaded(UnifiedReward, folder, batch_size=2)
    asked = []

    def answers(images, texts, most_tokens):
        asked.extend(texts)
        return [POINT if "good" in text else "I cannot tell." for text in texts]

    monkeypatch.setattr(reward.network, "answers", answers)
    scores = reward(pictures(3, 32, 24), ["good", "<|im_end|> bad", "good"], [{}] * 3)
    mean = (2.694700002670288 + 2.371500015258789 + 2.802500009536743) / 3
    torch.testing.assert_close(scores, torch.tensor([mean, math.nan, mean]), equal_nan=True)
    assert asked[1].endswith("Text Caption: [< |im_end|> bad]<|im_end|>\n<|im_start|>assistant\n")
    assert asked[0].count("<|image_pad|>") == 1


def test_preferences_between_two_images(folder, monkeypatch):
    reward = loaded(UnifiedRewardPair, folder, dimensions="style")
    asked = []
    monkeypatch.setattr(reward.network, "answers", lambda images, texts, most: asked.append((images, texts)) or [PAIR])
    one, other = pictures(2, 32, 24).split(1)
    scores = reward(one, other, ["a cat"], [{}])
    torch.testing.assert_close(scores, torch.tensor([0.40790000557899475 - 0.5921000242233276]))
    ((images, texts),) = asked
    assert torch.equal(images, torch.cat([one, other]))
    assert texts[0].count("<|image_pad|>") == 2
    assert reward.pairwise and not reward.differentiable


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("Alignment Score: 4", 4.0),
        ("**alignment score (1-5):** 4", math.nan),
        ("Alignment Score (1-5): 4.5, fine", 4.5),
        ("Alignment Score (1-5): 7", math.nan),
        ("Alignment Score (1-5): X", math.nan),
        ("", math.nan),
    ],
)
def test_a_mark_that_is_not_there_or_out_of_range_is_a_failure(answer, expected):
    assert point_score(answer, ["alignment"]) == pytest.approx(expected, nan_ok=True)


def test_marks_of_a_pair():
    gaps = (0.435699999332428 - 0.564300000667572, 0.4180000126361847 - 0.5820000171661377)
    assert pair_preference(PAIR, ["alignment", "coherence"]) == pytest.approx(sum(gaps) / 2)
    assert math.isnan(pair_preference(PAIR.replace("0.4180000126361847", "1.4"), DIMENSIONS))
    assert math.isnan(pair_preference(PAIR[:60], DIMENSIONS))


def test_questions_and_options():
    for question, form in ((POINT_QUESTION, POINT), (PAIR_QUESTION, PAIR)):
        lines = [line.split(":")[0] for line in form.strip().splitlines() if line.strip()]
        assert [line for line in lines if f"{line}:" not in question] == []  # it asks for the form of the examples
        assert question.endswith("Text Caption: [{prompt}]")
    with pytest.raises(RewardError, match=r"'unified-reward': dimensions must be some of alignment.*; dtype must be"):
        UnifiedReward(dimensions=["beauty"], dtype="int8")


MARKED = "cat (animal): 1\nhat (object): 0\nFinal Score: 3.5"
"""An answer in the form that the question of version 1.0 asks for."""


def test_version_1_ends_in_one_mark(folder, monkeypatch):
    reward, asked = loaded(UnifiedReward1, folder), []

    def answers(images, texts, most_tokens):
        asked.append((len(images), most_tokens))
        return [MARKED if "a cat" in text else "Image quality is fine." for text in texts]

    monkeypatch.setattr(reward.network, "answers", answers)
    scores = reward(pictures(2, 32, 24), ["a cat", "a dog"], [{}] * 2)
    torch.testing.assert_close(scores, torch.tensor([3.5, math.nan]), equal_nan=True)
    assert asked == [(2, 512)]  # the authors' longest answer


def test_version_1_names_the_better_of_two(folder, monkeypatch):
    reward, asked = loaded(UnifiedReward1Pair, folder), []
    monkeypatch.setattr(
        reward.network, "answers", lambda images, texts, most: asked.append((images, texts)) or ["Image 2 is better."]
    )
    one, other = pictures(2, 32, 24).split(1)
    torch.testing.assert_close(reward(one, other, ["a cat"], [{}]), torch.tensor([-1.0]))
    ((images, texts),) = asked
    assert torch.equal(images, torch.cat([one, other])) and texts[0].count("<|image_pad|>") == 2


@pytest.mark.parametrize(
    ("answer", "mark", "better"),
    [
        (MARKED, 3.5, math.nan),
        ("Final Score: 2. On reflection, final score: 4", 4.0, math.nan),
        ("Final Score: 6", math.nan, math.nan),
        ("Image 1 is better than most; yet both images are equally good.", math.nan, 0.0),
        ("IMAGE 1 IS BETTER.", math.nan, 1.0),
        ("", math.nan, math.nan),
    ],
)
def test_what_version_1_concludes(answer, mark, better):
    assert final_score(answer) == pytest.approx(mark, nan_ok=True)
    assert conclusion(answer) == pytest.approx(better, nan_ok=True)


def test_questions_of_version_1():
    """They ask for the words that are read from the answers."""
    assert "'Final Score:'" in POINT_QUESTION_1
    assert [conclusion(part) for part in PAIR_QUESTION_1.split('"')[1::2]] == [1.0, -1.0, 0.0]
    for question in (POINT_QUESTION_1, PAIR_QUESTION_1):
        assert question.endswith("Text Caption: [{prompt}]")
