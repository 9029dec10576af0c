"""Recipes of published models: planned without a download, and they fit the cards they name."""

import json
from pathlib import Path

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.models import source
from fdfo.models.sizes import policy_sizes
from fdfo.planning.batches import planner
from fdfo.planning.describe import USABLE_SHARE
from fdfo.planning.memory import GIB, Batches, memory_plan, peak
from fdfo.plugins import method_of
from fdfo.training.setup import check
from tests.nightly import at_night

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"


@pytest.fixture(autouse=True)
def no_download(monkeypatch):
    def refused(name, *_):
        raise AssertionError(f"{name} was asked for")

    monkeypatch.setattr(source, "_download", refused)


@pytest.mark.parametrize(
    ("recipe", "size"),
    [
        ("flux2-klein-16gb", 16),
        at_night("flux2-klein-24gb", 24),
        at_night("z-image-24gb", 24),
        at_night("qwen-image-48gb", 48),
        at_night("z-image-16gb", 16),
        at_night("flux1-dev-24gb", 24),
        at_night("krea2-48gb", 48),
        at_night("sana-16gb", 16),
        ("prx-12gb", 12),
    ],
)
def test_recipes_fit_the_cards_they_name(recipe, size):
    config = load_config(recipe, [])
    check(config)
    usable = round(USABLE_SHARE * size * GIB)
    _, plan = planner(config, torch.device("cuda"))(usable)
    assert peak(plan) <= usable
    assert plan.unknown_scores == ()
    if config.eval.resolution is None:
        assert "judge" not in plan.phases
    else:
        assert config.eval.resolution == (1024, 1024)
        assert plan.phases["judge"]["images"] == 4 * plan.phases["decode"]["images"]


def test_half_of_an_encoder_is_counted_where_half_is_used():
    """PRX reads by the encoder of T5Gemma, which has so many parameters in its published file."""
    assert policy_sizes(load_config("prx-12gb", []).policy).text_encoders == 2 * 2_614_341_888


def test_what_a_class_keeps_in_float32_is_counted_so():
    """Krea 2 keeps its norms so, of q and k [128], and two of each block [6144] of 28 and those of the text."""
    krea, plain = (policy_sizes(load_config(recipe, []).policy) for recipe in ("krea2-48gb", "prx-12gb"))
    assert plain.frozen == 2 * 1_170_691_648
    norms = 28 * 2 * (6144 + 128) + 6144 + 4 * 2 * (2560 + 128) + 2560
    assert krea.frozen == 2 * 12_820_073_036 + 2 * norms


def test_a_sibling_takes_the_place_of_the_trained_network_in_the_plan():
    config = load_config("flux2-klein-24gb", ["eval.policy=black-forest-labs/FLUX.2-klein-4B", "eval.guidance=1"])
    check(config)
    phases = planner(config, torch.device("cuda"))(24 * GIB)[1].phases
    assert phases["judge"]["judged network"] == phases["train"]["transformer"] + phases["train"]["adapter"]
    assert "transformer" not in phases["judge"]
    assert phases["judge"]["its decoder"] == phases["judge"]["decoder"] == phases["train"]["decoder"]


def counted():
    return json.loads((DATA / "memory-families.json").read_text())["counted_gib"].items()


@pytest.mark.parametrize(
    ("name", "gib"), [(name, gib) if "klein" in name else at_night(name, gib) for name, gib in counted()]
)
def test_a_row_of_published_models_takes_what_a_virtual_card_counts(name, gib):
    """Whole phases, as memory/planned.py counts them: weights and what a row, or an image, holds beside them."""
    own = [
        f"policy.name={name}",
        "policy.text_tokens=null",
        "policy.gradient_checkpointing=true",
        "policy.compile=false",
    ]
    config = load_config("sd35-medium-paper", own)
    sizes = policy_sizes(config.policy)
    phases = memory_plan(config, method_of(config.method), sizes, {}, Batches(1, 1)).phases
    weights = (sizes.frozen + sizes.trained) / GIB
    assert weights == pytest.approx(gib["weights"], rel=1e-3)
    assert sizes.decoder / GIB == pytest.approx(gib["decoder"], rel=1e-2)
    cast = phases["sample"]["cast weights"]
    sampled = (cast + phases["sample"]["activations"] / 2) / GIB  # of a pair
    # Chroma's attention has a mask of all pairs; not all of an adapter is copied yet where most is held.
    assert 0.96 < sampled / gib["sample"] < 1.2
    trained = (cast + phases["train"]["activations"]) / GIB
    assert 0.95 < trained / gib["train"] < 1.9, "a share of what the largest block keeps, for all kinds of blocks"
    assert weights + sampled == pytest.approx(weights + gib["sample"], rel=0.01)
    assert weights + trained == pytest.approx(weights + gib["train"], rel=0.15)
    decoded = phases["decode"]["activations"] / 2 / GIB
    assert weights + decoded == pytest.approx(weights + gib["decode"], rel=0.15)
