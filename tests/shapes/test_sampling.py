"""Random scenes and their pictures."""

from dataclasses import replace

import numpy as np
import pytest

from fdfo.shapes import parse
from fdfo.shapes.grammar import specs
from fdfo.shapes.render import AREA_PER_SQUARED_RADIUS, COLOR_JITTER, coverage, object_coverage, render, signed_distance
from fdfo.shapes.sampling import GAP, sample_scene, satisfies
from fdfo.shapes.scene import BACKGROUND, CATEGORIES, COLORS, IMAGE_SIZE, SHAPES, Object, Scene


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("category", CATEGORIES)
def test_sampled_scenes_satisfy_their_caption_and_stay_apart(category, rng):
    choices = list(specs(category))
    for _ in range(60):
        spec = choices[rng.integers(len(choices))]
        scene = sample_scene(spec, rng)
        assert satisfies(scene, spec)
        covered = np.array([object_coverage(thing) for thing in scene.objects])
        assert (covered > 0).sum(0).max() == 1
        assert covered[:, [0, -1]].max() < 0.5
        assert covered[:, :, [0, -1]].max() < 0.5


def test_objects_keep_the_gap(rng):
    for _ in range(100):
        first, second = sample_scene(parse("a big circle and a cross"), rng).objects
        total = signed_distance("circle", first.x, first.y, first.radius) + signed_distance(
            "cross", second.x, second.y, second.radius
        )
        assert total.min() >= GAP


@pytest.mark.parametrize(
    ("shown", "asked"),
    [
        ("two red circles", "three red circles"),
        ("two red circles", "two blue circles"),
        ("a red circle left of a blue square", "a red circle right of a blue square"),
        ("a red circle left of a blue square", "a blue circle left of a red square"),
        ("a red circle left of a blue square", "a red circle above a blue square"),
        ("a small circle", "a big circle"),
        ("a circle at the top left", "a circle at the bottom left"),
        ("a circle at the top left", "a circle in the center"),
    ],
)
def test_scenes_do_not_satisfy_another_caption(shown, asked, rng):
    for _ in range(20):
        assert not satisfies(sample_scene(parse(shown), rng), parse(asked))


def test_a_scene_satisfies_every_caption_that_is_true_of_it(rng):
    scene = sample_scene(parse("a red circle left of a blue square"), rng)
    for text in ("a blue square right of a red circle", "a blue square and a red circle", "a square and a circle"):
        assert satisfies(scene, parse(text))
    assert satisfies(sample_scene(parse("a circle at the top left"), rng), parse("a circle at the top"))


def test_a_scene_depends_on_the_generator_alone():
    spec = parse("four triangles")
    one, two = (sample_scene(spec, np.random.default_rng(3)) for _ in range(2))
    assert one == two
    assert sample_scene(spec, np.random.default_rng(4)) != one


@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_has_the_area_and_the_centre_of_the_shape(shape):
    mask = coverage(shape, 16.3, 14.8, 7.0).astype(np.float64)
    axis = np.arange(IMAGE_SIZE) + 0.5
    # Anti-aliasing by distance is exact for straight edges only: a few per cent of a pixel at corners.
    assert mask.sum() == pytest.approx(AREA_PER_SQUARED_RADIUS[shape] * 49, rel=0.02)
    assert mask.sum(0) @ axis / mask.sum() == pytest.approx(16.3, abs=0.05)
    assert mask.sum(1) @ axis / mask.sum() == pytest.approx(14.8, abs=0.1)


def test_colors_of_a_picture():
    thing = Object(shape="square", color="green", x=16, y=16, radius=6)
    image = render(Scene(objects=(thing,)))
    assert image.dtype == np.float32
    np.testing.assert_allclose(image[:, 16, 16], COLORS["green"], rtol=1e-6)
    np.testing.assert_allclose(image[:, 2, 2], BACKGROUND, rtol=1e-6)
    jittered = render(Scene(objects=(replace(thing, color="white"),)), np.random.default_rng(0))
    off = np.abs(jittered[:, 16, 16] - COLORS["white"])
    assert 0 < off.max() <= COLOR_JITTER + 1e-6


def test_an_empty_scene_is_background():
    assert np.ptp(render(Scene(objects=())), axis=(1, 2)).max() == 0
