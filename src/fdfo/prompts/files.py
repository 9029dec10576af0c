"""Prompts in a file, with what else the file says of them as metadata."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fdfo.documents import BadDocument
from fdfo.errors import PromptError
from fdfo.files import at_home
from fdfo.prompts.forms import decoded, opened
from fdfo.prompts.tables import PROMPT, READERS, USUAL_COLUMNS, Table, of_parquet
from fdfo.records import Prompt
from fdfo.words import plural

_NUMBERS_NAMED = 5
"""Numbers of lines of each kind of problem that a message lists."""

_COLUMNS_NAMED = 12


@dataclass(frozen=True, kw_only=True)
class PromptFile:
    """What a prompt file holds."""

    prompts: tuple[Prompt, ...]  # numbered from 0, in the order of the file
    blank_lines: int
    """Lines that were skipped because nothing but white space is in them."""
    column: str | None
    """Name of the column that the prompts are from; None for lines of text."""
    left_out: tuple[str, ...] = ()
    """Columns of bytes, which are no metadata."""

    @property
    def notes(self) -> list[str]:
        """What was not read, in words."""
        notes = [f"{plural(self.blank_lines, 'blank line')} skipped"] if self.blank_lines else []
        return notes + ([f"columns of bytes left out: {', '.join(self.left_out)}"] if self.left_out else [])


def read_prompts(path: str | Path, key: str | None = None) -> PromptFile:
    """Read the prompts of a file, by the ending of its name: lines of text, JSON, CSV, TSV or Parquet, packed or not.

    Prompts of a table are in the column `key`, by default in `prompt` or the one with another usual name; the other
    columns become the prompts' metadata. Nothing of a prompt is changed: not spaces, quotes, braces or Unicode line
    separators. Raises PromptError with all problems of the file.
    """
    path = at_home(path)
    form, content = opened(path)
    try:
        table = of_parquet(content) if form == "parquet" else READERS[form](decoded(path, content))
    except BadDocument as error:
        raise PromptError(f"{path}: {error}") from error
    is_table = form != "text"
    column = _column(path, table, key) if is_table and table.rows else PROMPT
    prompts: list[Prompt] = []
    for number, cells in table.rows:
        try:
            prompts.append(_prompt(cells, column, len(prompts)))
        except _BadRow as error:
            table.refuse(number, str(error))
    if table.problems:
        kinds = "".join(f"\n  - {_places(table.unit, table.problems[reason])}: {reason}" for reason in table.problems)
        count = sum(map(len, table.problems.values()))
        all_of_it = plural(table.total, table.unit, _plural(table.unit))
        raise PromptError(f"{path}: {count} of {all_of_it} cannot be used{kinds}")
    if not prompts:
        raise PromptError(f"{path}: the file has no prompts; write one a line")
    return PromptFile(
        prompts=tuple(prompts),
        blank_lines=table.blank,
        column=column if is_table else None,
        left_out=tuple(table.left_out),
    )


def read_column(path: str | Path, key: str | None) -> PromptFile:
    """As `read_prompts`; a `key` for a file without columns is refused as well."""
    file = read_prompts(path, key)
    if key is not None and file.column is None:
        raise PromptError(f"--key {key}: {path} is lines of text, without columns; leave it out")
    return file


class _BadRow(Exception):
    """What is wrong with one row, in words that do not depend on its content."""


def _column(path: Path, table: Table, key: str | None) -> str:
    """The column of prompts. Raises PromptError where it is not there, or not the only one."""
    columns = table.columns
    if key is not None:
        found = [key] if key in columns else []
    else:
        by_name = {name: name.strip().lower() for name in columns}
        found = [name for name in columns if by_name[name] == PROMPT]
        found = found or [name for name in columns if by_name[name] in USUAL_COLUMNS]
    if len(found) == 1:
        return found[0]
    listed = ", ".join(columns[:_COLUMNS_NAMED]) + (", ..." if len(columns) > _COLUMNS_NAMED else "")
    if found:
        raise PromptError(f"{path}: {' or '.join(found)}? name the column of prompts (prompts.key, or --key)")
    wanted = f"no column {key!r}" if key is not None else f"no column {PROMPT}, {', '.join(USUAL_COLUMNS)}"
    raise PromptError(f"{path}: {wanted}; it has {listed}; name the column of prompts (prompts.key, or --key)")


def _prompt(cells: Mapping[str, Any], column: str, number: int) -> Prompt:
    if column not in cells:
        raise _BadRow(f'no field "{column}"; expected {{"{column}": "..."}}')
    text = cells[column]
    if isinstance(text, list | Mapping):
        raise _BadRow(f'"{column}" holds several values; write a row for each prompt')
    if not isinstance(text, str):
        raise _BadRow(f'"{column}" is not a string; put it in quotes')
    if not text.strip():
        raise _BadRow(f'"{column}" is empty; write a prompt, or remove the row')
    metadata = {name: value for name, value in cells.items() if name != column}
    for part in ({column: text}, metadata):
        if not _is_unicode(part):
            name = column if part is not metadata else "a value"
            raise _BadRow(f'"{name}" has half a surrogate pair (\\ud800 to \\udfff); write the character itself')
    return Prompt(text=text, metadata=metadata, number=number)


def _is_unicode(value: Any) -> bool:
    """Whether all texts inside, keys included, can be written as UTF-8."""
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError:
            return False
        return True
    if isinstance(value, Mapping):
        return all(_is_unicode(part) for pair in value.items() for part in pair)
    return not isinstance(value, list) or all(map(_is_unicode, value))


def _places(unit: str, numbers: list[int]) -> str:
    """`line 3`, or `lines 2, 7 and 4 more`."""
    numbers = sorted(numbers)
    named = ", ".join(map(str, numbers[:_NUMBERS_NAMED]))
    rest = len(numbers) - _NUMBERS_NAMED
    return f"{unit if len(numbers) == 1 else _plural(unit)} {named}" + (f" and {rest} more" if rest > 0 else "")


def _plural(unit: str) -> str:
    return "entries" if unit == "entry" else f"{unit}s"
