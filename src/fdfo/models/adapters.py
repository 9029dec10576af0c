"""Where an adapter is: a folder on disk, or a (sub)folder of a hub repository."""

from pathlib import Path

from fdfo.errors import ModelError
from fdfo.hub import LOADING_ERRORS, hub_advice, quiet_loading, reaching_hub


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

    try:
        with quiet_loading(), reaching_hub(repository):
            root = snapshot_download(repository, allow_patterns=f"{subfolder}/*" if subfolder else None)
    except LOADING_ERRORS as error:
        raise ModelError(f"adapter {name}: {hub_advice(error, None)}") from error
    folder = Path(root) / subfolder
    if not folder.is_dir():
        raise ModelError(f"adapter {name}: the repository has no folder {subfolder!r}")
    return folder
