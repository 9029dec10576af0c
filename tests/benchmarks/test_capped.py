"""The capped epoch runs: here with small networks of the same classes, on a CPU and on a virtual card."""

import pytest
import torch

from benchmarks.memory import capped
from benchmarks.memory.virtual import CARD, VirtualCard
from benchmarks.scores.network_shapes import SMALL
from benchmarks.speed import scale
from fdfo.models.architectures import ARCHITECTURES
from fdfo.planning.memory import GIB

PRESET = "sd35-medium-24gb"

TEXT = {"num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
CHANGES = {
    "text_encoder/config.json": {**TEXT, "projection_dim": 32},
    "text_encoder_2/config.json": {**TEXT, "projection_dim": 32},
    "text_encoder_3/config.json": {"d_model": 64, "d_ff": 64, "d_kv": 16, "num_heads": 4, "num_layers": 1},
    "transformer/config.json": {
        "num_layers": 2,
        "num_attention_heads": 2,
        "attention_head_dim": 16,
        "caption_projection_dim": 32,
        "joint_attention_dim": 64,
        "pooled_projection_dim": 64,
        "dual_attention_layers": [0],
    },
    "vae/config.json": {"block_out_channels": [8] * 4, "norm_num_groups": 4},
}
FEW = ("policy.compile=false", "method.steps=2", "optim.updates_per_epoch=2")
SIZES = ("train.micro_batch=2", "train.sample_batch=2")


@pytest.fixture
def small(monkeypatch):
    networks = {path: {**content, **CHANGES.get(path, {})} for path, content in ARCHITECTURES[scale.MEDIUM].items()}
    monkeypatch.setitem(ARCHITECTURES, scale.MEDIUM, networks)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_an_epoch_of_the_preset_with_random_networks(small, monkeypatch, tmp_path):
    monkeypatch.setattr(scale, "DEVICE", torch.device("cpu"))
    config = capped.configured(PRESET, [*FEW, *SIZES, "prompts.pairs_per_epoch=2"], tmp_path, SMALL)
    named = [(entry.title, entry.weight, entry.offload) for entry in (*config.reward, *config.eval.rewards)]
    assert named == [
        ("pickscore", 1.0, True),
        ("vlm-alignment", 0.1, True),
        ("hpsv2", 1.0, True),
        ("clip-l14", 1.0, True),
    ]
    assert capped.peaks_of(config, torch.device("cpu")) == ({}, [])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_what_a_card_without_room_halves_is_told(small):
    changes = [*FEW, *SIZES, "reward=[jpeg]", "eval.rewards=[]"]
    with VirtualCard():
        peaks = capped.measured(PRESET, changes, 24, CARD, SMALL)
    assert peaks.counted_gib.keys() == peaks.planned_gib.keys()
    assert (peaks.micro_batch, peaks.sample_batch, peaks.halved) == (2, 2, [])
    room = round(0.8 * peaks.counted_gib["decode"] * GIB)
    with VirtualCard(room):
        assert capped.measured(PRESET, changes, 24, CARD, SMALL).halved == ["sample_batch"]
