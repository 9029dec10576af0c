"""Prompts in a file: one a line, or JSON lines with metadata."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdfo.errors import PromptError
from fdfo.records import Prompt

_LINES_NAMED = 5
"""Line numbers of each kind of problem that a message lists."""


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """What a prompt file holds."""

    prompts: tuple[Prompt, ...]  # numbered from 0, in the order of the file
    blank_lines: int
    """Lines that were skipped because nothing but white space is in them."""


def read_prompts(path: str | Path) -> PromptFile:
    """Read UTF-8 text with one prompt a line, or for the ending `.jsonl` one JSON object a line.

    A JSON object has the text in the field `prompt`; its other fields become the prompt's metadata. Only line feeds end
    a line; a carriage return before one is dropped. Nothing else of a prompt is changed: not spaces, quotes, braces or
    Unicode line separators. Raises PromptError with all problems of the file.
    """
    path = Path(path).expanduser()
    if path.suffix == ".json":
        raise PromptError(f"{path}: expected text or JSON lines; write one object a line and name it {path.stem}.jsonl")
    lines = [line.removesuffix("\r") for line in _text(path).split("\n")]
    if lines[-1] == "":
        lines.pop()  # behind the last line feed
    parse = _parse_json if path.suffix == ".jsonl" else _parse_text
    prompts: list[Prompt] = []
    problems: dict[str, list[int]] = {}  # line numbers by kind
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text, metadata = parse(line)
        except _BadLine as error:
            problems.setdefault(str(error), []).append(number)
        else:
            prompts.append(Prompt(text=text, metadata=metadata, number=len(prompts)))
    if problems:
        kinds = "".join(f"\n  - {_lines(numbers)}: {problem}" for problem, numbers in problems.items())
        raise PromptError(f"{path}: {sum(map(len, problems.values()))} of {len(lines)} lines cannot be used{kinds}")
    if not prompts:
        raise PromptError(f"{path}: the file has no prompts; write one a line")
    return PromptFile(prompts=tuple(prompts), blank_lines=len(lines) - len(prompts))


class _BadLine(Exception):
    """What is wrong with one line, in words that do not depend on its content."""


def _text(path: Path) -> str:
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "no such file"
        raise PromptError(f"{path}: {what}; give a text file with one prompt a line, or a .jsonl file")
    content = path.read_bytes()
    try:
        return content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        start, line = error.start, content.count(b"\n", 0, error.start) + 1
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        raise PromptError(
            f"{path}: not UTF-8: byte 0x{content[start]:02x} at position {start}, in line {line}; "
            f"convert it, for example with `iconv -f {encoding} -t UTF-8 {path.name} > utf8-{path.name}`"
        ) from error


def _parse_text(line: str) -> tuple[str, dict[str, Any]]:
    return line, {}


def _parse_json(line: str) -> tuple[str, dict[str, Any]]:
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        raise _BadLine('not valid JSON; expected {"prompt": "..."} on one line') from None
    if not isinstance(entry, dict) or "prompt" not in entry:
        raise _BadLine('no field "prompt"; expected {"prompt": "..."}')
    text = entry.pop("prompt")
    if not isinstance(text, str):
        raise _BadLine('"prompt" is not a string; put it in quotes')
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _BadLine('"prompt" has half a surrogate pair (\\ud800 to \\udfff); write the character itself') from None
    return text, entry


def _lines(numbers: list[int]) -> str:
    named = ", ".join(map(str, numbers[:_LINES_NAMED]))
    rest = len(numbers) - _LINES_NAMED
    return f"line{'s' if len(numbers) > 1 else ''} {named}" + (f" and {rest} more" if rest > 0 else "")
