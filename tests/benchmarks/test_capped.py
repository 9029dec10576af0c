"""The capped epoch runs: here with small networks of the same classes, on a CPU, whose peaks are not told."""

import pytest
import torch

from benchmarks import capped, scale
from benchmarks.network_shapes import SMALL
from fdfo.models.known import KNOWN

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
FEW = ("policy.compile=false", "method.steps=2", "optim.updates_per_epoch=2", "train.micro_batch=2")


@pytest.mark.filterwarnings("ignore")
def test_an_epoch_of_the_preset_with_random_networks(monkeypatch, tmp_path):
    small = {path: {**content, **CHANGES.get(path, {})} for path, content in KNOWN[capped.MEDIUM].items()}
    monkeypatch.setitem(KNOWN, capped.MEDIUM, small)
    monkeypatch.setattr(scale, "DEVICE", torch.device("cpu"))
    config = capped.configured(tmp_path, SMALL, 2, *FEW)
    assert [(entry.title, entry.weight, entry.offload) for entry in config.reward] == [
        ("pickscore", 1.0, True),
        ("vlm-alignment", 0.1, True),
    ]
    peaks, seconds = capped.measure(config, small)
    assert peaks == {}
    assert seconds > 0
