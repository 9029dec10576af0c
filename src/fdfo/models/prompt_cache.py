"""Encoded prompts, each encoded once: in host memory, and on disk where a folder is given."""

import hashlib
import os
import tempfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from weakref import WeakValueDictionary

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Size, Tensor

from fdfo.errors import SettingError
from fdfo.files import give_usual_permissions
from fdfo.models.source import ModelSource
from fdfo.models.structure import Row


class PromptCache:
    """Rows of conditioning by text, on the CPU; tensors that are equal to those of the row before are the same object.

    Files are written under a temporary name and renamed, so that processes may share a folder; one that cannot be read
    is encoded again. `identity` says what encoded the texts: another one never sees these files. In memory there are at
    most `gib` GiB, least recently used first out. Raises SettingError for a folder that cannot be made.
    """

    def __init__(self, folder: Path | None, identity: str, gib: float):
        self._folder, self._identity, self._bytes = folder, identity, round(gib * 2**30)
        self._held: OrderedDict[str, Row] = OrderedDict()
        self._last: WeakValueDictionary[tuple[str, Size], Tensor] = WeakValueDictionary()
        self._has_grown = False
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise SettingError(f"policy.prompt_cache={folder}: {error.strerror}; give another folder") from error

    def __getitem__(self, text: str) -> Row:
        """A text that `fill` was called with last."""
        return self._held[text]

    def missing(self, texts: Collection[str]) -> list[str]:
        """Those of distinct texts that are to be encoded; the others are in memory then."""
        return [text for text in texts if text not in self._held and not self._read(text)]

    def fill(
        self, texts: Collection[str], encode: Callable[[str], Row], watch: Callable[[], None] = lambda: None
    ) -> None:
        """Have all of distinct texts in memory, encoding those that are missing; `watch` is called before each."""
        for text in self.missing(texts):
            watch()
            self._hold(text, encode(text))
            self._write(text)
        for text in texts:
            self._held.move_to_end(text)
        if self._has_grown:  # else these are a part of what was filled in last, whose rest comes next
            self._let_go(len(texts))

    def _hold(self, text: str, encoded: Row) -> None:
        """Keep a row; a negative prompt, positions and the like are then there once, not once a prompt."""
        row = {}
        for name, tensor in encoded.items():
            last = self._last.get((name, tensor.shape))
            self._last[name, tensor.shape] = row[name] = last if last is not None and last.equal(tensor) else tensor
        self._held[text], self._has_grown = row, True

    def _let_go(self, kept: int) -> None:
        """Of those held, the least recently used; the last `kept` stay in any case."""
        holders = Counter(id(tensor) for row in self._held.values() for tensor in row.values())
        size = sum({id(tensor): tensor.nbytes for row in self._held.values() for tensor in row.values()}.values())
        while size > self._bytes and len(self._held) > kept:
            for tensor in self._held.popitem(last=False)[1].values():
                holders[id(tensor)] -= 1
                size -= tensor.nbytes * (holders[id(tensor)] == 0)
        self._has_grown = False

    def _path(self, text: str) -> Path | None:
        key = hashlib.sha256(f"{self._identity}\0{text}".encode()).hexdigest()
        return None if self._folder is None else self._folder / f"{key}.safetensors"

    def _read(self, text: str) -> bool:
        path = self._path(text)
        if path is None or not path.is_file():
            return False
        try:
            self._hold(text, load_file(path))
        except (OSError, SafetensorError):
            return False
        return True

    def _write(self, text: str) -> None:
        path = self._path(text)
        if path is None:
            return
        content = save({name: tensor.clone() for name, tensor in self._held[text].items()})  # some are one object
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            give_usual_permissions(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def encoder_identity(source: ModelSource, *settings: object) -> str:
    """What determines how a text is encoded: a hub id's commit, once it is loaded, or a local folder's encoder files;
    and settings."""
    root = Path(source.location)
    files = sorted(root.glob("text_*/*.safetensors")) + sorted(root.glob("*tokenizer*/*"))
    stamps = [(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return repr((source.name, source.commit, *settings, stamps))
