"""Digests of what determines a run beside its configuration: prompts, code, and files on disk.

Of a hub id the configuration may name the revision; what it leads to is not looked at here.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from fdfo.config.scores import placement_of
from fdfo.config.tree import Config, PolicyConfig, RewardConfig
from fdfo.files import at_home, file_digest
from fdfo.guard.files import file_of, is_file_name
from fdfo.models.adapters import weights_digest
from fdfo.models.source import ModelSource
from fdfo.plugins import find
from fdfo.plugins import names as names_of
from fdfo.records import Prompt
from fdfo.training.imports import file_of_module, imported_from
from fdfo.training.start import start_of

Digests = dict[str, str]
"""SHA-256 digests by what they describe: `code own.py`, `prompts my.txt`."""

WEIGHT_FILES = {
    *(".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx", ".npz", ".npy", ".gguf", ".h5", ".pkl"),
    *(".json", ".yaml", ".txt", ".model", ".jinja"),
}
"""Endings of the files of a model's folder that are digested."""


class Stamp(BaseModel):
    """Size, times and digest of a file. A file is read again only after it was touched."""

    size: int
    modified: int
    changed: int
    digest: str


Stamps = dict[str, Stamp]


def inputs_of(config: Config, training: Sequence[Prompt], held_out: Sequence[Prompt], stamps: Stamps) -> Digests:
    """Digest everything that determines a run; reads `stamps` of its files and renews them."""
    prompts = config.prompts
    method = config.method.name  # type: ignore[attr-defined]
    scores = [*config.reward, *config.eval.rewards]
    return {
        f"prompts {prompts.path or prompts.name}": prompts_digest(training),
        f"held-out prompts {prompts.eval_path or prompts.eval_name or 'set aside'}": prompts_digest(held_out),
        **code_digests([method, *(entry.name for entry in scores)]),
        **model_digests(config.policy.name, config.policy.revision, stamps),
        **(model_digests(config.eval.policy, None, stamps) if config.eval.policy else {}),
        **option_digests(scores, stamps),
        **start_digests(config.policy),
    }


def changed_inputs(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Names of inputs that changed, are new or are gone."""
    return [name for name in {**before, **now} if before.get(name) != now.get(name)]


def prompts_digest(prompts: Sequence[Prompt]) -> str:
    """Digest texts and metadata in their order; the format of their file does not matter."""
    return sha256(repr([(prompt.text, sorted(prompt.metadata.items())) for prompt in prompts]).encode()).hexdigest()


def code_digests(names: Sequence[str]) -> Digests:
    """Digest the files of a user's own code, and all files that these import from their folders."""
    digests = {}
    for path in dict.fromkeys(file_of(name) for name in names if is_file_name(name)):
        digests[f"code {path}"] = file_digest(path)
        for module in imported_from(path.resolve()):
            digests[f"code {path.parent / module.relative_to(path.resolve().parent)}"] = file_digest(module)
    for name, file in _installed(names):
        digests[f"code of {name} {file}"] = file_digest(file)
    return digests


def model_digests(name: str, revision: str | None, stamps: Stamps) -> Digests:
    """Digest the components of a pipeline's folder, or the code of a policy that a file defines."""
    if is_file_name(name):
        return code_digests([name])
    source = ModelSource.find(name, revision)
    root = Path(source.location)
    if not root.is_dir():
        return {}
    components = [root / component for component in source.index if not component.startswith("_")]
    files = [path for folder in components if folder.is_dir() for path in sorted(folder.iterdir()) if path.is_file()]
    return {f"model {name}/{path.relative_to(root)}": _digest(path, stamps) for path in files}


def option_digests(entries: Sequence[RewardConfig], stamps: Stamps) -> Digests:
    """Digest files, and weights in folders, that options of scores name."""
    digests = {}
    for entry in entries:
        for key, path in _paths_in(entry):
            if path.exists():
                files = [path] if path.is_file() else sorted(_weights_in(path))
                digests.update({f"{key} of {entry.title} {file}": _digest(file, stamps) for file in files})
    return digests


def start_digests(config: PolicyConfig) -> Digests:
    """Digest the weights from which a run starts, if it names any. Raises ModelError or CheckpointError."""
    start = start_of(config)
    return {} if start is None else {f"start {config.adapter.start}": weights_digest(start)}


def _paths_in(entry: RewardConfig) -> Iterator[tuple[str, Path]]:
    """Options that may be paths, alone or in lists and sections at any depth, with their values."""
    placement = placement_of(entry.name)
    for key, value in entry.options.items():
        yield from ((key, at_home(text)) for text in _texts_in(value) if key not in placement)


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for one in value:
            yield from _texts_in(one)
    elif isinstance(value, str) and value:
        yield value


def _weights_in(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix in WEIGHT_FILES and path.is_file())


def _digest(path: Path, stamps: Stamps) -> str:
    """Digest a file; take it from its stamp if the file was not touched since."""
    stat, key = path.stat(), str(path.absolute())
    found = {"size": stat.st_size, "modified": stat.st_mtime_ns, "changed": stat.st_ctime_ns}
    if key not in stamps or stamps[key].model_dump(exclude={"digest"}) != found:
        stamps[key] = Stamp(**found, digest=file_digest(path))
    return stamps[key].digest


def _installed(names: Sequence[str]) -> Iterator[tuple[str, Path]]:
    """Files of installed plug-ins: all of their package, none of this one."""
    for name in dict.fromkeys(name for name in names if not is_file_name(name)):
        for kind in ("rewards", "methods"):
            package = (_module_of(kind, name) or "fdfo").partition(".")[0]
            file = file_of_module(sys.modules.get(package))
            if package != "fdfo" and file is not None:
                is_folder = Path(file).name == "__init__.py"
                yield from (
                    (name, one) for one in (sorted(Path(file).parent.rglob("*.py")) if is_folder else [Path(file)])
                )


def _module_of(kind: Any, name: str) -> str | None:
    return getattr(find(kind, name), "__module__", None) if name in names_of(kind) else None
