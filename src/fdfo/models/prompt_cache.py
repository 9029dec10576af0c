"""Encoded prompts, each encoded once: in host memory, and on disk where a folder is given."""

import hashlib
import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fdfo.errors import ModelError
from fdfo.files import give_usual_permissions
from fdfo.models.source import ModelSource
from fdfo.records import Conditioning

HOST_BYTES = 2 * 2**30
"""Host memory for encoded prompts, least recently used first out; SD3.5 with 128 T5 tokens takes 1.7 MB a prompt."""


class PromptCache:
    """Conditioning by text, one row each, on the CPU.

    Files are written under a temporary name and renamed, so that processes may share a folder; one that cannot be read
    is encoded again. `identity` says what encoded the texts: another one never sees these files. Raises ModelError for
    a folder that cannot be made.
    """

    def __init__(self, folder: Path | None, identity: str):
        self._folder, self._identity = folder, identity
        self._held: OrderedDict[str, Conditioning] = OrderedDict()
        self._has_grown = False
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ModelError(f"policy.prompt_cache={folder}: {error.strerror}; give another folder") from error

    def __getitem__(self, text: str) -> Conditioning:
        """A text that `fill` was called with last."""
        return self._held[text]

    def missing(self, texts: Collection[str]) -> list[str]:
        """Those of distinct texts that are to be encoded; the others are in memory then."""
        return [text for text in texts if text not in self._held and not self._read(text)]

    def fill(
        self, texts: Collection[str], encode: Callable[[str], Conditioning], watch: Callable[[], None] = lambda: None
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

    def _hold(self, text: str, encoded: Conditioning) -> None:
        self._held[text], self._has_grown = encoded, True

    def _let_go(self, kept: int) -> None:
        """Of those held, the least recently used; the last `kept` stay in any case."""
        size = sum(part.nbytes for part in self._held.values())
        while size > HOST_BYTES and len(self._held) > kept:
            size -= self._held.popitem(last=False)[1].nbytes
        self._has_grown = False

    def _path(self, text: str) -> Path | None:
        key = hashlib.sha256(f"{self._identity}\0{text}".encode()).hexdigest()
        return None if self._folder is None else self._folder / f"{key}.safetensors"

    def _read(self, text: str) -> bool:
        path = self._path(text)
        if path is None or not path.is_file():
            return False
        try:
            self._hold(text, Conditioning(**load_file(path)))
        except (OSError, SafetensorError, TypeError):
            return False
        return True

    def _write(self, text: str) -> None:
        path, encoded = self._path(text), self._held[text]
        if path is None:
            return
        content = save({"tokens": encoded.tokens.contiguous(), "pooled": encoded.pooled.contiguous()})
        handle, name = tempfile.mkstemp(dir=path.parent, suffix=".tmp")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
            give_usual_permissions(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def encoder_identity(source: ModelSource, *, text_tokens: int, dtype: str, t5: bool) -> str:
    """What determines how a text is encoded: a hub id's commit, once it is loaded; a local folder's encoder files."""
    root = Path(source.location)
    files = sorted(root.glob("text_encoder*/*.safetensors")) + sorted(root.glob("tokenizer*/*"))
    stamps = [(str(path.relative_to(root)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    return repr((source.name, source.commit, text_tokens, dtype, t5, stamps))
