"""Encoded prompts: once, equal from disk, bounded in memory."""

import pytest
import torch
from huggingface_hub import constants

from fdfo.errors import ModelError
from fdfo.models import load_policy, prompt_cache
from fdfo.models.prompt_cache import PromptCache, encoder_identity
from fdfo.models.source import ModelSource
from fdfo.records import Conditioning

TEXTS = ["a red circle", "naïve {braces} \n" + "x" * 10_000]


def encoded(text):
    return Conditioning(tokens=torch.full((1, 2, 3), float(len(text))), pooled=torch.ones(1, 4))


def refused(text):
    raise AssertionError(f"{text!r} was to be encoded again")


def test_a_later_run_reads_the_same_numbers(tmp_path, monkeypatch):
    first = load_policy("shapes", prompt_cache=tmp_path).encode(TEXTS)
    again = load_policy("shapes", prompt_cache=tmp_path)
    monkeypatch.setattr(again, "_encode_one", refused)
    second = again.encode(TEXTS)
    assert torch.equal(first.tokens, second.tokens)
    assert torch.equal(first.pooled, second.pooled)
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"] * 2


def test_another_encoder_does_not_see_them(tmp_path):
    PromptCache(tmp_path, "one").fill(TEXTS, encoded)
    assert PromptCache(tmp_path, "two").missing(TEXTS) == TEXTS
    assert PromptCache(tmp_path, "one").missing(TEXTS) == []


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
        return encoder_identity(source, text_tokens=128, dtype="bfloat16", t5=True)

    first, second = "a" * 40, "b" * 40
    assert identity(first) == identity(first) != identity(second)
    assert identity(second, revision=first) == identity(first)


@pytest.mark.parametrize("content", [b"", b"not safetensors"])
def test_a_damaged_file_is_encoded_again(tmp_path, content):
    PromptCache(tmp_path, "one").fill(TEXTS[:1], encoded)
    (path,) = tmp_path.iterdir()
    path.write_bytes(content)
    cache = PromptCache(tmp_path, "one")
    cache.fill(TEXTS[:1], encoded)
    assert torch.equal(cache[TEXTS[0]].tokens, encoded(TEXTS[0]).tokens)
    assert PromptCache(tmp_path, "one").missing(TEXTS[:1]) == []


def test_memory_is_bounded_and_the_disk_remembers(tmp_path, monkeypatch):
    monkeypatch.setattr(prompt_cache, "HOST_BYTES", 3 * encoded("a").nbytes)
    cache = PromptCache(tmp_path, "one")
    for text in "abcde":
        cache.fill([text], encoded)
    with pytest.raises(KeyError):
        cache["a"]
    cache.fill(["a"], refused)
    assert torch.equal(cache["a"].tokens, encoded("a").tokens)


def test_what_was_filled_in_together_stays_until_something_new_comes(monkeypatch):
    monkeypatch.setattr(prompt_cache, "HOST_BYTES", 3 * encoded("a").nbytes)
    cache = PromptCache(None, "one")
    cache.fill("abcdefgh", encoded)
    for part in ("ab", "cd", "ef", "gh", "ab"):
        cache.fill(part, refused)
    cache.fill("i", encoded)
    assert cache.missing("abcdefghi") == list("cdefgh")


def test_a_folder_that_cannot_be_made_is_explained(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="prompt_cache"):
        load_policy("shapes", prompt_cache=tmp_path / "file" / "folder")
