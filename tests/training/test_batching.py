"""The partition: complete, even, stratified, and the same for any number of processes."""

import pytest
import torch

from fdfo.flow.noise import NoiseStreams
from fdfo.training.batching import deal, micro_batches, share

NOISE = NoiseStreams(seed=0, epoch=3)


def rows(dealt):
    return [set(zip(samples.tolist(), times.tolist(), strict=True)) for samples, times in dealt]


@pytest.mark.parametrize(("times", "updates"), [(40, 4), (10, 2), (4, 1), (2, 2)])
def test_every_item_is_used_once_and_updates_are_stratified(times, updates):
    dealt = rows(deal(torch.arange(6), times, updates, NOISE))
    everything = {(sample, time) for sample in range(6) for time in range(times)}
    assert set.union(*dealt) == everything
    assert sum(map(len, dealt)) == len(everything)
    for update in dealt:
        for sample in range(6):
            blocks = sorted(time // updates for s, time in update if s == sample)
            assert blocks == list(range(times // updates))  # one time of every block of neighbours


def test_the_partition_does_not_depend_on_the_process_count():
    whole = rows(deal(torch.arange(7), 8, 4, NOISE))
    for processes in (2, 3):
        parts = []
        for rank in range(processes):
            own = torch.arange(7)[share(7, rank, processes)]
            dealt = deal(own, 8, 4, NOISE)
            parts.append([{(int(own[s]), t) for s, t in update} for update in rows(dealt)])
        assert [set.union(*(part[u] for part in parts)) for u in range(4)] == whole


def test_times_are_dealt_at_random():
    first = [int(deal(torch.tensor([n]), 4, 4, NOISE)[0][1]) for n in range(400)]
    counts = torch.bincount(torch.tensor(first), minlength=4)
    assert counts.min() > 70  # 100 expected, standard deviation 9


def test_no_samples_give_empty_updates():
    dealt = deal(torch.zeros(0, dtype=torch.int64), 4, 2, NOISE)
    assert [len(samples) for samples, _ in dealt] == [0, 0]
    assert list(micro_batches(dealt[0], 3)) == []


def test_micro_batches_cover_the_update_in_order():
    update = deal(torch.arange(5), 4, 2, NOISE)[0]
    pieces = list(micro_batches(update, 3))
    assert [len(samples) for samples, _ in pieces] == [3, 3, 3, 1]
    assert torch.equal(torch.cat([samples for samples, _ in pieces]), update[0])


@pytest.mark.parametrize(("total", "processes"), [(432, 16), (432, 32), (7, 2), (7, 3), (5, 5)])
def test_shares_are_contiguous_complete_and_balanced(total, processes):
    parts = [range(total)[share(total, rank, processes)] for rank in range(processes)]
    assert [n for part in parts for n in part] == list(range(total))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
