"""Where the networks of scores are, and when they move."""

import pytest
import torch
from bitsandbytes.functional import QuantState

from benchmarks.memory.virtual import CARD, VirtualCard
from fdfo.config.tree import RewardConfig
from fdfo.errors import RewardError
from fdfo.offload import temporarily_on
from fdfo.rewards import WeightedSum


class Movable:
    """A score whose network tells where it is when it scores."""

    differentiable = True

    def __init__(self):
        self.networks = [Recorded()]

    def load(self, device, dtype):
        self.networks[0].to(device)

    def __call__(self, images, prompts, metadata):
        return images.mean((1, 2, 3))


class Recorded(torch.nn.Linear):
    def __init__(self):
        super().__init__(1, 1)
        self.moves = []

    def to(self, device):
        self.moves.append(torch.device(device))
        return self.to_empty(device=device)  # weights on meta have no values to move


@pytest.mark.parametrize("offload", [True, False])
def test_an_offloaded_score_is_on_its_device_only_while_it_scores(monkeypatch, offload):
    monkeypatch.setattr("fdfo.rewards.weighted.build_reward", lambda entry: Movable())
    total = WeightedSum([RewardConfig(name="movable", offload=offload)])
    total.load(torch.device("meta"), torch.float32)
    (network,) = total.rewards[0].networks
    rest = torch.device("cpu") if offload else torch.device("meta")
    assert network.moves[-1] == rest


class Visiting(Movable):
    """Remembers where its weights were when it scored; the third time it runs out of memory."""

    def __init__(self):
        super().__init__()
        self.networks, self.seen = [torch.nn.Linear(1, 1)], []

    def __call__(self, images, prompts, metadata):
        self.seen.append(self.networks[0].weight.data_ptr())
        if len(self.seen) == 3:
            raise torch.OutOfMemoryError("no room")
        return images.mean((1, 2, 3))

    def image_features(self, images):
        self.seen.append(self.networks[0].weight.data_ptr())
        return images.flatten(1)


def test_an_offloaded_score_comes_once_for_all_images_and_leaves_whatever_happens(monkeypatch):
    """A move is a copy here; leaving takes the host's memory back, without another copy."""
    moves = []

    def move(network, device):
        moves.append(device)
        for tensor in network.parameters():
            tensor.data = tensor.data.clone()

    monkeypatch.setattr("fdfo.rewards.weighted.build_reward", lambda entry: Visiting())
    monkeypatch.setattr("fdfo.offload.move", move)
    total = WeightedSum([RewardConfig(name="visiting", offload=True)])
    total.load(torch.device("cpu"), torch.float32)
    (reward,) = total.rewards
    home = reward.networks[0].weight.data_ptr()
    moves.clear()
    images = torch.rand(4, 3, 4, 4)
    (scores,) = total.components(images, ["a", "b"] * 2, [{}] * 4, batch=2).values()
    assert torch.equal(scores, images.mean((1, 2, 3)))
    assert len(moves) == 1 and len(set(reward.seen)) == 1 and home not in reward.seen
    assert reward.networks[0].weight.data_ptr() == home
    with pytest.raises(torch.OutOfMemoryError):
        total.components(images, ["a", "b"] * 2, [{}] * 4, batch=2)
    assert reward.networks[0].weight.data_ptr() == home
    assert torch.equal(total.embedders["visiting"](images), images.flatten(1))  # diversity asks between the scores
    assert len(moves) == 3 and reward.seen[-1] != home and reward.networks[0].weight.data_ptr() == home


def test_a_score_without_a_network_cannot_be_offloaded():
    total = WeightedSum([RewardConfig(name="jpeg", offload=True)])
    with pytest.raises(RewardError, match="remove offload"):
        total.load(torch.device("cpu"), torch.float32)


def test_a_card_without_a_number_is_that_of_the_process(monkeypatch):
    """Tensors tell the number of their card: against a plain `cuda`, all networks would seem to be elsewhere."""
    loaded = []

    class Placed(Movable):
        def __init__(self):
            self.networks = []

        def load(self, device, dtype):
            loaded.append(device)

    monkeypatch.setattr("fdfo.rewards.weighted.build_reward", lambda entry: Placed())
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    entries = [RewardConfig(name="a"), RewardConfig(name="b", device="cuda:1"), RewardConfig(name="c", device="cpu")]
    WeightedSum(entries).load(torch.device("cuda"), torch.float32)
    assert loaded == [torch.device("cuda:3"), torch.device("cuda:1"), torch.device("cpu")]


@pytest.mark.parametrize("offload", [True, False])
def test_a_network_that_cannot_be_moved_is_told(monkeypatch, offload):
    class Stuck(Movable):
        def load(self, device, dtype):
            pass

    network = Stuck().networks[0]
    monkeypatch.setattr("fdfo.rewards.weighted.build_reward", lambda entry: Stuck())
    for error, kind, said in (
        (
            torch.OutOfMemoryError("full"),
            torch.OutOfMemoryError,
            "'stuck' ran out of memory while its network was moved",
        ),
        (ValueError("too few bits"), RewardError, "'stuck' failed while its network was moved .*: too few bits"),
    ):

        def to(self, device, error=error):
            raise error

        monkeypatch.setattr(type(network), "to", to)
        total = WeightedSum([RewardConfig(name="stuck", offload=offload)])
        with pytest.raises(kind, match=said):
            total.load(torch.device("meta"), torch.float32)


def test_a_network_that_was_moved_in_part_goes_back(monkeypatch):
    def move(network, device):
        network.weight.data = network.weight.data.clone()
        raise torch.OutOfMemoryError("full")

    reward = Visiting()
    home = reward.networks[0].weight.data_ptr()
    monkeypatch.setattr("fdfo.rewards.weighted.build_reward", lambda entry: reward)
    monkeypatch.setattr("fdfo.offload.move", move)
    with pytest.raises(torch.OutOfMemoryError):
        WeightedSum([RewardConfig(name="visiting", offload=True)]).load(torch.device("cpu"), torch.float32)
    assert reward.networks[0].weight.data_ptr() == home


def test_what_cannot_leave_the_device_cannot_be_offloaded():
    def vlm(**options):
        return WeightedSum([RewardConfig(name="vlm", **options)])

    with pytest.raises(RewardError, match=r"reward 'vlm': .* use quantize: 4bit, or remove offload"):
        vlm(quantize="8bit", offload=True)
    assert vlm(quantize="8bit").names == vlm(quantize="4bit", offload=True).names == ["vlm"]


def test_the_scales_of_weights_in_few_bits_leave_with_them():
    """bitsandbytes moves them beside the data when weights are moved."""

    class Quantized(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(8, dtype=torch.uint8), requires_grad=False)
            self.weight.quant_state = QuantState(absmax=torch.ones(2), code=torch.ones(16), blocksize=4)

        def to(self, device):
            state = self.weight.quant_state
            super().to(device)
            self.weight.quant_state = state
            state.to(device)
            return self

    with VirtualCard() as card:
        network = Quantized()
        for _ in range(2):
            with temporarily_on([network], CARD):
                assert network.weight.quant_state.absmax.device == CARD
            assert network.weight.device.type == network.weight.quant_state.code.device.type == "cpu"
            assert card.held == 0
