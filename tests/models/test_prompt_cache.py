"""Encoded prompts: once, equal from disk, bounded in memory."""

import pytest
import torch
from huggingface_hub import constants
from torch.testing import assert_close

from fdfo.errors import ModelError
from fdfo.models import load_policy
from fdfo.models.prompt_cache import PromptCache, encoder_identity
from fdfo.models.source import ModelSource

TEXTS = ["a red circle", "naïve {braces} \n" + "x" * 10_000]


def encoded(text):
    return {"tokens": torch.full((1, 2, 3), float(len(text))), "pooled": torch.ones(1, 4)}


NBYTES, SHARED = 4 * 6, 4 * 4
"""Of a text, and of what all of them share."""


def cache(folder, identity="one", gib=1.0):
    return PromptCache(folder, identity, gib)


def gib_of(texts):
    return (texts * NBYTES + SHARED) / 2**30


def refused(text):
    raise AssertionError(f"{text!r} was to be encoded again")


def test_a_later_run_reads_the_same_numbers(tmp_path, monkeypatch):
    first = load_policy("shapes", prompt_cache=tmp_path).encode(TEXTS)
    again = load_policy("shapes", prompt_cache=tmp_path)
    monkeypatch.setattr(again, "_encode_one", refused)
    second = again.encode(TEXTS)
    assert_close(first.rows, second.rows, rtol=0, atol=0)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"] * 2


def test_another_encoder_does_not_see_them(tmp_path):
    cache(tmp_path, "one").fill(TEXTS, encoded)
    assert cache(tmp_path, "two").missing(TEXTS) == TEXTS
    assert cache(tmp_path, "one").missing(TEXTS) == []


@pytest.mark.parametrize("name", ["someone/pipeline", "stabilityai/stable-diffusion-3.5-medium"])
def test_another_commit_of_a_hub_model_is_another_encoder(tmp_path, monkeypatch, name):
    """A hub cache whose `main` moves on, as a download leaves it; the second name is known without one."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    place = tmp_path / f"models--{name.replace('/', '--')}"
    (place / "refs").mkdir(parents=True)

    def identity(commit, revision=None):
        (place / "snapshots" / commit).mkdir(parents=True, exist_ok=True)
        (place / "snapshots" / commit / "model_index.json").write_text("{}")
        (place / "refs" / "main").write_text(commit)
        source = ModelSource.find(name, revision)
        return encoder_identity(source, 128, "bfloat16", True)

    first, second = "a" * 40, "b" * 40
    assert identity(first) == identity(first) != identity(second)
    assert identity(second, revision=first) == identity(first)


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_a_damaged_file_is_encoded_again(tmp_path, content):
    cache(tmp_path, "one").fill(TEXTS[:1], encoded)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    again = cache(tmp_path, "one")
    again.fill(TEXTS[:1], encoded)
    assert_close(again[TEXTS[0]], encoded(TEXTS[0]), rtol=0, atol=0)
    assert cache(tmp_path, "one").missing(TEXTS[:1]) == []


def test_memory_is_bounded_and_the_disk_remembers(tmp_path):
    held = cache(tmp_path, gib=gib_of(3))
    texts = ["a", "bb", "ccc", "dddd", "eeeee"]
    for text in texts:
        held.fill([text], encoded)
    assert [text in held._held for text in texts] == [False, False, True, True, True]
    held.fill(["a"], refused)
    assert_close(held["a"], encoded("a"), rtol=0, atol=0)


def test_what_prompts_share_is_held_once():
    held = cache(None)
    held.fill(["a", "bb"], encoded)
    assert held["a"]["pooled"] is held["bb"]["pooled"]
    assert held["a"]["tokens"] is not held["bb"]["tokens"]


def test_what_was_filled_in_together_stays_until_something_new_comes():
    held = cache(None, gib=gib_of(3))
    texts = ["x" * n for n in range(1, 10)]
    held.fill(texts[:8], encoded)
    for start in (0, 2, 4, 6, 0):
        held.fill(texts[start : start + 2], refused)
    held.fill(texts[8:], encoded)
    assert held.missing(texts) == texts[2:8]


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="prompt_cache"):
        load_policy("shapes", prompt_cache=tmp_path / "file" / "folder")
