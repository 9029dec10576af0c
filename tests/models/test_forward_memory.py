"""What an evaluation holds, by hand."""

import torch
from torch import nn

from fdfo.models.forward_memory import most_held

ROWS, WIDTH, INNER = 8, 16, 64


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(WIDTH, INNER), nn.Linear(INNER, WIDTH)
        self.evaluated = 0

    def forward(self, x):
        self.evaluated += 1
        return self.outer(torch.relu(self.inner(x)))


class Network(nn.Module):
    """An embedding and blocks that are alike; it stands for the trainable weights as well."""

    def __init__(self, blocks):
        super().__init__()
        self.embedding, self.blocks = nn.Linear(2, WIDTH), nn.ModuleList(Block() for _ in range(blocks))

    @property
    def network(self):
        return self

    def enable_checkpointing(self, function):
        self.function = function

    def forward(self, x):
        x = self.embedding(x)
        for block in self.blocks:
            x = self.function(block, x)
        return x


def held(blocks, dtype):
    with torch.device("meta"):
        network, x = Network(blocks), torch.empty(ROWS, 2, dtype=dtype)
        return most_held(network, lambda: network(x), dtype), network


def test_the_state_and_two_inner_activations_are_there_at_a_time():
    most, _ = held(1, torch.float32)
    assert most == 4 * ROWS * (WIDTH + 2 * INNER)


def test_blocks_that_are_alike_are_evaluated_once():
    most, network = held(3, torch.float32)
    assert most == held(1, torch.float32)[0]
    assert sum(block.evaluated for block in network.blocks) == 1


def test_autocast_computes_products_in_16_bits_with_copies_of_the_weights_that_are_not_counted():
    most, _ = held(1, torch.bfloat16)
    assert most == 2 * ROWS * (WIDTH + 2 * INNER)
