"""The verifier and the reward made of it."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from fdfo.errors import RewardError
from fdfo.shapes import captions, parse
from fdfo.shapes.accuracy import main, measure, wilson
from fdfo.shapes.render import reduced, render
from fdfo.shapes.rewards import ShapesVerifier
from fdfo.shapes.sampling import sample_scene
from fdfo.shapes.scene import BACKGROUND, CATEGORIES, COLORS, Object, Scene
from fdfo.shapes.segment import segment
from fdfo.shapes.verifier import WRONG_ATTRIBUTE, WRONG_RELATION, judge
from tests.nightly import at_night

RED_CIRCLE = Object(shape="circle", color="red", x=9, y=16, radius=6)
BLUE_SQUARE = Object(shape="square", color="blue", x=23, y=16, radius=6)


def picture(*objects: Object) -> np.ndarray:
    return render(Scene(objects=objects))


def graded(image: np.ndarray, text: str) -> float:
    verdict = judge(image, text)
    assert verdict is not None
    return verdict.graded


def passed(image: np.ndarray, text: str) -> bool:
    verdict = judge(image, text)
    assert verdict is not None
    return verdict.passed


@pytest.mark.parametrize("category", CATEGORIES)
@pytest.mark.parametrize("noise", [0.05, at_night(0.0)])
def test_true_pictures_pass_and_mismatched_ones_do_not(category, noise):
    result = measure(category, pictures=100, seed=1, noise=noise)
    assert result.true_passed > 0.97
    assert result.true_graded > 0.97
    assert result.wrong_passed < 0.05
    assert result.wrong_graded < 0.6


def test_objects_are_named():
    found = segment(picture(RED_CIRCLE, BLUE_SQUARE))
    assert found.count == 2
    assert {(thing.shape_name, thing.color_name) for thing in found.objects} == {("circle", "red"), ("square", "blue")}
    circle = next(thing for thing in found.objects if thing.shape_name == "circle")
    assert (circle.x, circle.y, circle.radius["circle"]) == pytest.approx((9, 16, 6), abs=0.1)


def test_a_perfect_picture_scores_one():
    assert graded(picture(RED_CIRCLE), "a red circle") == pytest.approx(1, abs=1e-6)


def test_each_wrong_attribute_leaves_a_quarter():
    assert graded(picture(RED_CIRCLE), "a blue circle") == pytest.approx(WRONG_ATTRIBUTE, abs=1e-6)
    assert graded(picture(RED_CIRCLE), "a red cross") == pytest.approx(WRONG_ATTRIBUTE, abs=0.01)
    assert graded(picture(RED_CIRCLE), "a blue cross") == pytest.approx(WRONG_ATTRIBUTE**2, abs=0.01)
    assert graded(picture(RED_CIRCLE), "a circle on the right") == pytest.approx(WRONG_ATTRIBUTE, abs=1e-6)


def test_extra_and_missing_objects_divide():
    extra = replace(RED_CIRCLE, x=23)
    assert graded(picture(RED_CIRCLE, extra), "a red circle") == pytest.approx(1 / 2, abs=1e-6)
    assert graded(picture(RED_CIRCLE, extra), "four red circles") == pytest.approx(2 / 4, abs=1e-6)
    assert graded(picture(RED_CIRCLE), "a red circle and a blue square") == pytest.approx(1 / 2, abs=1e-6)


def test_a_wrong_relation_halves():
    image = picture(RED_CIRCLE, BLUE_SQUARE)
    assert graded(image, "a red circle left of a blue square") == pytest.approx(1, abs=1e-6)
    assert passed(image, "a blue square right of a red circle")
    for relation in ("right of", "above", "below"):
        text = f"a red circle {relation} a blue square"
        assert graded(image, text) == pytest.approx(WRONG_RELATION, abs=1e-6)
        assert not passed(image, text)


def test_colors_between_two_names_do_not_pass():
    """Greens that drift to teal and two-coloured blends are what rewards without this tolerance produce."""
    mask = picture(RED_CIRCLE)[0] > 0.5
    for a, b in (("green", "cyan"), ("red", "orange"), ("orange", "yellow"), ("blue", "purple")):
        blend = picture(RED_CIRCLE)
        blend[:, mask] = (np.array(COLORS[a]) / 2 + np.array(COLORS[b]) / 2)[:, None]
        for name in (a, b):
            assert not passed(blend, f"{'an' if name == 'orange' else 'a'} {name} circle")
    halves = picture(RED_CIRCLE)
    halves[:, mask & (np.arange(32) < 9)] = np.array(COLORS["green"], np.float32)[:, None]
    assert not passed(halves, "a red circle")
    assert graded(halves, "a red circle") < 0.75


def test_ghosts_below_the_threshold_cost():
    image = picture(RED_CIRCLE)
    ghost = picture(BLUE_SQUARE) - np.array(BACKGROUND, np.float32)[:, None, None]
    image = (image + 0.4 * ghost).astype(np.float32)
    assert segment(image).count == 1
    assert not passed(image, "a red circle")
    assert graded(image, "a red circle") < 0.8


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((3, 32, 32)),
        np.ones((3, 32, 32)),
        np.full((3, 32, 32), 0.5),
        np.random.default_rng(0).random((3, 32, 32)),
        np.random.default_rng(1).normal(0, 1e4, (3, 32, 32)),
        np.full((3, 32, 32), 1e30),
        np.indices((32, 32)).sum(0) % 2 * np.ones((3, 1, 1)),
        np.indices((32, 32)).sum(0) % 4 // 3 * np.ones((3, 1, 1)),
    ],
)
def test_no_picture_is_too_strange(image):
    for text in ("a circle", "four red crosses", "a red circle left of a blue square"):
        verdict = judge(image.astype(np.float32), text)
        assert verdict is not None
        assert 0 <= verdict.graded < 0.3
        assert not verdict.passed


def test_random_textures_never_fail():
    rng = np.random.default_rng(2)
    for i in range(100):
        image = rng.normal(0.3, 0.4, (3, 32, 32)) * (rng.random((32, 32)) < i / 100)
        verdict = judge(image.astype(np.float32), "two squares")
        assert verdict is not None
        assert 0 <= verdict.graded <= 1


def test_what_cannot_be_judged():
    image = picture(RED_CIRCLE)
    assert judge(image, "a photo of a dog") is None
    image[0, 3, 3] = np.nan
    assert judge(image, "a red circle") is None
    with pytest.raises(ValueError, match="whole multiple"):
        judge(np.zeros((3, 48, 48), np.float32), "a red circle")


@pytest.mark.parametrize("magnification", [2, 3])
def test_larger_pictures_are_judged_as_small_ones(magnification):
    """The mean of the pixels inside a pixel is nearly its coverage (not at corners), so judges see the same objects."""
    rng = np.random.default_rng(0)
    for item in captions("validation")[::6]:
        scene = sample_scene(parse(item.text), rng)
        small, large = render(scene), render(scene, magnification=magnification)
        assert large.shape == (3, 32 * magnification, 32 * magnification)
        assert np.abs(reduced(large) - small).mean() < 0.003
        verdict = judge(large, item.text)
        assert verdict is not None
        assert verdict.passed
        assert verdict.graded > 0.98


def test_reward_scores_batches():
    images = torch.from_numpy(np.stack([picture(RED_CIRCLE)] * 4))
    images[3, 0, 0, 0] = float("inf")
    prompts = ["a red circle", "a blue circle", "a dog", "a red circle"]
    reward = ShapesVerifier()
    reward.load("cpu", torch.float32)
    assert not reward.differentiable
    nan = float("nan")
    expected = torch.tensor([1, WRONG_ATTRIBUTE, nan, nan])
    torch.testing.assert_close(reward(images, prompts, [None] * 4), expected, equal_nan=True)
    strict = ShapesVerifier(strict=True)(images.bfloat16(), prompts, [None] * 4)
    torch.testing.assert_close(strict, torch.tensor([1, 0, nan, nan]), equal_nan=True)


def test_reward_refuses_what_does_not_fit():
    with pytest.raises(RewardError, match=r"got \[3, 64, 32\]"):
        ShapesVerifier()(torch.zeros(2, 3, 64, 32), ["a circle"] * 2, [None] * 2)
    with pytest.raises(RewardError, match="2 images but 1 prompt"):
        ShapesVerifier()(torch.zeros(2, 3, 32, 32), ["a circle"], [None] * 2)


def test_reward_on_an_empty_batch():
    assert ShapesVerifier()(torch.zeros(0, 3, 32, 32), [], []).shape == (0,)


def test_wilson_interval():
    """Solves |p - x| = 1.96 sqrt(x (1 - x) / n) for its two ends."""
    for end in wilson(0.9, 50):
        assert abs(0.9 - end) == pytest.approx(1.96 * (end * (1 - end) / 50) ** 0.5, rel=1e-6)


def test_command_prints_the_table(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["verifier", "--pictures", "5"])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(CATEGORIES)


def test_judging_takes_milliseconds():
    rng = np.random.default_rng(0)
    images = [render(sample_scene(parse("four circles"), rng)) for _ in range(50)]
    start = time.process_time()
    for image in images:
        judge(image, "four circles")
    assert (time.process_time() - start) / len(images) < 0.01
