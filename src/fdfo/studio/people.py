"""Who may choose: people by name, each with a token that their link carries; or whoever uses this machine."""

import hmac
import json
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fdfo.files import write_json
from fdfo.studio.pairs import CHOICES

ALONE = "me"
"""The name of a person where no names are given."""


@dataclass(frozen=True)
class People:
    """Of one run. Tokens stay the same when it is started again, so that links do."""

    run: str
    """Tells this run from others."""
    tokens: dict[str, str]
    """By name. Empty: whoever uses this machine may choose, without one."""

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
    kept = _read(path)
    wanted = list(names) or ([] if is_local else [ALONE])
    known = kept.get("tokens", {})
    people = People(
        run=kept.get("run") or secrets.token_hex(8),
        tokens={name: known.get(name) or secrets.token_urlsafe(24) for name in wanted},
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    before = os.umask(0o077)
    try:
        write_json(path, {"run": people.run, "tokens": known | people.tokens})
    finally:
        os.umask(before)
    return people


def _read(path: Path) -> dict:
    """What was kept; nothing where the file is missing or damaged, which makes new links."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    sound = isinstance(content, dict) and isinstance(content.get("tokens", {}), dict)
    return content if sound else {}
