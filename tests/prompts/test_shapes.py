"""The shapes world's captions as prompt lists."""

from collections import Counter

import pytest

from fdfo.prompts import evenly_spread, load_prompts
from fdfo.shapes.scene import CATEGORIES
from fdfo.shapes.splits import captions


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_lists_hold_all_captions_of_their_split_and_no_others(split):
    prompts = load_prompts(None, f"shapes-{split}")
    expected = {(caption.text, caption.category) for caption in captions(split)}
    assert {(prompt.text, prompt.metadata["category"]) for prompt in prompts} == expected
    assert [prompt.number for prompt in prompts] == list(range(len(prompts)))


@pytest.mark.parametrize("split", ["train", "validation", "test"])
@pytest.mark.parametrize("count", [6, 12, 24, 36, 48, 72, 96, 120])
def test_even_selections_of_any_size_are_balanced(split, count):
    chosen = evenly_spread(load_prompts(None, f"shapes-{split}"), count)
    assert Counter(prompt.metadata["category"] for prompt in chosen) == dict.fromkeys(CATEGORIES, count // 6)


def test_small_categories_repeat_evenly():
    counts = Counter(
        prompt.text for prompt in load_prompts(None, "shapes-train") if prompt.metadata["category"] == "two"
    )
    assert max(counts.values()) - min(counts.values()) <= 1


def test_evaluation_captions_are_distinct():
    for split in ("validation", "test"):
        texts = [prompt.text for prompt in load_prompts(None, f"shapes-{split}")]
        assert len(texts) == len(set(texts))
