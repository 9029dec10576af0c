"""Scores of others in a weighted sum: what they get, how they are called, and how they leave."""

import subprocess
import sys
import time

import pytest
import torch

from fdfo.config.load import reward_entries
from fdfo.config.tree import RewardConfig
from fdfo.errors import ConfigError, RewardError
from fdfo.rewards import WeightedSum, build, build_reward
from fdfo.rewards.arguments import IMAGES as NAMES
from fdfo.rewards.arguments import PAIRS, caller
from fdfo.rewards.scores import as_features
from tests.guard.leaks import everything

IMAGES = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(1))


def data():
    return ["first", "b", "c", "d"], [{"n": i, "nested": {"list": [i]}} for i in range(4)]


def mean(images, prompts, metadata):
    return images.mean((1, 2, 3))


@pytest.fixture
def make(monkeypatch):
    def make(*functions, **options):
        monkeypatch.setattr(build, "find", lambda kind, name: functions[int(name)])
        return WeightedSum([RewardConfig(name=str(i), **options) for i in range(len(functions))])

    return make


# ---- objects of its own ----


@pytest.mark.parametrize("differentiable", [False, True])
@pytest.mark.parametrize("tracked", [False, True])
def test_edits_in_place_reach_nobody_else(make, differentiable, tracked):
    """The usual normalisation, and edits of everything else that a score is given."""

    def vandal(images, prompts, metadata):
        scores = images.sub_(0.5).div_(0.5).mean((1, 2, 3))
        prompts[0] = "changed"
        prompts.pop()
        metadata[0]["n"] = metadata[1]["nested"]["list"][0] = "changed"
        metadata.clear()
        return scores

    def reader(images, prompts, metadata):
        seen.append((prompts, metadata))
        return images.mean((1, 2, 3))

    vandal.differentiable = reader.differentiable = differentiable
    seen, images, (prompts, metadata) = [], IMAGES.clone().requires_grad_(tracked), data()
    rewards = make(vandal, reader)
    parts = rewards.components(images, prompts, metadata, batch=2)
    assert torch.equal(images, IMAGES)
    assert (prompts, metadata) == data()
    torch.testing.assert_close(parts["0"], 2 * IMAGES.mean((1, 2, 3)).double() - 1)
    torch.testing.assert_close(parts["1"], IMAGES.mean((1, 2, 3)).double())
    assert [text for texts, _ in seen for text in texts] == prompts
    assert [entry for _, entries in seen for entry in entries] == metadata
    if differentiable and tracked:
        (gradient,) = torch.autograd.grad(rewards.total(parts).sum(), images)
        torch.testing.assert_close(gradient, torch.full_like(images, 3 / 90))


def test_a_pairwise_score_gets_copies_too(make):
    def vandal(first, second, prompts, metadata):
        metadata[0].clear()
        prompts.clear()
        return first.mul_(0).sum((1, 2, 3)) + 1 - second.mul_(0).sum((1, 2, 3))

    vandal.pairwise = True
    prompts, metadata = data()
    make(vandal, mean).components(IMAGES, prompts, metadata, group_size=2)
    assert (prompts, metadata) == data()


def test_what_embeds_images_gets_copies_too(make):
    class Embeds:
        differentiable = True

        def load(self, device, dtype):
            pass

        def image_features(self, images):
            sys.setrecursionlimit(4321)
            return images.mul_(2).mean((2, 3))

        def __call__(self, images, prompts, metadata):
            return images.mean((1, 2, 3))

    rewards = make(Embeds)
    rewards.load(torch.device("cpu"), torch.float32)
    before, images = everything(), IMAGES.clone()
    torch.testing.assert_close(rewards.embedders["0"](images), 2 * IMAGES.mean((2, 3)))
    assert torch.equal(images, IMAGES)
    assert everything() == before


@pytest.mark.parametrize("name", ["jpeg", "shapes-verifier", "shapes-neatness", "shapes-contrastive"])
def test_our_own_scores_leave_their_images_alone(name):
    rewards = WeightedSum([RewardConfig(name=name)])
    rewards.load(torch.device("cpu"), torch.float32)
    images = torch.rand(2, 3, 32, 32)
    before = images.clone(), images._version
    rewards(images, ["a red circle", "two squares"], [{}, {}])
    assert torch.equal(images, before[0]) and images._version == before[1]


# ---- arguments ----


def call(function, *values, **options):
    return caller(function, NAMES if len(values) == 3 else PAIRS, options)(*values)


class Network(torch.nn.Module):
    def forward(self, prompts, images, metadata):
        return images, prompts, metadata


@pytest.mark.parametrize(
    "function",
    [
        lambda images, prompts, metadata: (images, prompts, metadata),
        lambda prompts, images, metadata: (images, prompts, metadata),
        lambda metadata, prompts, images: (images, prompts, metadata),
        lambda *, metadata, images, prompts: (images, prompts, metadata),
        lambda x, y, z: (x, y, z),
        lambda *everything: everything,
        lambda images, *rest: (images, *rest),
        lambda prompts, pictures, metadata: (pictures, prompts, metadata),
        lambda pictures, prompts, metadata, temperature=3: (pictures, prompts, metadata),
        lambda prompts, images, **more: (images, prompts, more["metadata"]),
        lambda prompts, images, **metadata: (images, prompts, metadata["metadata"]),
        Network(),
    ],
)
def test_arguments_go_by_their_names_in_any_order(function):
    assert call(function, 1, 2, 3) == (1, 2, 3)


def test_names_without_keywords_and_options_work_too():
    def positional(metadata, images, /, prompts, *, sign):
        return images, prompts, metadata, sign

    assert call(positional, 1, 2, 3, sign=-1) == (1, 2, 3, -1)
    assert call(lambda second, first, metadata, prompts: (first, second), 1, 2, 3, 4) == (1, 2)


@pytest.mark.parametrize(
    "function",
    [
        lambda images: 0,
        lambda images, prompts: 0,
        lambda images, prompts, scale=1.0: 0,  # metadata would be taken for the scale
        lambda prompts, *rest: 0,
        lambda images, prompts, metadata, more: 0,
        lambda: 0,
    ],
)
def test_what_has_no_place_for_an_argument_is_refused(function):
    with pytest.raises(TypeError):
        caller(function, NAMES, {})


def test_another_order_scores_the_right_thing(make, tmp_path):
    def score(prompts, images, metadata):
        return images.mean((1, 2, 3)) + torch.tensor([float(len(prompt)) for prompt in prompts])

    prompts, metadata = data()
    expected = IMAGES.mean((1, 2, 3)) + torch.tensor([5.0, 1, 1, 1])
    torch.testing.assert_close(make(score)(IMAGES, prompts, metadata), expected.double())


# ---- leaving ----


def scored_by(name):
    rewards = WeightedSum([RewardConfig(name=name)])
    rewards.load(torch.device("cpu"), torch.float32)
    return rewards(IMAGES, *data())


SCORE = """
import sys

class Silent(Exception):
    def __str__(self):
        raise RuntimeError

class Score:
    differentiable = False
    def __init__(self):
        {make}
    def load(self, device, dtype):
        {load}
    def __call__(self, images, prompts, metadata):
        {call}
{file}
"""


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("sys.exit()", "SystemExit"),
        ("sys.exit(3)", "SystemExit: 3"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("raise Silent", "Silent: its text cannot be read"),
    ],
)
@pytest.mark.parametrize("where", ["make", "load", "call", "file"])
def test_every_way_of_leaving_names_the_score_and_its_line(tmp_path, code, told, where):
    parts = dict.fromkeys(("make", "load", "call", "file"), "pass") | {where: code}
    path = tmp_path / "mine.py"
    path.write_text(SCORE.format(**parts))
    with pytest.raises(RewardError) as caught:
        scored_by(f"{path}:Score")
    line = path.read_text().splitlines().index(("" if where == "file" else 8 * " ") + code) + 1
    assert f"reward '{path}:Score' failed" in str(caught.value)
    assert f"{told}" in str(caught.value) and str(caught.value).endswith(f" (mine.py:{line})")
    if where == "call":
        assert "on 4 images, the first for 'first'" in str(caught.value)


def test_what_is_returned_and_what_is_looked_at_may_leave_too(make):
    class Hostile:
        def __array__(self, *more, **options):
            sys.exit()

    class Looked:
        @property
        def differentiable(self):
            raise KeyError("colour")

        def load(self, device, dtype):
            pass

    with pytest.raises(RewardError, match=r"'0' failed on 4 images.*SystemExit \(test_others.py:"):
        make(lambda images, prompts, metadata: Hostile())(IMAGES, *data())
    with pytest.raises(RewardError, match=r"'0' failed while it was made: KeyError: 'colour' \(test_others.py:"):
        make(Looked)


def test_a_score_that_hangs_is_given_up(make):
    def hangs(images, prompts, metadata):
        time.sleep(20)

    begun = time.monotonic()
    message = r"'0' failed on 4 images, the first for 'first': no answer within timeout_s=0\.1"
    with pytest.raises(RewardError, match=message):
        make(hangs, timeout_s=0.1)(IMAGES, *data())
    assert time.monotonic() - begun < 10
    torch.testing.assert_close(make(mean, timeout_s=30.0)(IMAGES, *data()), IMAGES.mean((1, 2, 3)).double())


def test_an_option_timeout_s_of_the_score_itself_is_its_own(make):
    def patient(images, prompts, metadata, *, timeout_s):
        time.sleep(0.1)
        return [timeout_s] * 4

    assert make(patient, timeout_s=0.05)(IMAGES, *data()).tolist() == [0.05] * 4


def test_timeout_s_of_a_server_is_that_of_a_request():
    assert build_reward(RewardConfig(name="remote", timeout_s=7.0))._endpoint._timeout_s == 7.0
    with pytest.raises(ConfigError, match="timeout_s: input should be greater than 0"):
        reward_entries([{"name": "remote", "timeout_s": 0}], "here")


def test_a_gradient_goes_through_a_bounded_call(make):
    mean.differentiable = True
    try:
        images = IMAGES.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(make(mean, timeout_s=30.0)(images, *data()).sum(), images)
    finally:
        del mean.differentiable
    torch.testing.assert_close(gradient, torch.full_like(images, 1 / 90))


def test_a_file_that_hangs_does_not_keep_the_program(tmp_path):
    """Its thread is left behind, and ends with the process."""
    (tmp_path / "mine.py").write_text("import time\ndef score(images, prompts, metadata):\n    time.sleep(60)\n")
    command = [sys.executable, "-m", "fdfo", "rewards", "check", f"{tmp_path}/mine.py:score", "timeout_s=0.2"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=50)
    assert result.returncode == 1
    assert "no answer within timeout_s=0.2" in result.stderr


@pytest.mark.parametrize(
    ("returned", "told"),
    [
        (None, "NoneType"),
        ([[1.0], [2.0]], "list"),
        (torch.tensor(1.0), r"a tensor \[\]"),
        (torch.zeros(1, 3), r"a tensor \[1, 3\]"),
        (torch.full((2, 3), torch.nan), "not finite"),
    ],
)
def test_what_are_no_features_is_told_by_name(returned, told):
    with pytest.raises(RewardError, match=f"reward 'mine': image_features returned .*{told}"):
        as_features(returned, name="mine", images=torch.zeros(2, 3, 4, 4))


def test_broken_images_may_have_broken_features():
    images = torch.tensor([0.0, torch.nan]).reshape(2, 1, 1, 1).expand(2, 3, 4, 4)
    as_features(torch.tensor([[0.0], [torch.nan]]), name="mine", images=images)


@pytest.mark.parametrize("part", ["remote", "asks_people"])
def test_a_part_that_leaves_is_an_error_of_the_score(make, part):
    class Leaves:
        differentiable = False

        def load(self, device, dtype):
            pass

        def __call__(self, images, prompts, metadata):
            return [0.0] * len(images)

    setattr(Leaves, part, property(lambda self: sys.exit(0)))
    with pytest.raises(RewardError, match="failed while it was made: SystemExit"):
        make(Leaves)


def test_a_score_that_asks_people_can_do_so(make):
    class Asks:
        differentiable = False
        asks_people = True

        def load(self, device, dtype):
            pass

        def attend(self, *arguments, **options):
            pass

        def __call__(self, images, prompts, metadata):
            return [0.0] * len(images)

    with pytest.raises(RewardError, match="asks_people needs expect, weigh, leave"):
        make(Asks)


def test_loading_takes_no_longer_than_a_call_may(make):
    class Hangs:
        differentiable = False

        def load(self, device, dtype):
            time.sleep(5)

        def __call__(self, images, prompts, metadata):
            return [0.0] * len(images)

    with pytest.raises(RewardError, match=r"failed while loading: no answer within timeout_s=0\.05"):
        make(Hangs, timeout_s=0.05).load(torch.device("cpu"), torch.float32)
