"""Signal and noise from inner products, against what is known; and a real probe of tiny cells."""

import json

import numpy as np
import pytest
import torch

from fdfo.comparison.counting import EpochCost
from fdfo.comparison.prices import Rates
from fdfo.comparison.probe import EXACT, Probed, products
from fdfo.comparison.probe_page import noise_ratio
from fdfo.comparison.signal import Products, alignment, cosine, cosine_with_exact, estimate, noise
from tests.comparison.plans import write
from tests.test_cli import fdfo

N = 4000


def gradients(count, signal, spread, seed=0):
    """Vectors signal e + spread n with |e| = 1 and E |n|^2 = 1: [count] of [N]."""
    draws = torch.randn(count, N, generator=torch.Generator().manual_seed(seed)) * spread / N**0.5
    draws[:, 0] += signal
    return list(draws)


def test_the_exact_gradient_agrees_with_itself():
    exact = gradients(6, 1.0, 0.0)
    found = products(exact, exact)
    for statistic, expected in ((cosine, 1), (cosine_with_exact, 1), (alignment, 1), (noise, 0)):
        interval = estimate(found, statistic)
        assert (interval.mean, interval.low, interval.high) == pytest.approx((expected,) * 3, abs=1e-6)


def test_pure_noise_agrees_with_nothing():
    found = products(gradients(8, 0.0, 1.0), gradients(8, 1.0, 0.0))
    scale = 1 / N**0.5
    assert estimate(found, cosine).mean == pytest.approx(0, abs=4 * scale)
    assert estimate(found, cosine_with_exact).mean == pytest.approx(0, abs=4 * scale)
    assert estimate(found, noise).mean > 30


@pytest.mark.parametrize("spread", [0.5, 1.0, 3.0])
def test_noise_is_variance_over_squared_mean(spread):
    found = products(gradients(40, 2.0, spread), gradients(40, 1.0, spread, seed=1))
    assert estimate(found, noise).mean == pytest.approx(spread**2 / 4, rel=0.1)
    assert estimate(found, cosine).mean == pytest.approx(1 / (1 + spread**2 / 4), rel=0.1)
    aligned = estimate(found, alignment)
    assert aligned.mean == pytest.approx(1, abs=0.1)  # noise of both sides does not count
    assert aligned.low < 1 < aligned.high or aligned.mean == pytest.approx(1, abs=0.02)


@pytest.mark.slow
def test_the_interval_covers_the_truth_at_its_rate():
    covered = []
    for seed in range(60):
        draws = np.random.default_rng(seed).normal(size=(12, 30)) * 0.3
        draws[:, 0] += 1
        gram = draws @ draws.T
        found = estimate(Products(own=gram, cross=np.zeros((12, 0)), exact=np.zeros((0, 0))), noise)
        covered.append(found.low <= 30 * 0.09 <= found.high)
    assert np.mean(covered) > 0.8  # a bootstrap from twelve is a little narrow


def test_inner_products_are_those_of_all_elements(monkeypatch):
    monkeypatch.setattr("fdfo.comparison.probe.PIECE", 1000)
    own, exact = gradients(3, 1.0, 1.0), gradients(2, 1.0, 1.0, seed=1)
    found = products(own, exact)
    assert found.cross[2, 1] == pytest.approx(float(own[2].double() @ exact[1].double()), rel=1e-12)
    assert found.own.shape == (3, 3) and found.exact.shape == (2, 2)


def test_the_ratio_of_noises_is_for_equally_many_images():
    def probed(images, spread, seed):
        cost = EpochCost(images, 10, 5)
        return Probed("s", "c", cost, Rates(3.0, 0.0), 1.0, products(gradients(30, 1.0, spread, seed), []), {})

    found = noise_ratio(probed(100, 2.0, 0), probed(50, 1.0, 1))
    assert found.mean == pytest.approx(2 * 4, rel=0.2)
    assert found.low < 8 < found.high


@pytest.mark.slow
def test_a_probe_of_tiny_cells(tmp_path, monkeypatch, capsys):
    """By the command: files, costs, and that the exact gradient is one that the others have something of."""
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, changes={"method.steps": 2, "prompts.pairs_per_epoch": 6, "eval.steps": 2})
    code, _, err = fdfo(monkeypatch, capsys, "probe", path, "--batches", 4)
    assert code == 0, err
    stored = (tmp_path / "results/data/tiny-probe.jsonl").read_text().splitlines()
    found = {one.cell: one for one in (Probed.from_dict(json.loads(line)) for line in stored)}
    assert list(found) == [EXACT, "pair", "single"]
    assert (found["pair"].cost, found["single"].cost) == (EpochCost(12, 24, 24), EpochCost(6, 12, 12))
    assert found[EXACT].cost == EpochCost(6, 0, 12, differentiated=6)
    for line, one in zip(map(json.loads, stored), found.values(), strict=True):
        assert line["seconds"] > 0
        assert [line[name] for name in ("steps", "images", "evaluations")] == [1, one.cost.images, one.evaluations]
    assert [one.products.cross.shape for one in found.values()] == [(2, 2), (4, 4), (4, 4)]
    assert all((np.diag(one.products.own) > 0).all() for one in found.values())
    page = (tmp_path / "results/tiny-probe.md").read_text()
    assert "| the exact gradient | 6 |" in page
    assert fdfo(monkeypatch, capsys, "probe", path, "--page-only")[0] == 0
    assert (tmp_path / "results/tiny-probe.md").read_text() == page
