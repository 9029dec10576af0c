"""Own files read back: exact names, damaged content named and kept out of the way."""

import json
import os

import pytest

from fdfo.files import write_atomically
from fdfo.own import cut_torn_line, mend_lines, numbered, remove, set_aside, sound, sound_lines

MAKE_BELIEVE = (
    "epoch-foo",
    "epoch-0000004.bak",
    "epoch-0000004 (copy).json",
    "epoch-0000004.json.damaged",
    "epoch-4.json",
    "epoch-00000004.json",  # a leading zero too many: 4 would have two files
    "epoch-000000４.json",
    "xepoch-0000004.json",
    "pairs-0000004.json",
    ".epoch-0000004.json.1f.tmp",
)


def test_only_exact_names_count_and_numbers_give_the_order(tmp_path):
    numbers = (20, 3, 10_000_000, 9_999_999)
    for name in (*MAKE_BELIEVE, *(f"epoch-{number:07d}.json" for number in numbers), "epoch-0000007"):
        (tmp_path / name).touch()
    assert list(numbered(tmp_path, "epoch", ".json")) == sorted(numbers)
    assert list(numbered(tmp_path, "epoch")) == [7]
    assert numbered(tmp_path / "nowhere", "epoch") == {}


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b'{"a": ' + b"1" * 5000 + b"}"])
def test_whatever_cannot_be_read_is_named_and_set_aside(tmp_path, caplog, content):
    path = tmp_path / "a.json"
    for _ in range(2):  # what was set aside before makes room
        path.write_bytes(content)
        assert sound(path, lambda path: json.loads(path.read_bytes()), set_aside) is None
        assert sorted(one.name for one in tmp_path.iterdir()) == ["a.json.damaged"]
        assert str(path) in caplog.messages[-1] and "set aside as a.json.damaged" in caplog.messages[-1]


def test_what_is_no_file_is_not_read(tmp_path, caplog):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero", "nowhere", "."):
        assert sound(tmp_path / name, lambda path: path.read_bytes()) is None
        assert "not a file" in caplog.messages[-1]


def test_damaged_lines_are_told_and_a_cut_off_one_is_not(tmp_path, caplog):
    path = tmp_path / "lines.jsonl"
    path.write_bytes(b'{"a": 1}\nnull\n{"a": "\xff"}\n[1]\n{"a": 2}\n{"a": 3')
    assert sound_lines(path, lambda content: content["a"] + 0) == [1, 2]
    assert "in lines 2, 3, 4" in caplog.messages[0]
    path.write_text("null\n" * 9)
    assert sound_lines(path, dict) == []
    assert "in lines 1, 2, 3, 4, 5 and 4 more" in caplog.messages[1]
    path.write_text("{}\n{")
    assert sound_lines(path, dict) == [{}]
    assert sound_lines(tmp_path / "nowhere", dict) == []
    assert len(caplog.messages) == 2


def test_a_file_is_written_again_without_damaged_lines_and_kept_as_it_was(tmp_path, caplog):
    path, before = tmp_path / "lines.jsonl", b'{"a": 0.1}\nnull\n{"a": "\xc3\xa9\xe2\x80\xa8"}\n'
    path.write_bytes(before)
    mend_lines(path, dict)
    assert [json.loads(line) for line in path.read_bytes().splitlines()] == [{"a": 0.1}, {"a": "\u00e9\u2028"}]
    assert (tmp_path / "lines.jsonl.damaged").read_bytes() == before
    assert "in line 2" in caplog.messages[0]
    mended = path.read_bytes()
    mend_lines(path, dict)
    assert path.read_bytes() == mended and len(caplog.messages) == 1


def test_what_is_appended_does_not_join_a_torn_line(tmp_path):
    path = tmp_path / "lines.jsonl"
    cut_torn_line(path)
    assert not path.exists()
    for content, left in (("", ""), ("a\nb\n", "a\nb\n"), ("a\nb", "a\n"), ("b", "")):
        path.write_text(content)
        cut_torn_line(path)
        assert path.read_text() == left


def test_removing_a_link_leaves_what_it_leads_to(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "folder")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    for name in ("link", "dangling", "nothing"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"] and (tmp_path / "folder" / "file").exists()
    remove(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing_behind(tmp_path):
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError):
        write_atomically(tmp_path / "taken", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]
