"""A velocity is held against the same call of its network."""

import torch
from torch.testing import assert_close

from benchmarks.speed.overhead import policy_of, ratios, works


def test_both_compute_the_same_network_for_the_same_rows():
    """Without guidance a packed velocity is the network's own output, [4 rows, 16 patches, 16 numbers]."""
    policy = policy_of("a tiny FLUX.1", 1.0, torch.device("cpu"))
    velocity, bare = works(policy)
    torch.manual_seed(0)
    with torch.no_grad():
        (expected,) = bare()
        assert_close(policy.family.layout.pack(velocity()), expected, rtol=0, atol=0)
    seconds, ratio = ratios(policy, 0.0)
    assert 0 < seconds < 10
    assert 0.2 < ratio.low <= ratio.mean <= ratio.high < 5
