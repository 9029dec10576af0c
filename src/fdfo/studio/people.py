"""Who may choose: people by name, each with a token that their link carries; or whoever uses this machine."""

import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from fdfo.files import write_json
from fdfo.own import read_json, sound
from fdfo.studio.pairs import CHOICES

ALONE = "me"
"""The name of a person where no names are given."""


class Kept(BaseModel):
    """Content of choices/people.json."""

    run: str = Field(default_factory=lambda: secrets.token_hex(8), pattern="^[0-9a-f]{16}$")
    tokens: dict[str, Annotated[str, Field(pattern="^[0-9a-zA-Z_-]{32}$")]] = Field(default_factory=dict)
    """By name."""


@dataclass(frozen=True)
class People:
    """Of one run. Tokens stay the same when it is started again, so that links do."""

    run: str
    """Tells this run from others."""
    tokens: dict[str, str]
    """By name. Empty: whoever uses this machine may choose, without one."""

    @property
    def names(self) -> tuple[str, ...]:
        """Of all who may choose."""
        return tuple(self.tokens) or (ALONE,)

    def who(self, token: str | None) -> str | None:
        """The name of a token's owner; None where it is wrong."""
        if not self.tokens:
            return ALONE
        given = (token or "").encode()
        return next((name for name, own in self.tokens.items() if hmac.compare_digest(own.encode(), given)), None)

    def links(self, url: str) -> dict[str, str]:
        """Where each of them chooses, by name."""
        if not self.tokens:
            return {ALONE: f"{url}/"}
        return {name: f"{url}/?token={token}" for name, token in self.tokens.items()}


def people_of(run: Path, names: Sequence[str], *, is_local: bool) -> People:
    """The people of a run folder, made where they are new. Only a local server may be without tokens. Raises OSError.

    Kept in choices/people.json, which nobody but its owner can read.
    """
    path = run / CHOICES / "people.json"
    kept = sound(path, lambda file: Kept.model_validate(read_json(file))) if path.exists() else None
    kept = kept or Kept()  # damaged: new links
    wanted = list(names) or ([] if is_local else [ALONE])
    people = People(kept.run, {name: kept.tokens.get(name) or secrets.token_urlsafe(24) for name in wanted})
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_json(path, {"run": people.run, "tokens": kept.tokens | people.tokens})
    finally:
        os.umask(before)
    return people
