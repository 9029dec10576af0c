"""What people chose: choices.jsonl beside the run, one line for each choice, and one for each that was taken back.

So it is told when somebody wants to see only the pairs that the other scores cannot decide, and which pairs were left
to these when training went on.
"""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter

from fdfo.kernel_lock import let_go, try_lock
from fdfo.studio.pairs import CHOICES, PictureName, Side

Chosen = Literal["first", "second", "tie", "skip"]

FILE = "choices.jsonl"
POLL_S = 0.01
"""Between looks at a lock that another process has for the time of a write."""


def _moment(text: str) -> str:
    datetime.fromisoformat(text)
    return text


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One person's, between the pictures of a pair."""

    id: str
    """By which a page that sends it again is recognised."""
    pair: str
    prompt: str
    first: PictureName
    second: PictureName
    """Names of the pictures."""
    left: Side
    """Which of them was at the left side."""
    chosen: Chosen
    who: str
    when: Annotated[str, AfterValidator(_moment)]
    """In ISO 8601, UTC."""
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """The pair was seen before it was chosen."""
    repeat: bool = False
    """Whether this person had chosen before, and it was shown again, mirrored, to see whether they choose the same."""


@dataclass(frozen=True, kw_only=True)
class Undo:
    """That a choice was taken back."""

    undo: str
    """The id of the choice."""
    who: str
    when: str


@dataclass(frozen=True, kw_only=True)
class Switch:
    """What a person wants to see from now on."""

    only_undecided: bool
    """Only pairs that the other scores cannot decide."""
    who: str
    when: str


@dataclass(frozen=True, kw_only=True)
class Left:
    """That training went on with pairs left to the other scores, which stays so."""

    left: tuple[str, ...]
    """Keys of the pairs."""
    when: str


Line = Choice | Undo | Switch | Left


@dataclass(frozen=True)
class Written:
    """All that stands in a journal."""

    choices: list[Choice]
    """Those that count, in order."""
    selective: frozenset[str] = frozenset()
    """People who see only pairs that the other scores cannot decide."""
    left: frozenset[str] = frozenset()
    """Keys of the pairs that were left to the other scores."""


def now() -> str:
    """The time, as it is written."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Journal:
    """The file of a run, which several processes may read and write."""

    def __init__(self, run: Path):
        self.path = run / FILE
        self._lock = run / CHOICES / "lock"

    @contextmanager
    def held(self) -> Iterator[None]:
        """Nobody else writes, or closes a round, for the time of the block. Raises OSError; a run folder that is gone
        stays so."""
        self._lock.parent.mkdir(exist_ok=True)
        with open(self._lock, "w") as file:
            while not try_lock(file):
                time.sleep(POLL_S)
            try:
                yield
            finally:
                let_go(file)

    def add(self, choice: Choice) -> None:
        """Write a choice; it is on the disk when this returns. Raises OSError with nothing written. Within `held`."""
        self._append(choice)

    def take_back(self, choice: Choice) -> None:
        """As `add`: it does not count any more."""
        self._append(Undo(undo=choice.id, who=choice.who, when=now()))

    def switch(self, who: str, only_undecided: bool) -> None:
        """As `add`: what a person wants to see."""
        self._append(Switch(only_undecided=only_undecided, who=who, when=now()))

    def leave(self, pairs: Sequence[str]) -> None:
        """As `add`: these pairs, by their keys, are left to the other scores."""
        self._append(Left(left=tuple(pairs), when=now()))

    def choices(self) -> list[Choice]:
        """All that count, in order."""
        return self.read().choices

    def read(self) -> Written:
        """All of it; lines that are none, such as the last one of a killed process, are passed over."""
        found: dict[str, Choice] = {}
        selective: dict[str, bool] = {}
        left: set[str] = set()
        content = self.path.read_bytes() if self.path.is_file() else b""
        for line in content.split(b"\n"):
            with suppress(ValueError):
                done = _LINE.validate_json(line, strict=True)
                match done:
                    case Choice():
                        found[done.id] = done
                    case Undo():
                        found.pop(done.undo, None)
                    case Switch():
                        selective[done.who] = done.only_undecided
                    case Left():
                        left.update(done.left)
        return Written(list(found.values()), frozenset(who for who in selective if selective[who]), frozenset(left))

    def _append(self, done: Line) -> None:
        line = json.dumps(asdict(done), ensure_ascii=False, allow_nan=False).encode() + b"\n"
        with open(self.path, "ab", buffering=0) as file:
            size = file.tell()
            try:
                if size and not self._ends_a_line(size):
                    line = b"\n" + line  # what a killed process began is a line of its own, and none
                if file.write(line) != len(line):
                    raise OSError(28, os.strerror(28))
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(self.path, size)
                raise

    def _ends_a_line(self, size: int) -> bool:
        with open(self.path, "rb") as file:
            file.seek(size - 1)
            return file.read(1) == b"\n"


_LINE = TypeAdapter[Line](Line)
