"""`when`: scores that are asked about some prompts only, in sums, pairs, gradients and messages."""

import pytest
import torch

from fdfo.config.load import reward_entries
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError, RewardError
from fdfo.records import Prompt
from fdfo.rewards import WeightedSum, build
from fdfo.rewards.when import fulfils

IMAGES = torch.rand(4, 3, 2, 2, generator=torch.Generator().manual_seed(1))
PROMPTS = ["a", "a", "b", "b"]
METADATA = [{"category": "text"}] * 2 + [{"category": "people"}] * 2
TEXT, PEOPLE = {"category": "text"}, {"category": ["people", "counting"]}
NAN = float("nan")


@pytest.fixture
def make(monkeypatch):
    """A weighted sum of functions by name, from entries."""

    def make(functions, *entries):
        monkeypatch.setattr(build, "find", lambda kind, name: functions[name])
        return WeightedSum([RewardConfig(**entry) for entry in entries])

    return make


def red(images, prompts, metadata):
    return images[:, 0].mean((1, 2))


def green(images, prompts, metadata):
    return images[:, 1].mean((1, 2))


@pytest.mark.parametrize(
    ("metadata", "condition", "expected"),
    [
        ({"category": "text"}, {"category": ["text"]}, True),
        ({"category": "text"}, {"category": ["people", "text"]}, True),
        ({"category": "people"}, {"category": ["text"]}, False),
        ({}, {"category": ["text"]}, False),
        ({"tags": ["text", "night"]}, {"tags": ["night"]}, True),
        ({"level": 3}, {"level": [3]}, True),
        ({"level": "3"}, {"level": [3]}, True),  # as a table of text has it
        ({"easy": True}, {"easy": [True]}, True),
        ({"category": "text", "level": 3}, {"category": ["text"], "level": [4]}, False),
    ],
)
def test_what_fulfils_a_condition(metadata, condition, expected):
    assert fulfils(metadata, condition) == expected


def test_a_score_sees_its_prompts_alone_and_sums_have_what_was_asked(make):
    seen = []

    def text(images, prompts, metadata):
        seen.append((list(prompts), list(metadata)))
        return red(images, prompts, metadata)

    reward = make(
        {"text": text, "all": green},
        {"name": "text", "when": TEXT, "weight": 2.0},
        {"name": "all", "weight": 0.5},
    )
    found = reward.components(IMAGES, PROMPTS, METADATA)
    assert seen == [(["a", "a"], METADATA[:2])]
    reds, greens = IMAGES[:, 0].mean((1, 2)).double(), IMAGES[:, 1].mean((1, 2)).double()
    torch.testing.assert_close(found["text"], torch.cat([reds[:2], torch.full((2,), NAN)]), equal_nan=True)
    expected = torch.cat([2 * reds[:2] + greens[:2] / 2, greens[2:] / 2])
    torch.testing.assert_close(reward.total(found, reward.applied(METADATA)), expected)
    torch.testing.assert_close(reward(IMAGES, PROMPTS, METADATA), expected)
    seen.clear()
    assert reward.components(IMAGES[2:], PROMPTS[2:], METADATA[2:])["text"].isnan().all()
    assert seen == []  # no call for no image


def test_a_failure_is_told_apart_and_a_prompt_without_any_score_has_none(make):
    def failing(images, prompts, metadata):
        return [NAN] + [1.0] * (len(images) - 1)

    reward = make(
        {"text": failing, "people": green}, {"name": "text", "when": TEXT}, {"name": "people", "when": PEOPLE}
    )
    metadata = [*METADATA[:3], {"category": "other"}]
    found = reward.components(IMAGES, PROMPTS, metadata)
    total = reward.total(found, reward.applied(metadata))
    assert total.isnan().tolist() == [True, False, False, True]
    assert reward.failures == {"text": "NaN"}


def test_standardised_by_the_images_that_it_was_asked_about(make):
    reward = make(
        {"text": red, "people": green},
        {"name": "text", "when": TEXT, "standardize": True},
        {"name": "people", "when": PEOPLE},
    )
    found = reward.components(IMAGES, PROMPTS, METADATA)
    reward.observe(found)
    own = IMAGES[:2, 0].mean((1, 2)).double()
    expected = torch.cat([(own - own.mean()) / own.std(correction=0), IMAGES[2:, 1].mean((1, 2)).double()])
    torch.testing.assert_close(reward.standardized_total(found, reward.applied(METADATA)), expected)


def test_the_gradient_reaches_the_images_that_were_asked_about(make):
    red.differentiable = green.differentiable = True
    reward = make({"text": red, "people": green}, {"name": "text", "when": TEXT}, {"name": "people", "when": PEOPLE})
    images = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(reward(images, PROMPTS, METADATA).sum(), images)
    by_channel = gradient.sum((2, 3))
    torch.testing.assert_close(by_channel, torch.tensor([[1.0, 0, 0]] * 2 + [[0, 1.0, 0]] * 2))


def test_pairs_of_the_prompts_alone(make):
    def prefer(first, second, prompts, metadata):
        asked.extend(prompts)
        return red(first, prompts, metadata) - red(second, prompts, metadata)

    asked = []
    prefer.pairwise = True
    reward = make({"pair": prefer, "all": green}, {"name": "pair", "when": PEOPLE}, {"name": "all"})
    found = reward.components(IMAGES, PROMPTS, METADATA, group_size=2, batch=2)
    half = float(red(IMAGES, 0, 0)[2] - red(IMAGES, 0, 0)[3]) / 2
    torch.testing.assert_close(found["pair"], torch.tensor([NAN, NAN, half, -half]).double(), equal_nan=True)
    assert set(asked) == {"b"}
    compared = reward.preferences(IMAGES[1::2], IMAGES[::2], PROMPTS[::2], METADATA[::2])
    torch.testing.assert_close(compared["pair"], torch.tensor([NAN, -2 * half]).double(), equal_nan=True)


def test_where_the_other_scores_say_nothing_a_pair_is_open(make):
    """`undecided_within` looks at the other scores that a prompt has."""

    def prefer(first, second, prompts, metadata):
        asked.extend(prompts)
        return torch.ones(len(first))

    asked = []
    prefer.pairwise, prefer.antisymmetric = True, True
    entries = {"name": "pair", "undecided_within": 0.001}, {"name": "text", "when": TEXT}
    reward = make({"pair": prefer, "text": red}, *entries)
    assert float((red(IMAGES, 0, 0)[0] - red(IMAGES, 0, 0)[1]).abs()) > 0.001
    found = reward.components(IMAGES, PROMPTS, METADATA, group_size=2)
    assert asked == ["b"]
    assert found["pair"].tolist() == [0.0, 0.0, 0.5, -0.5]


def test_lists_of_prompts_that_do_not_fit_are_told_with_the_way_out(make):
    prompts = [Prompt(text="write HELLO", metadata={"category": "text"}), Prompt(text="a crowd", metadata={})]
    entries = {"name": "text", "when": TEXT}, {"name": "people", "when": PEOPLE}
    both = make({"text": red, "people": green}, *entries).conditions
    assert both.problems(prompts, "training prompts") == [
        "reward 'people': when {category: ['people', 'counting']} fits none of the 2 training prompts, which have "
        "category text; correct it, or give prompts that it fits"
    ]
    one = make({"text": red}, {"name": "text", "when": TEXT}).conditions
    assert one.problems(prompts, "held-out prompts") == [
        "1 of the 2 held-out prompts fulfil no score's `when`, such as 'a crowd' with no field 'category'; "
        "widen one, add a score without `when`, or leave these prompts out"
    ]
    assert one.problems(prompts, "held-out prompts", all_scored=False) == []
    with_all = make({"text": red, "all": green}, {"name": "text", "when": TEXT}, {"name": "all"}).conditions
    assert with_all.problems(prompts, "prompts") == []


def test_conditions_as_they_are_written():
    written = [{"name": "jpeg", "when": {"category": "text", "level": [1, 2]}}]
    assert reward_entries(written, "test")[0].when == {"category": ["text"], "level": [1, 2]}
    for wrong in ("text", {}, {"category": []}, {"category": {"a": 1}}, {"category": None}):
        with pytest.raises(
            ConfigError, match=r"when: expected fields of a prompt's metadata.*such as \{category: text"
        ):
            reward_entries([{"name": "jpeg", "when": wrong}], "test")
    with pytest.raises(RewardError, match="'human': people see all pairs of an epoch; remove when"):
        WeightedSum(reward_entries([{"name": "human", "when": TEXT}], "test"))
