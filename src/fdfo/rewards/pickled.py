"""Published weights that exist only as a pickle: read once by torch's restricted unpickler, kept as safetensors.

The cache is `fdfo/weights` below $XDG_CACHE_HOME or ~/.cache.
"""

import os
from collections.abc import Callable, Mapping
from hashlib import blake2b
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from fdfo.errors import first_line
from fdfo.files import cache_folder


def published_file(source: str, file: str, revision: str | None) -> Path:
    """A file of a folder or hub id, fetched if need be. Raises what huggingface_hub raises."""
    if Path(source).is_dir():
        return Path(source) / file
    from huggingface_hub import hf_hub_download

    return Path(hf_hub_download(source, file, revision=revision))


def read_pickled(path: Path, arrange: Callable[[Any], Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors that `arrange` picks from a file of torch.save, by name; safetensors are read as they are.

    The unpickler makes tensors and plain containers, and runs nothing (weights_only=True). A file that has not changed
    is unpickled once. Raises OSError for a file that cannot be read, ValueError for one that holds anything else.
    """
    from safetensors.torch import load_file

    if path.suffix == ".safetensors":
        return dict(arrange(load_file(path)))
    stat = path.stat()
    identity = f"{path.resolve()} {stat.st_size} {stat.st_mtime_ns} {arrange.__qualname__}"
    converted = cache_folder("weights") / f"{blake2b(identity.encode(), digest_size=16).hexdigest()}.safetensors"
    if not converted.is_file():
        _convert(path, arrange, converted)
    return load_file(converted)


def _convert(path: Path, arrange: Callable[[Any], Mapping[str, Tensor]], target: Path) -> None:
    from safetensors.torch import save_file

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, EOFError, RuntimeError) as error:
        raise ValueError(f"{path.name} holds more than tensors, or is damaged: {first_line(error)}") from error
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(f".{os.getpid()}.tmp")  # processes of one machine may convert at the same time
    save_file({name: tensor.contiguous().clone() for name, tensor in arrange(content).items()}, temporary)
    temporary.replace(target)
