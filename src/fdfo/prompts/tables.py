"""Rows with named columns, from lines of text, CSV, TSV, JSON or Parquet."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fdfo.documents import BadDocument, BadSyntax, parse_json
from fdfo.errors import PromptError, install_advice
from fdfo.words import plural

PROMPT = "prompt"

USUAL_COLUMNS = ("caption", "text", "captions", "prompts", "prompt_en", "prompt_text")
"""Names of the column of prompts where none is `prompt`, in small letters."""


@dataclass(kw_only=True)
class Table:
    """What a file holds, before anyone looks for prompts in it."""

    unit: str
    """What the numbers count, from 1: line, row or entry."""
    rows: list[tuple[int, Mapping[str, Any]]] = field(default_factory=list)
    total: int = 0
    """Lines, rows or entries, the unusable and blank ones included."""
    blank: int = 0
    """Lines that nothing but white space is in."""
    problems: dict[str, list[int]] = field(default_factory=dict)
    """Numbers of what cannot be used, by reason."""
    left_out: list[str] = field(default_factory=list)
    """Columns that hold no text, number or list of them, and so cannot be metadata."""

    @property
    def columns(self) -> list[str]:
        """All names of columns, in order of appearance."""
        return list(dict.fromkeys(name for _, cells in self.rows for name in cells))

    def refuse(self, number: int, reason: str) -> None:
        """Note that a row cannot be used."""
        self.problems.setdefault(reason, []).append(number)


def of_lines(text: str) -> Table:
    """One prompt a line. Only line feeds end a line; a carriage return before one is dropped.

    Raises BadDocument for lines that can be no prompts: a table, or JSON.
    """
    lines = _lines(text)
    kept = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    _refuse_other_forms(text, [line for _, line in kept])
    rows = [(number, {PROMPT: line}) for number, line in kept]
    return Table(unit="line", rows=[*rows], total=len(lines), blank=len(lines) - len(kept))


def _refuse_other_forms(text: str, lines: list[str]) -> None:
    """Raise BadDocument for lines that are those of a table or of JSON."""
    if lines and all(line.lstrip().startswith("{") and _is_json(line) for line in lines):
        raise BadDocument("its lines are objects of JSON; let its name end in .jsonl")
    if text.lstrip()[:1] in ("[", "{") and _is_json(text):
        raise BadDocument("it is a document of JSON; let its name end in .json")
    for mark, (separator, ending) in _SEPARATORS.items():
        if _is_table(lines, mark):
            raise BadDocument(f"its first line names columns that {separator} separate; let its name end in {ending}")
    if lines and lines[0].strip().lower() in (PROMPT, *USUAL_COLUMNS):
        name = lines[0].strip()
        raise BadDocument(f"its first line, {name!r}, names a column; remove it, or let the file's name end in .csv")


_SEPARATORS = {"\t": ("tabs", ".tsv"), ",": ("commas", ".csv"), ";": ("semicolons", ".csv")}


def _is_table(lines: list[str], mark: str) -> bool:
    """Whether the first line names a column of prompts; a prompt may hold a usual name too: then all lines must fit."""
    header = _cells(lines[0].lower(), mark) if lines else []
    if len(header) < 2:
        return False
    fits = len(lines) > 1 and all(len(_cells(line, mark)) == len(header) for line in lines)
    return PROMPT in header or (fits and any(name in header for name in USUAL_COLUMNS))


def _cells(line: str, mark: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=mark))]
    except csv.Error:  # too long, or with a carriage return inside
        return []


def of_json(text: str) -> Table:
    """A list, or an entry a line; an entry is an object, or a text that is the prompt.

    Raises BadDocument for a list that cannot be read.
    """
    beginning = text.lstrip()
    is_list, is_whole_line = beginning.startswith("["), _is_json(beginning.partition("\n")[0])
    if is_list or not is_whole_line:
        try:
            document = parse_json(text)
        except BadDocument:
            if is_list and not is_whole_line:
                raise
        else:
            return _of_entries(document if isinstance(document, list) else [document])
    table = Table(unit="line")
    for number, line in enumerate(_lines(text), start=1):
        table.total += 1
        if not line.strip():
            table.blank += 1
            continue
        try:
            _keep_entry(table, number, parse_json(line))
        except BadDocument as error:
            reason = "not valid JSON" if isinstance(error, BadSyntax) else str(error)
            table.refuse(number, f'{reason}; expected {{"prompt": "..."}} on one line')
    return table


def _of_entries(entries: Sequence[Any]) -> Table:
    table = Table(unit="entry", total=len(entries))
    for number, entry in enumerate(entries, start=1):
        _keep_entry(table, number, entry)
    return table


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except BadDocument:
        return False
    return True


def _keep_entry(table: Table, number: int, entry: Any) -> None:
    if isinstance(entry, str):
        entry = {PROMPT: entry}
    if isinstance(entry, Mapping):
        table.rows.append((number, entry))
    else:
        table.refuse(number, f'no field "{PROMPT}"; expected {{"prompt": "..."}}')


def of_csv(text: str) -> Table:
    """Comma-separated values (RFC 4180) under a line of names; a header without a comma may be cut at ; or a tab.

    Raises PromptError.
    """
    header = text.lstrip().partition("\n")[0]
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")
    return _separated(text, delimiter=delimiter, strict=True)


def of_tsv(text: str) -> Table:
    """Values separated by tabs under a line of names.

    Quotes are a part of a value, unless every value that begins with one is written as CSV would write it.
    """
    lines = [line.split("\t") for line in _lines(text)]
    widths = {len(cells) for cells in lines if cells != [""]}
    if len(widths) <= 1 and not all(map(_is_quoted, (cell for cells in lines for cell in cells))):
        return _separated(text, delimiter="\t", quoting=csv.QUOTE_NONE)
    return _separated(text, delimiter="\t", strict=True)


def _is_quoted(cell: str) -> bool:
    """Whether a value has no quote at its beginning, or is quoted as CSV does it."""
    if not cell.startswith('"'):
        return True
    return len(cell) > 1 and cell.endswith('"') and '"' not in cell[1:-1].replace('""', "")


def _separated(text: str, **form: Any) -> Table:
    """The rows below a header, of csv's form. Columns without a name are left out. Raises BadDocument."""
    table = Table(unit="line")
    header: list[str] | None = None
    reader = csv.reader(io.StringIO(text, newline=""), **form)
    most = csv.field_size_limit(len(text))  # Python's own limit, 131072, is less than what a column may hold
    try:
        for cells in reader:
            number = reader.line_num
            if not any(cell.strip() for cell in cells):
                table.blank += 1
            elif header is None:
                header = [cell.strip() for cell in cells]
            elif len(cells) != len(header):
                few = f"{plural(len(cells), 'value')} where the header names {plural(len(header), 'column')}"
                table.refuse(number, f'{few}; put a value that holds a separator in quotes ("...")')
            else:
                table.rows.append((number, {name: cell for name, cell in zip(header, cells, strict=True) if name}))
    except csv.Error as error:
        raise BadDocument(f"line {reader.line_num} is not CSV ({error}); write a quote inside a value twice") from None
    finally:
        csv.field_size_limit(most)
    table.total = reader.line_num
    named = [name for name in header or () if name]
    if twice := [name for name in named if named.count(name) > 1]:
        raise BadDocument(f"the column {twice[0]!r} stands twice in the header; rename one")
    return table


def of_parquet(content: bytes) -> Table:
    """The rows of a Parquet file, without columns of bytes, pictures or sound. Raises BadDocument or PromptError."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise PromptError(f"Parquet is read by the package pyarrow; {install_advice('pyarrow')}") from None
    try:
        file = parquet.ParquetFile(pyarrow.BufferReader(content))
        schema = file.schema_arrow
        kept = [column.name for column in schema if _is_metadata(column.type)]
        rows = file.read(columns=kept).to_pylist()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise BadDocument(f"it is a Parquet file that cannot be read ({error})") from None
    numbered = [(number, {name: _plain(value) for name, value in row.items()}) for number, row in enumerate(rows, 1)]
    left_out = [column.name for column in schema if column.name not in kept]
    return Table(unit="row", rows=[*numbered], total=len(rows), left_out=left_out)


def _is_metadata(kind: Any) -> bool:
    """Whether a column of this type of pyarrow can be written as JSON."""
    from pyarrow import types

    if types.is_nested(kind):
        return all(_is_metadata(kind.field(index).type) for index in range(kind.num_fields))
    binary = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return not any(check(kind) for check in binary)


def _plain(value: Any) -> Any:
    """The same value of JSON's types; dates, times and decimal numbers as text."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Sequence):
        return [_plain(part) for part in value]
    return str(value)


def _lines(text: str) -> list[str]:
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    if lines[-1] == "":
        lines.pop()  # behind the last line feed
    return lines


READERS: dict[str, Callable[[str], Table]] = {"text": of_lines, "csv": of_csv, "tsv": of_tsv, "json": of_json}
"""Readers by the form of a text."""
