"""Where an adapter is: a folder on disk, or a (sub)folder of a hub repository."""

from hashlib import sha256
from pathlib import Path

from fdfo.errors import ModelError
from fdfo.files import file_digest
from fdfo.hub import LOADING_ERRORS, hub_advice, quiet_loading, reaching_hub
from fdfo.models.weights import ADAPTER_CONFIG, ADAPTER_FILE, EMA_FILE, FULL_FILE

FILES = (ADAPTER_CONFIG, ADAPTER_FILE)
"""Of an adapter in PEFT's format."""


def find_adapter(name: str) -> Path:
    """The local folder of `folder`, `owner/repository` or `owner/repository:subfolder`, fetched where it is on the hub.

    Raises ModelError when it is neither on disk nor to be had.
    """
    if Path(name).is_dir():
        return Path(name)
    repository, _, subfolder = name.partition(":")
    if repository.count("/") != 1 or repository.startswith((".", "/", "~")):
        raise ModelError(f"adapter {name}: no such folder; give a folder, or OWNER/REPOSITORY:SUBFOLDER of the hub")
    from huggingface_hub import snapshot_download

    inside = f"{subfolder.strip('/')}/" if subfolder else ""  # and not the folders below it
    try:
        with quiet_loading(), reaching_hub(repository):
            root = snapshot_download(repository, allow_patterns=[f"{inside}{name}" for name in FILES])
    except LOADING_ERRORS as error:
        raise ModelError(f"adapter {name}: {hub_advice(error, None)}") from error
    folder = Path(root) / subfolder.strip("/")
    if not (folder / ADAPTER_CONFIG).is_file():
        where = f"its folder {subfolder!r}" if subfolder else "the repository, outside its folders,"
        raise ModelError(f"adapter {name}: {where} has no {ADAPTER_CONFIG}; name the folder that has it after a colon")
    return folder


def weights_digest(folder: Path) -> str:
    """SHA-256 of the files of weights and adapters in a folder."""
    digest = sha256()
    for name in (*FILES, FULL_FILE, EMA_FILE):
        if (folder / name).is_file():
            digest.update(bytes.fromhex(file_digest(folder / name)))
    return digest.hexdigest()
