"""What a file is, by the ending of its name and by its first bytes, and its content as text or bytes."""

import gzip
import zlib
from io import BytesIO
from pathlib import Path
from typing import Literal

from fdfo.errors import PromptError, nearest

Form = Literal["text", "csv", "tsv", "json", "parquet"]

FORMS: dict[str, Form] = {
    "": "text",
    ".txt": "text",
    ".text": "text",
    ".list": "text",
    ".lst": "text",
    ".prompts": "text",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".parquet": "parquet",
    ".pq": "parquet",
}
"""Endings of names, in small letters; each may be followed by .gz."""

ACCEPTED = "one prompt a line (.txt), a table (.csv, .tsv, .parquet) or JSON (.json, .jsonl, .ndjson), each also as .gz"

LARGEST_BYTES = 2**30
"""Largest size of an unpacked file: a small .gz can hold any number of zeros."""

_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"

_FOREIGN = {
    b"PK\x03\x04": "a zip archive, or a workbook or document of an office program; save its table as .csv",
    b"\xd0\xcf\x11\xe0": "a workbook or document of an old office program; save its table as .csv",
    b"%PDF-": "a PDF document; save its text, one prompt a line",
    b"{\\rtf": "a document in rich text; save it as plain text",
    b"\x89PNG": "a PNG picture; give the prompts",
    b"\xff\xd8\xff": "a JPEG picture; give the prompts",
    b"GIF89a": "a GIF picture; give the prompts",
    b"ARROW1\0": "an Arrow file; write it as .parquet",
    b"FEA1\0": "a Feather file; write it as .parquet",
    b"SQLite format 3": "an SQLite database; write the table as .csv",
    b"\x93NUMPY": "a NumPy array; write the prompts one a line",
    b"Obj\x01": "an Avro file; write it as .parquet",
    b"BZh91AY&SY": "packed by bzip2; unpack it, or pack it by gzip",
    b"\xfd7zXZ": "packed by xz; unpack it, or pack it by gzip",
    b"\x28\xb5\x2f\xfd": "packed by zstd; unpack it, or pack it by gzip",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!\x1a": "a rar archive; unpack it",
    b"\x80\x02": "a pickle, which is never loaded; write the prompts as text",
    b"\x80\x03": "a pickle, which is never loaded; write the prompts as text",
    b"\x80\x04": "a pickle, which is never loaded; write the prompts as text",
    b"\x80\x05": "a pickle, which is never loaded; write the prompts as text",
    b"<!doctype": "a web page; save the list itself",
    b"<html": "a web page; save the list itself",
    b"<?xml": "an XML document; write the prompts as text",
    b"version https://git-lfs": "a pointer of Git LFS, in the place of the file; fetch it with `git lfs pull`",
}
"""First bytes of files that hold no prompts in a form that is read, whatever their case, and what they are."""


def opened(path: Path) -> tuple[Form, bytes]:
    """The form and the content of a prompt file, unpacked. Raises PromptError for a file that is not of any form."""
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "is not a file" if path.exists() else "no such file"
        raise PromptError(f"{path}: {what}; give a file with {ACCEPTED}")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise PromptError(f"{path}: cannot be read ({error.strerror}); give a file that you may read") from error
    name = Path(path.name.lower())
    if content.startswith(_GZIP) or name.suffix == ".gz":
        content = _unpacked(path, content)
        name = name.with_suffix("") if name.suffix == ".gz" else name
    _check_not_foreign(path, content)
    is_parquet = content.startswith(_PARQUET) and content.endswith(_PARQUET)
    if name.suffix not in FORMS:
        if is_parquet:
            return "parquet", content
        fix = nearest(name.suffix, [ending for ending in FORMS if ending])
        raise PromptError(f"{path}: files that end in {name.suffix} are not read; {fix}; accepted: {ACCEPTED}")
    form = FORMS[name.suffix]
    if is_parquet != (form == "parquet"):
        found, ending = ("a Parquet file", ".parquet") if is_parquet else ("not a Parquet file", ".txt or what it is")
        raise PromptError(f"{path}: it is {found}; let its name end in {ending}")
    return form, content


def decoded(path: Path, content: bytes) -> str:
    """The text of a file, without the mark of UTF-8. Raises PromptError where it is not UTF-8."""
    try:
        text = content.decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        start = error.start
        encoding = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        raise PromptError(
            f"{path}: not UTF-8: byte 0x{content[start]:02x} at position {start}, in line {_line(content, start)}; "
            f"convert it, for example with `iconv -f {encoding} -t UTF-8 {path.name} > utf8-{path.name}`"
        ) from error
    if "\0" in text:  # data, or UTF-16 without its mark
        start = content.index(b"\0")
        raise PromptError(
            f"{path}: not text: byte 0x00 at position {start}, in line {_line(content, start)}; give a file with "
            f"{ACCEPTED}, in UTF-8"
        )
    return text


def _line(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def _check_not_foreign(path: Path, content: bytes) -> None:
    beginning = content[:64].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    for magic, what in _FOREIGN.items():
        if beginning.startswith(magic.lower()):
            raise PromptError(f"{path}: it is {what}")


def _unpacked(path: Path, content: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=BytesIO(content)) as file:
            unpacked = file.read(LARGEST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise PromptError(f"{path}: cannot be unpacked as gzip ({error}); pack or fetch it again") from error
    if unpacked.startswith(_GZIP):
        raise PromptError(f"{path}: it is packed twice by gzip; unpack it once")
    if len(unpacked) > LARGEST_BYTES:
        raise PromptError(f"{path}: it unpacks to more than {LARGEST_BYTES} bytes; give a smaller list")
    return unpacked
