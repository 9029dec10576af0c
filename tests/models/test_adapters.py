"""Where adapters are found: on disk, or in a folder of a hub repository, of which only their own files are fetched."""

from fnmatch import fnmatch

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from fdfo.errors import ModelError
from fdfo.hub import HTTP_ERROR
from fdfo.models.adapters import find_adapter

BOTH = ["adapter_config.json", "adapter_model.safetensors"]
PUBLISHED = "a-run/epoch-0000100"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A repository with one adapter two folders down; returns what was asked for, and of whom."""
    asked = []
    held = [f"{PUBLISHED}/{name}" for name in (*BOTH, "optimizer.pt", "lora.safetensors")] + [
        "README.md",
        f"{PUBLISHED}/more/{BOTH[0]}",
    ]

    def snapshot_download(repository, *, allow_patterns):
        fetched = [name for name in held if any(fnmatch(name, pattern) for pattern in allow_patterns)]
        asked.append((repository, fetched))
        for name in fetched:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_a_local_folder_is_taken_as_it_is(hub, tmp_path):
    assert find_adapter(str(tmp_path)) == tmp_path
    assert hub == []


@pytest.mark.parametrize("subfolder", [PUBLISHED, f"/{PUBLISHED}/"])
def test_of_a_repository_the_two_files_of_the_adapter_are_fetched(hub, tmp_path, subfolder):
    assert find_adapter(f"owner/repo:{subfolder}") == tmp_path / PUBLISHED
    assert hub == [("owner/repo", [f"{PUBLISHED}/{name}" for name in BOTH])]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("owner/repo", "the repository, outside its folders, has no adapter_config.json,"),
        ("owner/repo:a-run", "its folder 'a-run' has no adapter_config.json,"),
    ],
)
def test_a_place_without_an_adapter_is_explained(hub, name, said):
    with pytest.raises(
        ModelError,
        match=f"adapter {name}: {said} and no pytorch_lora_weights.safetensors; name the folder or file after a colon",
    ):
        find_adapter(name)


def test_a_file_of_a_repository_is_named_and_fetched_alone(hub, tmp_path):
    file = f"{PUBLISHED}/lora.safetensors"
    assert find_adapter(f"owner/repo:{file}") == tmp_path / file
    assert hub == [("owner/repo", [file])]


@pytest.mark.parametrize(
    "name", ["gone", "gone/lora.safetensors", "./gone/run", "/gone/run", "~/gone", "a/b/c", "a/b/c:d"]
)
def test_what_is_neither_a_folder_nor_of_the_hub_is_explained(hub, name):
    with pytest.raises(ModelError, match="no such file or folder; give one, or OWNER/REPOSITORY:SUBFOLDER of the hub"):
        find_adapter(name)
    assert hub == []


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LocalEntryNotFoundError("no"), "the hub cannot be reached; check the connection"),
        (HFValidationError("no"), "not a hub id"),
        (HTTP_ERROR("read timed out"), "the hub stopped answering while loading"),
        (OSError("disk full"), "cannot be loaded: disk full"),
    ],
    ids=repr,
)
def test_errors_of_the_hub_are_explained(monkeypatch, error, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(ModelError, match=f"adapter owner/repo:run: .*{said}"):
        find_adapter("owner/repo:run")
