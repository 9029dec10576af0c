"""Keyed random numbers depend on their key alone."""

import torch
from scipy.stats import kstest

from fdfo.flow.noise import SHARED_OUT, NoiseStreams

RECORDED = [1.1491729021072388, -0.6105638146400452, -0.15961533784866333]


def test_rows_do_not_depend_on_batch_or_order():
    noise = NoiseStreams(seed=3, epoch=5)
    together = noise.normal((2, 3), "perturb", [4, 9, 1], step=7)
    assert torch.equal(together[1], noise.normal((2, 3), "perturb", [9], step=7)[0])


def test_threads_draw_the_same_numbers(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    shape = (SHARED_OUT // 8,)
    noise = NoiseStreams(seed=3, epoch=5)
    together = noise.normal(shape, "perturb", range(11))
    assert all(torch.equal(together[[i]], noise.normal(shape, "perturb", [i])) for i in range(11))


def test_every_part_of_the_key_matters():
    def draw(seed=0, epoch=0, use="a", sample=0, step=0):
        return NoiseStreams(seed, epoch).normal((4,), use, [sample], step)

    variants = [draw(), draw(seed=1), draw(epoch=1), draw(epoch=None), draw(use="b"), draw(sample=1), draw(step=1)]
    assert len({tuple(v.flatten().tolist()) for v in variants}) == len(variants)


def test_recorded_numbers_never_change():
    """A run must continue to the same weights with any later version."""
    first = NoiseStreams(seed=0, epoch=0).normal((3,), "start", [0])[0]
    torch.testing.assert_close(first, torch.tensor(RECORDED), rtol=0, atol=0)


def test_numbers_are_standard_normal():
    draws = NoiseStreams(seed=1).normal((64,), "start", range(256)).flatten()
    assert kstest(draws.double().numpy(), "norm").pvalue > 1e-3  # fixed seed: this is not a lottery


def test_uniform_and_permutation_are_keyed_alike():
    noise = NoiseStreams(seed=1, epoch=2)
    assert torch.equal(noise.uniform("u", [1, 2])[1:], noise.uniform("u", [2]))
    assert sorted(noise.permutation(7, "p", 3).tolist()) == list(range(7))
