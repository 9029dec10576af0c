"""benchmarks.scores.rewards on scores whose time and memory are known, and its page."""

from dataclasses import asdict, replace

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from benchmarks.scores import overlap, rewards
from benchmarks.scores.network_shapes import CLIP_H, CLIP_L, QWEN, SMALL
from benchmarks.scores.networks import random_network
from benchmarks.scores.reward_cases import Case, cases
from benchmarks.scores.rewards_page import page
from fdfo.config.tree import RewardConfig
from fdfo.planning.scores import PARAMETERS

CPU = torch.device("cpu")
SCORES = """
import time

def slow(images, prompts, metadata):
    time.sleep(0.02)
    return images.mean((1, 2, 3))

def large(images, prompts, metadata):
    return images.mean((1, 2, 3)) + images.new_zeros(5_000_000)[0]

def odd(images, prompts, metadata):
    return images if len(images) > 1 else images.mean((1, 2, 3))
"""


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(rewards, "SECONDS", 0.0)
    monkeypatch.setattr(rewards, "BATCHES", (1, 4))


@pytest.fixture
def measured(tmp_path):
    """The rows of one of `SCORES`."""
    (tmp_path / "scores.py").write_text(SCORES)

    def measured(name):
        entry = RewardConfig(name=f"{tmp_path}/scores.py:{name}")
        return list(rewards.rates(Case(title=name, network="none", entry=entry, side=8), CPU))

    return measured


def test_images_a_second_are_those_of_the_score(measured):
    for row in measured("slow"):
        assert row.batch / 2 < row.images_per_s <= row.batch / 0.02  # a busy machine may take longer, none takes less


def test_peak_is_what_a_call_holds(measured):
    for row in measured("large"):
        assert 20e6 <= row.peak_bytes < 20.1e6
        assert (row.parameters, row.weight_bytes) == (0, 0)


def test_what_fails_becomes_a_row_and_the_rest_is_measured(measured):
    alone, together = measured("odd")
    assert alone.batch == 1 and alone.images_per_s > 0
    assert together.batch == 4 and "RewardError: reward" in together.failed
    (missing,) = measured("gone")
    assert missing.batch is None and "no 'gone' in the file" in missing.failed


@pytest.mark.parametrize("title", ["pickscore", "image-reward", "vlm-alignment"])
def test_small_networks_are_scored_by_the_real_rewards(title, tmp_path, monkeypatch):
    monkeypatch.setattr(rewards, "BATCHES", (2,))
    (case,) = [case for case in cases(tmp_path, SMALL) if case.title == title]
    (row,) = rewards.rates(case, CPU)
    assert row.weight_bytes >= 2 * row.parameters > 0
    assert not list(tmp_path.rglob("model*.safetensors"))


@pytest.mark.parametrize(
    ("kind", "config", "name"),
    [
        (CLIPModel, CLIPConfig(**CLIP_H), "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"),
        (CLIPModel, CLIPConfig(**CLIP_L), "openai/clip-vit-large-patch14"),
        (Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLConfig(**QWEN), "Qwen/Qwen2.5-VL-7B-Instruct"),
    ],
    ids=["H", "L", "Qwen"],
)
def test_published_shapes_have_as_many_parameters_as_the_published_files(kind, config, name):
    network = random_network(kind, config, torch.device("meta"), torch.float32)
    assert sum(parameter.numel() for parameter in network.parameters()) == PARAMETERS[name]


def test_sampling_hides_the_wait_for_a_server(monkeypatch):
    monkeypatch.setattr(overlap, "LEAST_PAIRS", 2)
    options = ("method.steps=4",)
    setting = replace(overlap.EMBEDDED, options=options, prompts=2, prompts_a_batch=1, wait_s=0.1, seconds=0.0)
    ((_, measure),) = [pair for pair in overlap.measurements([], CPU, setting).items() if "remote" in pair[0]]
    row = measure()
    assert (row.images, row.batches, len(row.apart_s), len(row.together_s)) == (4, 2, 2, 2)
    assert min(row.waited_s) < 0.2 <= min(row.score_s)  # two batches of 0.1 s; part of the first is hidden


def test_page_tells_rates_overlap_and_failures():
    rate = rewards.Rate(
        score="s",
        network="n",
        side=8,
        batch=1,
        parameters=2_000_000,
        weight_bytes=2**31,
        images_per_s=12.0,
        peak_bytes=2**20,
    )
    failure = rewards.Failure(score="ocr", failed="not installed")
    seconds = {"apart_s": [3.0, 3.0], "score_s": [2.0, 2.0], "together_s": [2.0, 2.0], "waited_s": [0.5, 0.5]}
    both = overlap.Overlap(score="remote", recipe="shapes", images=8, batches=4, **seconds)
    content = {
        "machine": "a card",
        "command": "c",
        "date": "d",
        "versions": {"torch": "2"},
        "full_size": True,
        "note": "",
    }
    text = page([{**content, "rates": [asdict(rate), asdict(failure)], "overlaps": [asdict(both)]}], "x.json")
    assert "| `s` | n | 2.0 M | 2.00 GiB | 12 | 1.00 MiB |" in text
    assert "- `ocr`: not installed" in text
    assert "at most 75%" in text
    assert "| remote | 2 | 3.00 | 2.00 | 2.00 | 0.50 | 1.00 [1.00, 1.00] | 50% [50%, 50%] |" in text
