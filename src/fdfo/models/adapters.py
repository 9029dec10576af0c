"""Where an adapter is: a file or folder on disk, or a file or (sub)folder of a hub repository."""

import os
from hashlib import sha256
from pathlib import Path

from fdfo.errors import ModelError
from fdfo.files import file_digest
from fdfo.hub import LOADING_ERRORS, hub_advice, quiet_loading, reaching_hub
from fdfo.models.lora_files import ADAPTER_CONFIG, ADAPTER_FILE, LORA_FILE
from fdfo.models.weights import EMA_FILE, FULL_FILE

FILES = (ADAPTER_CONFIG, ADAPTER_FILE)
"""Of an adapter in PEFT's format."""

SUFFIX = ".safetensors"


def find_adapter(name: str) -> Path:
    """The local file or folder of a path, `owner/repository`, or `owner/repository:subfolder` or `:file.safetensors`.

    What is on the hub is fetched. Raises ModelError when it is neither on disk nor to be had.
    """
    if os.path.exists(name):  # Path.exists raises where a name is too long
        return Path(name)
    repository, _, inside = name.partition(":")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")) or Path(repository).suffix == SUFFIX:
        raise ModelError(
            f"adapter {name}: no such file or folder; give one, or OWNER/REPOSITORY:SUBFOLDER of the hub, "
            f"or OWNER/REPOSITORY:FILE{SUFFIX}"
        )
    from huggingface_hub import snapshot_download

    inside = inside.strip("/")
    below = f"{inside}/" if inside else ""  # and not the folders below it
    wanted = [inside] if inside.endswith(SUFFIX) else [f"{below}{file}" for file in (*FILES, LORA_FILE)]
    try:
        with quiet_loading(), reaching_hub(repository):
            root = snapshot_download(repository, allow_patterns=wanted)
    except LOADING_ERRORS as error:
        raise ModelError(f"adapter {name}: {hub_advice(error, None)}") from error
    place = Path(root) / inside
    if not any(path.is_file() for path in (place, place / ADAPTER_CONFIG, place / LORA_FILE)):
        where = f"its folder {inside!r}" if inside else "the repository, outside its folders,"
        raise ModelError(
            f"adapter {name}: {where} has no {ADAPTER_CONFIG}, and no {LORA_FILE}; "
            "name the folder or file after a colon"
        )
    return place


def weights_digest(place: Path) -> str:
    """SHA-256 of an adapter's file, or of the files of weights and adapters in a folder."""
    if place.is_file():
        return file_digest(place)
    digest = sha256()
    files = [place / name for name in (*FILES, FULL_FILE, EMA_FILE)]
    for path in [path for path in files if path.is_file()] or sorted(place.glob(f"*{SUFFIX}")):
        digest.update(bytes.fromhex(file_digest(path)))
    return digest.hexdigest()
