"""Captions, their meaning and their splits."""

from hashlib import blake2b
from itertools import combinations

import pytest

from fdfo.errors import ConfigError, PromptError
from fdfo.shapes import captions, category, interleaved, parse, split_of
from fdfo.shapes.grammar import caption, specs
from fdfo.shapes.scene import CATEGORIES, Spec, Wish
from fdfo.shapes.splits import HELD_OUT_CAPTIONS, SPLITS, combination

ALL_SPECS = [spec for name in CATEGORIES for spec in specs(name)]


def test_every_caption_parses_back_to_its_spec():
    texts = [caption(spec) for spec in ALL_SPECS]
    assert len(set(texts)) == len(texts)
    assert [parse(text) for text in texts] == ALL_SPECS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "a small cross at the top left",
            Spec(category="single", wishes=(Wish(shape="cross", size="small", place="at the top left"),)),
        ),
        ("three crosses", Spec(category="counting", wishes=(Wish(shape="cross"),) * 3)),
        ("An  ORANGE circle.", Spec(category="colors", wishes=(Wish(shape="circle", color="orange"),))),
        (
            "a red circle above an orange square",
            Spec(
                category="position",
                wishes=(Wish(shape="circle", color="red"), Wish(shape="square", color="orange")),
                relation="above",
            ),
        ),
    ],
)
def test_parse_understands(text, expected):
    assert parse(text) == expected


@pytest.mark.parametrize("text", ["", "a photo of a dog", "five circles", "a red circle and a red square", "circle"])
def test_text_outside_the_grammar_is_refused_and_has_no_category(text):
    with pytest.raises(PromptError, match="not a caption of the shapes world"):
        parse(text)
    assert category(text) is None
    assert split_of(text) is None


def test_splits_are_disjoint_and_large_enough():
    for name in CATEGORIES:
        texts = {split: {item.text for item in captions(split, name)} for split in SPLITS}
        assert all(not texts[a] & texts[b] for a, b in combinations(SPLITS, 2))
        assert len(texts["validation"]) == len(texts["test"]) == HELD_OUT_CAPTIONS
        assert len(texts["train"]) >= 2 * HELD_OUT_CAPTIONS
        assert all(category(text) == name for text in set.union(*texts.values()))


def test_combinations_stay_together():
    seen = {split: {combination(parse(item.text)) for item in captions(split)} for split in SPLITS}
    assert all(not seen[a] & seen[b] for a, b in combinations(SPLITS, 2))


def test_both_orders_and_both_categories_of_a_pair_share_a_split():
    for item in captions("test", "attribute"):
        first, second = item.text.split(" and ")
        assert split_of(f"{second} and {first}") == "test"
        for relation in ("left of", "right of", "above", "below"):
            assert split_of(f"{first} {relation} {second}") in ("test", None)


def test_held_out_relations_come_said_both_ways():
    flipped = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
    for split in ("validation", "test"):
        for item in captions(split, "position"):
            spec = parse(item.text)
            other = Spec(category="position", wishes=spec.wishes[::-1], relation=flipped[spec.relation or ""])
            assert split_of(caption(other)) == split


def test_splits_never_change():
    """Recorded when the shipped models were trained; another list would leak test captions into training."""
    lists = {split: "\n".join(item.text for item in captions(split)) for split in SPLITS}
    digests = {split: blake2b(text.encode(), digest_size=8).hexdigest() for split, text in lists.items()}
    assert digests == {
        "train": "8b31bccd16d92a4f",
        "validation": "7248690359eadbda",
        "test": "514591ebf80167f4",
    }


def test_interleaved_takes_the_categories_in_turn_and_repeats():
    items = interleaved("validation", 2 * len(CATEGORIES) * HELD_OUT_CAPTIONS)
    assert [item.category for item in items[:7]] == [*CATEGORIES, CATEGORIES[0]]
    half = len(items) // 2
    assert items[:half] == items[half:]
    assert {item.text for item in items} == {item.text for item in captions("validation")}


def test_unknown_names_are_reported_together():
    with pytest.raises(ConfigError, match=r"(?s)2 problems.*'vaildation'.*'validation'.*'colour'.*'colors'"):
        captions("vaildation", "colour")
