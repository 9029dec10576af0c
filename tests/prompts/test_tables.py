"""Tables and JSON of prompts: the same prompts from every form, and every other file refused as what it is."""

import csv
import gzip
import io
import json

import pyarrow
import pytest
from pyarrow import parquet

from fdfo.errors import PromptError
from fdfo.prompts import load_file_or_list, read_column, read_prompts
from fdfo.prompts.forms import FORMS
from fdfo.records import Prompt

TEXTS = [
    "plain",
    'a sign that says "OPEN", at night',
    '"quoted"',
    "tab\tinside",
    "semi;colon, comma",
    "two\nlines",
    "  spaces  ",
    "日本語 🖼️ é",
    "line\u2028separator",
    "'single' and {braces}",
]
CATEGORIES = ["a", "b,c", "", "d", "e", "f", "g", "h", "i", "j"]
ROWS = [{"category": category, "prompt": text} for category, text in zip(CATEGORIES, TEXTS, strict=True)]

TWICE_PACKED = gzip.compress(gzip.compress(b"prompt\na\n", mtime=0), mtime=0)


def written(rows, delimiter, **form):
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), delimiter=delimiter, **form)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def as_parquet(columns):
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), buffer)
    return buffer.getvalue()


CONTENTS = {
    ".csv": written(ROWS, ","),
    ".tsv": written(ROWS, "\t"),
    ".json": json.dumps(ROWS, indent=1).encode(),
    ".jsonl": "\n".join(map(json.dumps, ROWS)).encode(),
    ".ndjson": "\r\n".join(map(json.dumps, ROWS)).encode(),
    ".parquet": as_parquet({"category": CATEGORIES, "prompt": TEXTS}),
}


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(folder, name, content, key=None):
    return read_prompts(write(folder, name, content), key).prompts


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
@pytest.mark.parametrize("ending", CONTENTS)
def test_every_form_holds_the_same_prompts_and_metadata(tmp_path, ending, spell, packed):
    content = gzip.compress(CONTENTS[ending]) if packed else CONTENTS[ending]
    name = spell("list" + ending + (".gz" if packed else ""))
    wanted = [
        Prompt(text=text, metadata={"category": category}, number=number)
        for number, (text, category) in enumerate(zip(TEXTS, CATEGORIES, strict=True))
    ]
    assert list(read(tmp_path, name, content)) == wanted


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@pytest.mark.parametrize(
    ("column", "key"),
    [("prompt", None), ("Prompt", None), ("CAPTION", None), ("text", None), ("my words", "my words")],
)
def test_the_column_is_the_usual_one_or_the_named_one(tmp_path, ending, column, key):
    rows = [{"id": "1", column: "a cat"}, {"id": "2", column: "a dog"}]
    contents = {
        ".csv": written(rows, ","),
        ".tsv": written(rows, "\t"),
        ".jsonl": "\n".join(map(json.dumps, rows)),
        ".parquet": as_parquet({"id": ["1", "2"], column: ["a cat", "a dog"]}),
    }
    found = read(tmp_path, "p" + ending, contents[ending], key)
    assert [(prompt.text, prompt.metadata) for prompt in found] == [("a cat", {"id": "1"}), ("a dog", {"id": "2"})]


def test_prompt_is_taken_before_other_usual_names_and_any_other_choice_is_asked_for(tmp_path):
    (prompt,) = read(tmp_path, "p.csv", "text,prompt\nno,yes\n")
    assert (prompt.text, prompt.metadata) == ("yes", {"text": "no"})
    for name, content, message in (
        ("p.csv", "text,caption\na,b\n", r"text or caption\? name the column of prompts \(prompts.key, or --key\)"),
        ("p.csv", "a cat\na dog\n", "no column prompt, .*; it has a cat; name the column"),
        ("p.json", '[{"a": "x", "b": "y"}]', "no column prompt, .*; it has a, b; name"),
    ):
        with pytest.raises(PromptError, match=message):
            read(tmp_path, name, content)
    with pytest.raises(PromptError, match="no column 'x'; it has prompt; name"):
        read(tmp_path, "p.csv", "prompt\na\n", "x")


@pytest.mark.parametrize("content", ['["a cat", "a dog"]', '"a cat"\n"a dog"\n', '[\n "a cat",\n "a dog"\n]\n'])
@pytest.mark.parametrize("name", ["p.json", "p.jsonl"])
def test_json_may_be_a_list_of_texts(tmp_path, name, content):
    assert [prompt.text for prompt in read(tmp_path, name, content)] == ["a cat", "a dog"]


def test_other_separators_and_cells_without_a_name(tmp_path):
    assert [p.metadata for p in read(tmp_path, "p.csv", "prompt;tag\na, b;c\n")] == [{"tag": "c"}]
    assert [p.metadata for p in read(tmp_path, "p.csv", ",prompt,tag,\n0,a,b,\n")] == [{"tag": "b"}]  # as pandas writes


def test_a_value_may_be_longer_than_the_csv_module_reads_by_itself(tmp_path):
    limit = csv.field_size_limit()
    assert read(tmp_path, "p.csv", f"prompt,tag\na,{'x' * 200_000}\n")[0].metadata == {"tag": "x" * 200_000}
    assert csv.field_size_limit() == limit


def test_quotes_of_a_tsv_are_its_own_unless_it_is_written_as_a_csv(tmp_path):
    plain = 'prompt\ttag\n"a" b\tx\n"c\ty\nd"\tz\n"e"\tw\n'  # as PartiPrompts are published
    assert [p.text for p in read(tmp_path, "p.tsv", plain)] == ['"a" b', '"c', 'd"', '"e"']
    assert [p.text for p in read(tmp_path, "q.tsv", 'prompt\ttag\n"say ""hi"""\tx\nb "c"\ty\n')] == [
        'say "hi"',
        'b "c"',
    ]


def test_columns_of_bytes_are_left_out_and_told_and_times_are_text(tmp_path):
    columns = {
        "prompt": ["a"],
        "jpg": [b"\xff\xd8"],
        "image": [{"bytes": b"x", "path": "y"}],
        "boxes": [[{"x": 1.5}]],
        "when": [pyarrow.scalar(0, pyarrow.timestamp("s")).as_py()],
    }
    found = read_prompts(write(tmp_path, "p.parquet", as_parquet(columns)))
    assert found.prompts[0].metadata == {"boxes": [{"x": 1.5}], "when": "1970-01-01 00:00:00"}
    assert found.notes == ["columns of bytes left out: jpg, image"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.csv",
            "prompt,tag\na,b\na cat, a dog,c\n",
            r"1 of 3 lines cannot be used\n  - line 3: 3 values where the h",
        ),
        ("p.csv", "prompt,tag\nonly\n", "line 2: 1 value where the header names 2 columns"),
        ("p.csv", 'prompt,tag\n"a" b,c\n', "line 2 is not CSV"),
        ("p.csv", 'prompt,tag\n"a,b\n', "is not CSV"),
        ("p.csv", "prompt,tag,tag\na,b,c\n", "the column 'tag' stands twice in the header"),
        ("p.csv", "prompt,tag\n,b\n", 'line 2: "prompt" is empty'),
        ("p.csv", "prompt,tag\n", "has no prompts"),
        ("p.csv", "", "has no prompts"),
        ("p.json", "{}", "no column prompt"),
        ("p.json", '[{"prompt": "a", "prompt": "b"}]', "the key 'prompt' stands twice"),
        ("p.json", '["a",', r"not valid JSON \(column 6"),
        ("p.json", '["a", 3, null]', 'entries 2, 3: no field "prompt"'),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": "a", "x": 1, "x": 2}\n', "line 2: the key 'x' stands twice in an obj"),
        (
            "p.jsonl",
            '{"prompt": "a"}\n{"prompt": "b", "x": ' + "[" * 200 + "]" * 200 + "}",
            "line 2: it is nested more",
        ),
        ("p.jsonl", '{"prompt": "a"}\n{"prompt": "b", "x": ' + "9" * 5000 + "}", "line 2: it holds a whole number"),
        ("p.jsonl", '{"prompt": "a", "category": "\\ud800"}', 'line 1: "a value" has half a surrogate pair'),
        ("p.jsonl", '{"prompt": "a", "x": [{"\\udfff": 1}]}', 'line 1: "a value" has half a surrogate pair'),
        ("p.jsonl", '{"prompt": " "}', 'line 1: "prompt" is empty'),
        ("p.json", json.dumps({"all": ["a"]}, indent=1), "no column prompt, .*; it has all"),
        (
            "p.parquet",
            as_parquet({"prompt": ["a", None]}),
            '1 of 2 rows cannot be used\n  - row 2: "prompt" is not a st',
        ),
        ("p.parquet", as_parquet({"prompt": [b"a"], "id": [1]}), "no column prompt, .*; it has id"),
        ("p.parquet", b"PAR1 torn PAR1", "it is a Parquet file that cannot be read"),
        ("p.parquet", b"a cat\n", "it is not a Parquet file"),
        ("p.txt", as_parquet({"prompt": ["a"]}), r"it is a Parquet file; let its name end in \.parquet"),
        ("p.txt", b"PK\x03\x04....", "it is a zip archive, or a workbook"),
        ("p.xlsx", b"PK\x03\x04....", "it is a zip archive, or a workbook"),
        ("p.csv", b"\xd0\xcf\x11\xe0\xa1", "an old office program"),
        ("p.txt", b"%PDF-1.7 ...", "it is a PDF document"),
        ("p.txt", b"\x89PNG\r\n", "it is a PNG picture"),
        ("p.txt", b"\x80\x04\x95....", "it is a pickle, which is never loaded"),
        ("p.json", b"<!DOCTYPE html><html>", "it is a web page"),
        ("p.txt", b"\xef\xbb\xbf<html>", "it is a web page"),
        ("p.txt", b"version https://git-lfs.github.com/spec/v1\n", "fetch it with `git lfs pull`"),
        ("p.txt", b"p\x00r\x00", "not text: byte 0x00 at position 1, in line 1"),
        ("p.txt", '{"prompt": "a"}\n{"prompt": "b"}\n', r"objects of JSON; let its name end in \.jsonl"),
        ("p.txt", "id\tprompt\n1\ta\n", r"let its name end in \.tsv"),
        ("p.txt", "prompt,category\na cat,x\n", r"names columns that commas separate; let its name end in \.csv"),
        ("p.txt", "id;Prompt\n1;a cat, b\n", r"names columns that semicolons separate; let its name end in \.csv"),
        ("p.txt", 'id,caption\n1,"a cat, b"\n', r"names columns that commas separate; let its name end in \.csv"),
        ("p", "prompt\na cat\n", "its first line, 'prompt', names a column; remove it"),
        ("p.txt", '["a cat", "a dog"]\n', r"it is a document of JSON; let its name end in \.json"),
        ("p.txt", '[\n {"prompt": "a cat"}\n]\n', r"it is a document of JSON; let its name end in \.json"),
        ("p.json", '{"prompts": ["a", "b"]}', '"prompts" holds several values; write a row for each prompt'),
        ("p.csv.gz", TWICE_PACKED, "packed twice by gzip; unpack it once"),
        ("p.txt.gz", b"\x1f\x8b\x08torn", "cannot be unpacked as gzip"),
        ("p.txt.gz", b"plain", "cannot be unpacked as gzip"),
        ("p.jsnl", b"a\n", r"files that end in \.jsnl are not read; did you mean '\.jsonl'\?"),
        ("p.md", b"a\n", r"files that end in \.md are not read; .*accepted: one prompt a line \(\.txt\)"),
    ],
)
def test_what_cannot_be_read_is_refused_as_what_it_is(tmp_path, name, content, message):
    with pytest.raises(PromptError, match=message) as caught:
        read(tmp_path, name, content)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize(
    "text", ["ORC warrior", "{not json", "PK", "Rar! he said", "a\tb", '{"one": "line"} of many', "text, neon", "[x]"]
)
def test_prompts_that_begin_like_another_file_are_prompts(tmp_path, text):
    assert [prompt.text for prompt in read(tmp_path, "p.txt", f"{text}\na cat\n")] == [text, "a cat"]


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("fdfo.prompts.forms.LARGEST_BYTES", 10**6)
    with pytest.raises(PromptError, match="unpacks to more than 1000000 bytes"):
        read(tmp_path, "p.txt.gz", gzip.compress(b"a" * (10**6 + 1)))
    assert len(read(tmp_path, "q.txt.gz", gzip.compress(b"a" * 10**6))[0].text) == 10**6


def test_without_its_package_parquet_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(
        PromptError, match=r"read by the package pyarrow; install it: \S*python\S* -m pip install pyarrow"
    ):
        read(tmp_path, "p.parquet", CONTENTS[".parquet"])


def test_every_ending_that_is_accepted_is_read(tmp_path):
    by_form = {"text": b"a\n", "csv": b"prompt\na\n", "tsv": b"prompt\na\n", "json": b'["a"]'}
    for ending, form in FORMS.items():
        content = by_form.get(form, as_parquet({"prompt": ["a"]}))
        assert [prompt.text for prompt in read(tmp_path, f"p{ending}", content)] == ["a"], ending


def test_a_key_belongs_to_a_file_with_columns(tmp_path):
    text = write(tmp_path, "p.txt", "a\n")
    with pytest.raises(PromptError, match=r"--key x: .* lines of text, without columns; leave it out"):
        read_column(text, "x")
    with pytest.raises(PromptError, match="--key x: shapes-test is a list of its own"):
        load_file_or_list("shapes-test", "x")


def test_what_eval_is_given_is_a_list_by_its_name_or_else_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "p.csv", "words\na\n")
    write(tmp_path, "plain", "b\n")
    assert [prompt.text for prompt in load_file_or_list("p.csv", "words")] == ["a"]
    assert [prompt.text for prompt in load_file_or_list("plain")] == ["b"]
    assert load_file_or_list("shapes-test")[0].category == "single"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (3, "3"),
        (["a", "b"], '["a", "b"]'),
        ({}, "{}"),
        (True, "true"),
        ("x", "x"),
        (None, None),
        ({"é": 1.5}, '{"é": 1.5}'),
    ],
)
def test_a_category_is_shown_as_text_whatever_it_is(value, shown):
    assert Prompt(text="a", metadata={"category": value}).category == shown
