"""Tensor files that are whole or absent, named by the settings they belong to."""

import os
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor


def write(path: Path, tensors: dict[str, Tensor], fingerprint: str, **numbers: float) -> None:
    """Write tensors and numbers so that a crash at any moment leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    metadata = {"fingerprint": fingerprint} | {name: repr(number) for name, number in numbers.items()}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, temporary, metadata)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path, fingerprint: str) -> dict[str, Tensor] | None:
    """The tensors of `path`, or None when it is absent or belongs to other settings."""
    if not path.exists():
        return None
    with safe_open(path, framework="pt") as file:
        if file.metadata()["fingerprint"] != fingerprint:
            return None
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict


def read_number(path: Path, name: str) -> float:
    """A number written with the tensors."""
    with safe_open(path, framework="pt") as file:
        return float(file.metadata()[name])
