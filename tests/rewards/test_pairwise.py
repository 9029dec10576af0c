"""Preferences between two images, as scores of each."""

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError, RewardError
from fdfo.rewards import WeightedSum, build
from fdfo.rewards.human import Human
from fdfo.rewards.pairwise import group_scores

NAN = float("nan")


def pictures(values):
    """Images [B, 3, 2, 2] of one grey each."""
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2).clone()


def brighter(first, second, prompts, metadata, *, bias=0.0):
    """How much brighter the first is, with a liking for the first place."""
    return (first - second).mean((1, 2, 3)) + bias


brighter.pairwise = True


@pytest.fixture
def make(monkeypatch):
    def make(function, **options):
        monkeypatch.setattr(build, "find", lambda kind, name: function)
        return WeightedSum([RewardConfig(name="better", **options)])

    return make


@pytest.mark.parametrize("group_size", [2, 3, 5])
def test_consistent_preferences_give_scores_with_these_differences(group_size):
    values = torch.rand(4, group_size, generator=torch.Generator().manual_seed(1))
    scores = group_scores(brighter, pictures(values.flatten().tolist()), ["p"] * values.numel(), [{}] * 99, group_size)
    torch.testing.assert_close(scores.view_as(values), values - values.mean(1, keepdim=True))


def test_scores_are_the_least_squares_fit_of_cyclic_preferences():
    table = torch.tensor([[0.0, 2.0, -1.0], [-2.0, 0.0, 3.0], [1.0, -3.0, 0.0]])  # rock, paper, scissors and a bit

    def judge(first, second, prompts, metadata):
        return table[first[:, 0, 0, 0].long(), second[:, 0, 0, 0].long()]

    scores = group_scores(judge, pictures([0.0, 1.0, 2.0]), ["p"] * 3, [{}] * 3, 3)
    rows = [(i, j) for i in range(3) for j in range(3) if i < j]
    design = torch.zeros(4, 3)
    for row, (i, j) in enumerate(rows):
        design[row, i], design[row, j] = 1, -1
    design[3] = 1  # scores sum to zero
    wanted = torch.tensor([*(table[i, j] for i, j in rows), 0.0])
    torch.testing.assert_close(scores, torch.linalg.lstsq(design, wanted.unsqueeze(1)).solution.squeeze(1))


def test_a_liking_for_the_first_place_cancels(make):
    images = pictures([0.2, 0.6, 0.9, 0.4])
    for bias in (0.0, 100.0):
        scores = make(brighter, bias=bias).components(images, ["p", "p", "q", "q"], [{}] * 4, group_size=2)["better"]
        expected = torch.tensor([-0.2, 0.2, 0.25, -0.25]).double()
        torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_every_pair_comes_with_its_prompt_and_metadata(make):
    seen = []

    def judge(first, second, prompts, metadata):
        seen.append((first[:, 0, 0, 0].tolist(), second[:, 0, 0, 0].tolist(), prompts, metadata))
        return torch.zeros(len(first))

    judge.pairwise = True
    metadata = [{"n": 0}] * 3 + [{"n": 1}] * 3
    make(judge).components(pictures([0.0, 1, 2, 3, 4, 5]), ["p"] * 3 + ["q"] * 3, metadata, group_size=3)
    first, second, prompts, described = seen[0]
    assert list(zip(first, second, prompts, [entry["n"] for entry in described], strict=True)) == [
        (0, 1, "p", 0), (0, 2, "p", 0), (1, 2, "p", 0), (3, 4, "q", 1), (3, 5, "q", 1), (4, 5, "q", 1)
    ]  # fmt: skip
    assert seen[1][:2] == (second, first)


@pytest.mark.parametrize(
    ("antisymmetric", "option", "calls"), [(False, None, 2), (True, None, 1), (True, True, 2), (False, False, 1)]
)
def test_it_is_asked_twice_unless_the_order_cannot_matter(make, antisymmetric, option, calls):
    asked = []

    def judge(first, second, prompts, metadata):
        asked.append(len(first))
        return (first - second).mean((1, 2, 3))

    judge.pairwise, judge.antisymmetric = True, antisymmetric
    images = pictures([0.2, 0.6, 0.9, 0.4])
    scores = make(judge, both_orders=option).components(images, ["p"] * 4, [{}] * 4, group_size=2)["better"]
    torch.testing.assert_close(scores, torch.tensor([-0.2, 0.2, 0.25, -0.25]).double(), rtol=1e-4, atol=1e-6)
    assert asked == [2] * calls


def test_images_are_compared_with_others_of_their_prompts(make):
    seen = []

    def judge(first, second, prompts, metadata):
        seen.extend(zip(prompts, metadata, strict=True))
        return (first - second).mean((1, 2, 3))

    judge.pairwise = True
    first, second = pictures([0.2, 0.6, 0.9]), pictures([0.1, 0.7, 0.9])
    found = make(judge).preferences(first, second, ["p", "q", "r"], [{"n": n} for n in range(3)], batch=2)
    torch.testing.assert_close(found, {"better": torch.tensor([0.1, -0.1, 0.0]).double()}, rtol=1e-4, atol=1e-6)
    assert seen[0] == seen[1] == ("p", {"n": 0}) and seen[-1] == ("r", {"n": 2})


def test_both_orders_is_for_pairs():
    with pytest.raises(RewardError, match="both_orders is for scores that compare two images"):
        WeightedSum([RewardConfig(name="jpeg", both_orders=True)])


def test_an_image_alone_has_nothing_to_be_compared_with(make):
    rewards = make(brighter)
    assert rewards.pairwise == ["better"]
    assert rewards(pictures([0.1, 0.9]), ["p", "q"], [{}] * 2).tolist() == [0, 0]


def test_a_pair_that_cannot_be_judged_has_no_scores(make):
    def judge(first, second, prompts, metadata):
        return [NAN if prompt == "odd" else 1.0 for prompt in prompts]

    judge.pairwise = True
    scores = make(judge).components(pictures([0.0] * 4), ["odd", "odd", "q", "q"], [{}] * 4, group_size=2)["better"]
    assert scores.isnan().tolist() == [True, True, False, False]


def test_what_it_returns_and_raises_is_explained(make):
    def short(first, second, prompts, metadata):
        return [1.0]

    short.pairwise = True
    with pytest.raises(RewardError, match=r"'better' returned list \[1.0\] for 2 images"):
        make(short).components(pictures([0.0] * 4), ["p"] * 4, [{}] * 4, group_size=2)

    def broken(first, second, prompts, metadata):
        raise KeyError("colour")

    broken.pairwise = True
    with pytest.raises(RewardError, match=r"'better' failed on 1 image, the first for 'p': KeyError"):
        make(broken).components(pictures([0.0] * 2), ["p"] * 2, [{}] * 2, group_size=2)


def test_a_preference_may_carry_a_gradient(make):
    def smooth(first, second, prompts, metadata):
        return first.mean((1, 2, 3)) - second.mean((1, 2, 3))

    smooth.pairwise = smooth.differentiable = True
    images = pictures([0.2, 0.6]).requires_grad_()
    scores = make(smooth).components(images, ["p"] * 2, [{}] * 2, group_size=2)["better"]
    (gradient,) = torch.autograd.grad(scores[0] - scores[1], images)
    torch.testing.assert_close(gradient, torch.tensor([1.0, -1.0]).view(2, 1, 1, 1).expand_as(images) / 12)


def test_other_arguments_are_refused(make):
    def plain(images, prompts, metadata):
        return [0.0]

    plain.pairwise = True
    with pytest.raises(RewardError, match=r"define it as def prefer\(first, second, prompts, metadata\)"):
        make(plain)


def test_it_can_be_trained_on_and_not_watched():
    assert load_config("shapes", ["reward=[vlm-pair]"]).reward[0].name == "vlm-pair"
    with pytest.raises(ConfigError, match=r"eval\.rewards\.0: 'vlm-pair' compares two images"):
        load_config("shapes", ["eval.rewards=[vlm-pair]"])


# ---- pairs that others leave open ----


@pytest.fixture
def mixed(monkeypatch):
    """A score of grey, whose weight is 2, and one that compares two images and keeps what it was asked."""
    seen = []

    def grey(images, prompts, metadata):
        return images.mean((1, 2, 3))

    def darker(first, second, prompts, metadata):
        seen.extend(zip(prompts, metadata, strict=True))
        return -(first - second).sign().mean((1, 2, 3))

    darker.pairwise = True
    functions = {"grey": grey, "darker": darker}
    monkeypatch.setattr(build, "find", lambda kind, name: functions[name])
    return seen


GREYS = [0.5, 0.75, 0.25, 0.375, 0.5, 0.5]  # differences of twice these: 1/2, 1/4, 0
TEXTS = [f"p{i // 2}" for i in range(6)]


@pytest.mark.parametrize(
    ("margin", "asked"), [(None, ["p0", "p1", "p2"]), (0.25, ["p1", "p2"]), (0.1, ["p2"]), (0.0, ["p2"])]
)
@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("batch", [None, 2])
def test_pairs_are_left_to_the_other_scores_where_these_decide(mixed, margin, asked, order, batch):
    entries = [RewardConfig(name="grey", weight=2.0), RewardConfig(name="darker", undecided_within=margin)][::order]
    both = WeightedSum(entries)
    scores = both.components(pictures(GREYS), TEXTS, [{"n": i} for i in range(6)], group_size=2, batch=batch)
    assert list(scores) == [entry.name for entry in entries]
    assert sorted({prompt for prompt, _ in mixed}) == asked
    assert all(entry["n"] == 2 * int(prompt[1]) for prompt, entry in mixed)
    gaps = (scores["darker"][0::2] - scores["darker"][1::2]).tolist()
    assert gaps == [1.0 if "p0" in asked else 0.0, 1.0 if "p1" in asked else 0.0, 0.0]


def test_leaving_pairs_to_others_needs_others_and_pairs(mixed):
    with pytest.raises(RewardError, match="'darker': undecided_within leaves pairs to the other scores; there is none"):
        WeightedSum([RewardConfig(name="darker", undecided_within=0.1)])
    with pytest.raises(RewardError, match=r"'grey': undecided_within .*; it has one of single images"):
        WeightedSum([RewardConfig(name="grey", undecided_within=0.1), RewardConfig(name="darker")])
    both = [RewardConfig(name="darker", undecided_within=margin) for margin in (0.1, 0.2)]
    with pytest.raises(RewardError, match=r"'darker', 'darker#2': .* each would wait for the other; keep it for one"):
        WeightedSum([RewardConfig(name="grey"), *both])


def test_alone_a_score_is_asked_for_every_pair(mixed):
    reward = WeightedSum([RewardConfig(name="grey"), RewardConfig(name="darker", undecided_within=0.0)])
    images = pictures(GREYS)
    found = reward.preferences(images[0::2], images[1::2], TEXTS[0::2], [{"n": 0}] * 3)
    assert found["darker"].tolist() == [1.0, 1.0, 0.0]  # the last two are of one grey


@pytest.fixture
def told(monkeypatch, mixed):
    """What people, who prefer nothing, are told about the pairs that the other scores cannot decide."""
    found, others = [], build.find
    monkeypatch.setattr(build, "find", lambda kind, name: Human if name == "human" else others(kind, name))
    monkeypatch.setattr(Human, "weigh", lambda self, undecided: found.append(undecided))
    monkeypatch.setattr(Human, "__call__", lambda self, first, *_: torch.zeros(len(first)))
    return found


@pytest.mark.parametrize(
    ("human", "grey", "expected"),
    [  # greys differ by 1/4, 1/8, 0
        ({}, {"weight": 8.0}, [False, True, True]),  # 2, 1, 0 against a choice of 1
        ({"weight": 2.0}, {"weight": 8.0}, [True, True, True]),
        ({"weight": -0.5}, {"weight": 8.0}, [False, False, True]),
        ({}, {"weight": 0.5, "standardize": True}, [False, True, True]),  # by 1/16: 2, 1, 0
        ({"standardize": True}, {"weight": 8.0}, [True, True, True]),  # a choice is worth 1 / (1/4)
        ({"undecided_within": 1.5}, {"weight": 8.0}, [True, True]),  # the first pair is not asked for at all
        ({"undecided_within": 2.0, "weight": 0.5}, {"weight": 8.0}, [False, False, True]),
    ],
    ids=str,
)
@pytest.mark.parametrize("order", [1, -1])
def test_people_are_told_which_pairs_their_choice_can_turn(told, human, grey, expected, order):
    entries = [RewardConfig(name="grey", **grey), RewardConfig(name="human", **human)][::order]
    reward = WeightedSum(entries)
    reward.observe({"grey": torch.tensor([0.0, 0.125]), "human": torch.tensor([-0.25, 0.25])})
    reward.components(pictures(GREYS), TEXTS, [{}] * 6, group_size=2, batch=2)
    assert [undecided.tolist() for undecided in told] == [expected]


def test_people_alone_are_told_that_there_are_no_other_scores(told):
    WeightedSum([RewardConfig(name="human")]).components(pictures(GREYS), TEXTS, [{}] * 6, group_size=2)
    assert told == [None]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize("greys", [0, 1])
def test_people_come_before_scores_that_are_left_pairs_and_after_others(told, mixed, monkeypatch, order, greys):
    """People prefer images of 1/2, by 1/2, and have a tie of others: the other score is asked for this."""
    monkeypatch.setattr(Human, "__call__", lambda self, first, *_: (first.amax((1, 2, 3)) == 0.5).double() * 0.5)
    entries = [RewardConfig(name="human"), RewardConfig(name="darker", undecided_within=0.25)][::order]
    reward = WeightedSum([*entries, *[RewardConfig(name="grey")] * greys])
    reward.components(pictures([0.5, 0.5, 0.25, 0.25, 0.125, 0.25]), TEXTS, [{"n": i} for i in range(6)], group_size=2)
    assert {prompt for prompt, _ in mixed} == {"p1", "p2"}
    assert [undecided.tolist() for undecided in told] == [[True, True, True]]


def test_a_choice_weighs_less_in_a_larger_group(told):
    """It moves the scores of a pair apart by 2/3 in groups of 3: greys of 1/2, 3/4, 1/4 | 3/8, 1/2, 1/2 times 2."""
    reward = WeightedSum([RewardConfig(name="grey", weight=2.8), RewardConfig(name="human")])
    reward.components(pictures(GREYS), TEXTS[:1] * 6, [{}] * 6, group_size=3)
    assert [undecided.tolist() for undecided in told] == [[False, False, False, True, True, True]]


@pytest.mark.parametrize("unseen", ["grey", "human"])
def test_before_a_standardised_score_was_observed_every_pair_is_undecided(told, unseen):
    entries = [
        RewardConfig(name=name, weight=w, standardize=name == unseen) for name, w in [("grey", 99), ("human", 1)]
    ]
    reward = WeightedSum(entries)
    reward.components(pictures(GREYS), TEXTS, [{}] * 6, group_size=2)
    reward.observe({unseen: torch.tensor([0.0, 9.0])})
    reward.components(pictures(GREYS), TEXTS, [{}] * 6, group_size=2)
    assert told[0].tolist() == [True] * 3
    assert told[1].tolist() == [False, False, True]
