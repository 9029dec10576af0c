"""A choice is on the disk before it counts, and a damaged line loses nothing but itself."""

import builtins
import errno
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

import pytest

from fdfo.studio import choices as module
from fdfo.studio.choices import Journal
from tests.studio.test_board import PAIRS, chose


def written(journal, *choices):
    with journal.held():
        for choice in choices:
            journal.add(choice)


def test_what_is_written_is_read(tmp_path):
    journal = Journal(tmp_path)
    assert journal.choices() == []
    choices = [chose(PAIRS[0]), chose(PAIRS[1], "skip", "anna")]
    written(journal, *choices)
    assert Journal(tmp_path).choices() == choices


def test_what_is_taken_back_does_not_count_and_is_kept(tmp_path):
    journal, choices = Journal(tmp_path), [chose(PAIRS[0]), chose(PAIRS[1])]
    written(journal, *choices)
    with journal.held():
        journal.take_back(choices[0])
    assert journal.choices() == choices[1:]
    assert journal.path.read_text().count("\n") == 3


def test_what_people_want_to_see_and_what_was_left_is_kept(tmp_path):
    journal = Journal(tmp_path)
    with journal.held():
        journal.switch("anna", True)
        journal.switch("ben", True)
        journal.add(chose(PAIRS[0]))
        journal.leave([PAIRS[1].key])
        journal.switch("ben", False)
        journal.leave([PAIRS[2].key])
    found = Journal(tmp_path).read()
    assert found.choices == [chose(PAIRS[0])]
    assert found.selective == {"anna"} and found.left == {PAIRS[1].key, PAIRS[2].key}


@pytest.mark.parametrize("torn", [b'{"id": "x', b"null\n", b"[1]\n", b'{"id": 3}\n', b"\xff\xfe\n", b"\n"], ids=repr)
def test_lines_that_are_none_are_passed_over(tmp_path, torn):
    journal = Journal(tmp_path)
    written(journal, chose(PAIRS[0]))
    with open(journal.path, "ab") as file:
        file.write(torn)
    written(journal, chose(PAIRS[1]))
    assert journal.choices() == [chose(PAIRS[0]), chose(PAIRS[1])]


@pytest.mark.parametrize(
    "wrong",
    [
        {"chosen": "up"},
        {"left": 1},
        {"first": "../../../etc/passwd"},
        {"second": "A" * 32},
        {"id": ["x"]},
        {"pair": None},
        {"who": {}},
        {"when": "yesterday"},
        {"seconds": "1"},
        {"seconds": -1.0},
        {"seconds": float("nan")},
        {"repeat": "no"},
    ],
    ids=str,
)
def test_a_line_with_a_value_that_no_choice_has_is_passed_over(tmp_path, wrong):
    journal = Journal(tmp_path)
    journal.path.write_text(json.dumps(asdict(chose(PAIRS[0])) | wrong) + "\n" + "[" * 100_000 + "\n")
    written(journal, chose(PAIRS[1]))
    assert journal.choices() == [chose(PAIRS[1])]


def test_it_is_flushed_to_the_disk_before_it_returns(tmp_path, monkeypatch):
    sizes, sync = [], os.fsync
    monkeypatch.setattr(module.os, "fsync", lambda file: sizes.append(os.fstat(file).st_size) or sync(file))
    journal = Journal(tmp_path)
    written(journal, chose(PAIRS[0]))
    assert sizes == [journal.path.stat().st_size]


@pytest.mark.parametrize("after", [0, 10])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, after):
    """The disk takes some bytes of the line, then no more."""
    journal = Journal(tmp_path)
    written(journal, chose(PAIRS[0]))
    before, real = journal.path.read_bytes(), builtins.open

    def full(path, mode="r", **options):
        file = real(path, mode, **options)
        if path == journal.path and mode == "ab":
            write = file.write

            class Full:
                def __getattr__(self, name):
                    return getattr(file, name)

                def __enter__(self):
                    return self

                def __exit__(self, *_):
                    file.close()

                def write(self, content):
                    if after:
                        return write(content[:after])
                    raise OSError(errno.ENOSPC, "No space left on device")

            return Full()
        return file

    with journal.held(), monkeypatch.context() as patch:
        patch.setattr(builtins, "open", full)
        with pytest.raises(OSError, match="No space left"):
            journal.add(chose(PAIRS[1]))
    assert journal.path.read_bytes() == before
    written(journal, chose(PAIRS[1]))
    assert len(journal.choices()) == 2


def test_writers_take_turns(tmp_path):
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda pair: written(Journal(tmp_path), chose(pair)), PAIRS))
    assert {choice.pair for choice in Journal(tmp_path).choices()} == {pair.key for pair in PAIRS}
