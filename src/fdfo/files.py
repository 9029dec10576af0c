"""Writing so that a kill at any moment leaves the old or the new content, never half of one."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


def cache_folder(name: str) -> Path:
    """Where what was fetched is kept between runs: `fdfo/NAME` below $XDG_CACHE_HOME or ~/.cache; may not be there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fdfo" / name


def at_home(path: str | Path) -> Path:
    """A path with the home folder in place of ~ or ~name; as it is where nobody has that name."""
    return Path(os.path.expanduser(path))


def shown_names(folder: Path) -> set[str]:
    """Names in a folder without hidden ones, which are locks and unfinished files; empty where it is none.

    Raises OSError for one that cannot be read.
    """
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")} if folder.is_dir() else set()


def file_digest(path: Path) -> str:
    """SHA-256 of a file, however large. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write to a temporary name of its own, flush to disk, rename. Raises OSError with nothing changed."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    data = content.encode() if isinstance(content, str) else content
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """As `write_atomically`, one JSON document; a non-finite number is written as null."""
    write_atomically(path, json.dumps(finite(content), indent=1, allow_nan=False) + "\n")


def save_tensors(tensors: "dict[str, Tensor]", path: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file, with facts in its header and the permissions of any new file.

    Raises OSError or SafetensorError.
    """
    from safetensors.torch import save_file

    save_file(tensors, path, None if facts is None else dict(facts))
    give_usual_permissions(path)


def give_usual_permissions(path: Path) -> None:
    """Those of a new file under the user's umask: safetensors (0.8) writes files that only their owner can read."""
    mask = os.umask(0o077)  # reading it means setting it
    os.umask(mask)
    path.chmod(0o666 & ~mask)


def finite(content: Any) -> Any:
    """The same JSON-like content with every non-finite number replaced by None."""
    if isinstance(content, float):
        return content if content == content and abs(content) != float("inf") else None
    if isinstance(content, dict):
        return {key: finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content
