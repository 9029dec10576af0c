"""Prompt files: everything in a prompt survives, and everything wrong with a file is told at once."""

import json

import pytest

from fdfo.errors import PromptError
from fdfo.prompts import load_prompts, read_prompts
from fdfo.records import Prompt

AWKWARD = [
    "plain",
    "{braces} and {0} and %s and \\n",
    "'single' and \"double\" quotes",
    "  spaces around  ",
    "tab\tinside",
    "line\u2028separator\u2029and\x0bothers\x85here\x1e",
    "日本語 🖼️ é",
    "x" * 10_000,
    "# not a comment",
]


def write(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def texts(path):
    return [prompt.text for prompt in read_prompts(path).prompts]


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["", "BOM"])
@pytest.mark.parametrize("last", ["", "end"])
def test_text_survives_intact(tmp_path, line_end, mark, last):
    content = line_end.join(AWKWARD) + (line_end if last else "")
    assert texts(write(tmp_path, "p.txt", mark + content.encode())) == AWKWARD


def test_only_one_carriage_return_belongs_to_the_line_end(tmp_path):
    assert texts(write(tmp_path, "p.txt", "a\rb\r\r\nc\r")) == ["a\rb\r", "c"]


@pytest.mark.parametrize("escaped", [True, False])
def test_json_lines_keep_text_and_metadata(tmp_path, escaped):
    entries = [{"tag": "counting", "include": [{"class": "dog", "count": 2}], "prompt": text} for text in AWKWARD]
    lines = "\n".join(json.dumps(entry, ensure_ascii=escaped) for entry in entries)
    prompts = read_prompts(write(tmp_path, "p.jsonl", lines)).prompts
    assert [prompt.text for prompt in prompts] == AWKWARD
    assert prompts[0].metadata == {"tag": "counting", "include": [{"class": "dog", "count": 2}]}
    assert [prompt.number for prompt in prompts] == list(range(len(AWKWARD)))


def test_blank_lines_are_skipped_and_counted(tmp_path):
    assert read_prompts(write(tmp_path, "p.txt", "\na\n  \n\t\r\nb\n\n")).blank_lines == 4
    assert texts(tmp_path / "p.txt") == ["a", "b"]
    found = read_prompts(write(tmp_path, "p.jsonl", '\n{"prompt": "a"}\n'))
    assert (len(found.prompts), found.blank_lines) == (1, 1)
    assert read_prompts(write(tmp_path, "q.txt", "a\nb\n")).blank_lines == 0


def test_all_problems_of_a_file_in_one_message(tmp_path):
    lines = ['{"prompt": "good"}', "{broken", '{"text": "a"}', '["prompt"]', '{"prompt": 5}', '{"prompt": "\\ud800"}']
    lines += ["also broken"] * 8
    with pytest.raises(PromptError) as caught:
        read_prompts(write(tmp_path, "p.jsonl", "\n".join(lines)))
    message = str(caught.value)
    assert "p.jsonl: 13 of 14 lines cannot be used" in message
    assert "lines 2, 7, 8, 9, 10 and 4 more: not valid JSON" in message
    assert 'lines 3, 4: no field "prompt"' in message
    assert 'line 5: "prompt" is not a string' in message
    assert 'line 6: "prompt" has half a surrogate pair' in message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"one\ntwo\ncaf\xe9\n", r"byte 0xe9 at position 11, in line 3; .*iconv -f WINDOWS-1252 -t UTF-8 p\.txt"),
        (b"\xef\xbb\xbfab\n\xe9\n", "byte 0xe9 at position 6, in line 2"),
        ("\ufeffa cat".encode("utf-16-le"), "byte 0xff at position 0, in line 1; .*iconv -f UTF-16"),
        (b"", "has no prompts; write one a line"),
        (b"\n \n", "has no prompts"),
        (b"\xef\xbb\xbf", "has no prompts"),
    ],
)
def test_unreadable_and_empty_files(tmp_path, content, message):
    with pytest.raises(PromptError, match=message):
        read_prompts(write(tmp_path, "p.txt", content))


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(PromptError, match=r"gone\.txt: no such file; give a file with one prompt a line"):
        read_prompts(tmp_path / "gone.txt")
    with pytest.raises(PromptError, match="is a folder"):
        read_prompts(tmp_path)


def test_path_overrides_name(tmp_path):
    path = write(tmp_path, "p.txt", "a\nb\n")
    assert [prompt.text for prompt in load_prompts(str(path), "no such list")] == ["a", "b"]


@pytest.mark.parametrize("returned", [[], [1], None])
def test_registered_list_must_return_prompts(monkeypatch, returned):
    monkeypatch.setattr("fdfo.prompts.find", lambda kind, name: lambda: returned)
    with pytest.raises(PromptError, match="prompts 'mine' must give one or more"):
        load_prompts(None, "mine")


def _nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        ("a \ud800 cat", "half a surrogate pair"),
        ({"prompt": "a", "x": [{"\udfff": 1}]}, "half a surrogate pair"),
        (Prompt(text="a", metadata={"category": "\ud800"}), "half a surrogate pair"),
        ({"prompt": "a", "category": {1, 2}}, "Object of type set is not JSON serializable"),
        ({"prompt": "a", "category": {(1, 2): 3}}, "keys must be str"),
        ({"prompt": "a", 5: 1}, "the name 5 is not a text"),
        ({"prompt": "a", "x": _nested(5000)}, "nested more than 100 levels"),
        ({"prompt": "a", "x": 10**6000}, "whole number of more than 300 digits"),
    ],
)
def test_what_json_cannot_hold_is_refused_before_any_image(monkeypatch, one, problem):
    monkeypatch.setattr("fdfo.prompts.find", lambda kind, name: lambda: ["good", one])
    with pytest.raises(PromptError, match=f"prompts 'mine' must give what JSON can hold; of 'a.*{problem}"):
        load_prompts(None, "mine")


def test_metadata_of_a_list_are_kept_as_they_are(monkeypatch):
    metadata = {"category": float("inf"), "x": [None, {"y": True}], "size": (1, 2)}
    monkeypatch.setattr("fdfo.prompts.find", lambda kind, name: lambda: [{"prompt": "a", **metadata}])
    assert load_prompts(None, "mine")[0].metadata == metadata
