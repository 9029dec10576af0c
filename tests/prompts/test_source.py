"""Which prompts an epoch gets, and even selections."""

from collections import Counter

import pytest

from fdfo.errors import PromptError
from fdfo.prompts import ListSource, evenly_spread
from fdfo.records import Prompt


def prompts(count):
    return [Prompt(text=f"p{i}", metadata={"i": i}, number=i) for i in range(count)]


def texts(chosen):
    return [prompt.text for prompt in chosen]


@pytest.mark.parametrize(("size", "count"), [(7, 3), (7, 7), (7, 20), (1, 4), (5, 1)])
def test_every_prompt_is_used_once_before_any_is_used_twice(size, count):
    source = ListSource(prompts(size), seed=3)
    assert len(source) == size
    sequence = [text for epoch in range(size) for text in texts(source.take(epoch, count))]
    assert len(sequence) == size * count
    for start in range(0, len(sequence), size):
        assert sorted(sequence[start : start + size]) == sorted(texts(prompts(size)))


def test_numbers_start_at_zero_and_metadata_stays():
    taken = ListSource(prompts(5), seed=0).take(2, 8)
    assert [prompt.number for prompt in taken] == list(range(8))
    assert all(prompt.text == f"p{prompt.metadata['i']}" for prompt in taken)


def test_epochs_depend_on_seed_and_epoch_alone():
    source = ListSource(prompts(30), seed=1)
    late = source.take(5, 12)
    source.take(0, 12)
    assert source.take(5, 12) == late == ListSource(prompts(30), seed=1).take(5, 12)
    assert ListSource(prompts(30), seed=2).take(5, 12) != late


def test_shuffles_differ_and_are_shuffled():
    source = ListSource(prompts(30), seed=1)
    orders = [tuple(texts(source.take(epoch, 30))) for epoch in range(4)]
    assert len({*orders, tuple(texts(prompts(30)))}) == 5


def test_first_place_is_uniform():
    counts = Counter(ListSource(prompts(4), seed=seed).take(0, 1)[0].text for seed in range(400))
    assert all(60 < counts[f"p{i}"] < 140 for i in range(4))  # 100 +- 4.6 standard deviations of 8.7


def test_empty_list_is_refused():
    with pytest.raises(PromptError, match="at least one"):
        ListSource([], seed=0)


@pytest.mark.parametrize(("size", "count"), [(10, 3), (144, 48), (100, 99), (7, 7), (5, 1)])
def test_even_spread_keeps_order_and_distance(size, count):
    chosen = evenly_spread(prompts(size), count)
    rows = [prompt.metadata["i"] for prompt in chosen]
    assert len(rows) == count
    assert [prompt.number for prompt in chosen] == list(range(count))
    steps = {b - a for a, b in zip(rows, [*rows[1:], size + rows[0]], strict=True)}
    assert steps <= {size // count, -(-size // count)}


def test_even_spread_of_too_few_prompts_is_all_of_them():
    assert texts(evenly_spread(prompts(3), 10)) == ["p0", "p1", "p2"]
    assert evenly_spread([], 10) == []
