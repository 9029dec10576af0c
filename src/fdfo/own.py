"""Files that this package wrote itself, read back: by exact names, with their content checked.

Whatever fails while one is read makes that file damaged, and nothing else: it is named and left out, or set aside.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from fdfo.errors import first_line
from fdfo.files import write_atomically

T = TypeVar("T")

Complain = Callable[[Path, str], None]
"""What is done about a damaged file, given what is wrong with it."""

_log = logging.getLogger(__name__)

NAMED_LINES = 5
"""Numbers of damaged lines that a message lists."""


def numbered_name(kind: str, number: int, suffix: str = "") -> str:
    """Name of the file or folder of a number: `epoch-0000020.json`."""
    return f"{kind}-{number:07d}{suffix}"


def numbered(folder: Path, kind: str, suffix: str = "") -> dict[int, Path]:
    """What is called as `numbered_name` calls it, by number, in order; copies and whatever else is there are not."""
    pattern = re.compile(rf"{re.escape(kind)}-([0-9]{{7,}}){re.escape(suffix)}")
    names = {path.name: path for path in folder.iterdir()} if folder.is_dir() else {}
    numbers = sorted(int(match[1]) for match in map(pattern.fullmatch, names) if match)
    called = {number: numbered_name(kind, number, suffix) for number in numbers}
    return {number: names[name] for number, name in called.items() if name in names}


def leave_out(path: Path, reason: str) -> None:
    """Say that what is damaged does not count."""
    _log.warning("%s is damaged (%s); that is left out", path, reason)


def sound(path: Path, read: Callable[[Path], T], complain: Complain = leave_out) -> T | None:
    """What is read from a file, or None, after complaining, where it is damaged."""
    try:
        if not path.is_file():
            raise ValueError("not a file")
        return read(path)
    except Exception as error:  # of whichever kind: see the top
        complain(path, reason(error))
        return None


def sound_lines(path: Path, parse: Callable[[Any], T], complain: Complain = leave_out) -> list[T]:
    """What the documents of a file of JSON lines hold, without damaged ones; none where there is no such file.

    Only line feeds end a line: str.splitlines would also split at the Unicode separators that a text may hold. A last
    line that a kill cut off does not count.
    """
    found: list[T] = []
    damaged: list[int] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1] if path.is_file() else [], 1):
        try:
            found.append(parse(json.loads(line)))
        except Exception:  # of whichever kind: see the top
            damaged.append(number)
    if damaged:
        more = f" and {len(damaged) - NAMED_LINES} more" if len(damaged) > NAMED_LINES else ""
        listed = ", ".join(map(str, damaged[:NAMED_LINES]))
        complain(path, f"in line{'s' if len(damaged) > 1 else ''} {listed}{more}")
    return found


def read_json(path: Path) -> Any:
    """The JSON document of a file. Raises OSError or ValueError."""
    return json.loads(path.read_bytes())


def reason(error: BaseException) -> str:
    """What makes a file damaged, in one line."""
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}".removeprefix(": ")
    return f"no {error}" if isinstance(error, KeyError) else first_line(error)


def set_aside(path: Path, why: str) -> None:
    """Give a damaged file another name, which nothing reads, and say so."""
    aside = path.with_name(path.name + ".damaged")
    remove(aside)
    path.rename(aside)
    _log.warning("%s is damaged (%s); set aside as %s", path, why, aside.name)


def mend_lines(path: Path, check: Callable[[Any], object]) -> None:
    """Write a file of JSON lines again without those that `check` refuses, if any; say so, and keep it as it was."""

    def checked(content: Any) -> Any:
        check(content)
        return content

    def complain(path: Path, why: str) -> None:
        aside = path.with_name(path.name + ".damaged")
        remove(aside)
        shutil.copyfile(path, aside)
        _log.warning("%s is damaged (%s); that is left out, and %s is the file as it was", path, why, aside.name)
        complaints.append(why)

    complaints: list[str] = []
    lines = [json.dumps(content) + "\n" for content in sound_lines(path, checked, complain)]
    if complaints:
        write_atomically(path, "".join(lines))


def make_way(path: Path, *, for_a_folder: bool = False) -> None:
    """Set aside what stands in the place of an own file, or folder, and is none: a pipe, a link to nowhere."""
    if os.path.lexists(path) and not (path.is_dir() if for_a_folder else path.is_file()):
        set_aside(path, "not a folder" if for_a_folder else "not a file")


def cut_torn_line(path: Path) -> None:
    """Remove what stands behind the last line feed of a file, where a kill cut a line off, before more is appended."""
    content = path.read_bytes() if path.is_file() else b""
    if content and not content.endswith(b"\n"):
        write_atomically(path, content[: content.rfind(b"\n") + 1])


def remove(path: Path) -> None:
    """Delete a file, a folder with all that is in it, or a symbolic link but not where it leads; or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
