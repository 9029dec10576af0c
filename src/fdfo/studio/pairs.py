"""What people are asked: pairs of pictures of one prompt.

choices/pictures/NAME.png holds every picture once, by the digest of its pixels. choices/asked/RANK.json is the round
that a process of the run waits for. A pair is known by its prompt and pixels: a run that is repeated after an
interruption draws the same pictures, and finds what was chosen between them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter

from fdfo.files import write_atomically, write_json
from fdfo.own import read_json, sound

Side = Literal["first", "second"]
PictureName = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
"""Of a file below choices/pictures, without its suffix."""

CHOICES = "choices"
"""The folder, below that of the run."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two pictures of a prompt, the names of their files below choices/pictures; in order of these names."""

    prompt: str
    first: PictureName
    second: PictureName

    @property
    def key(self) -> str:
        """By which it is known."""
        return digest(self.prompt, self.first, self.second)

    @property
    def left(self) -> Side:
        """Which one is shown at the left side, at random but always the same."""
        return "first" if self.number("side") < 0.5 else "second"

    def number(self, use: str) -> float:
        """From 0 to 1, at random but always the same."""
        return int(digest(use, self.key)[:12], 16) / 16**12


@dataclass(frozen=True, kw_only=True)
class Round:
    """The pairs of an epoch that one process asks for."""

    number: int
    """How many it has asked for before, since it was started."""
    total: int
    """Pairs that it will have."""
    pairs: tuple[Pair, ...]
    """Those that are drawn."""
    is_closed: bool = False
    """Training goes on with its choices: they stand."""
    undecided: tuple[str, ...] | None = None
    """Keys of the pairs that the other scores cannot decide; None: there are no others, or they are not known yet."""

    @property
    def is_whole(self) -> bool:
        return len(self.pairs) == self.total


def digest(*texts: str) -> str:
    """32 hexadecimal digits of some texts; of none of them can another sequence be made."""
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:32]


def pictures_of(run: Path) -> Path:
    """The folder of the pictures."""
    return run / CHOICES / "pictures"


def keep_picture(run: Path, shape: Sequence[int], pixels: bytes, png: Any) -> str:
    """The name of a picture of these uint8 pixels, whose file is there then; `png()` makes it. Raises OSError."""
    name = hashlib.sha256(f"{tuple(shape)}".encode() + pixels).hexdigest()[:32]
    path = pictures_of(run) / f"{name}.png"
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, png())
    return name


def post(run: Path, rank: int, asked: Round) -> None:
    """Put up the round of a process, in place of its last one. Raises OSError."""
    folder = run / CHOICES / "asked"
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{rank}.json", asdict(asked))


def rounds(run: Path) -> dict[int, Round]:
    """The latest round of each process, by rank; files that are none are passed over, and told where damaged."""
    files = {int(path.stem): path for path in (run / CHOICES / "asked").glob("*.json") if path.stem.isdecimal()}
    found = {rank: sound(path, lambda file: _ROUND.validate_python(read_json(file))) for rank, path in files.items()}
    return {rank: asked for rank, asked in sorted(found.items()) if asked is not None}


_ROUND = TypeAdapter(Round)


def forget_rounds(run: Path) -> None:
    """Take down all rounds: those of a run that was ended from outside."""
    for path in (run / CHOICES / "asked").glob("*.json"):
        path.unlink()
