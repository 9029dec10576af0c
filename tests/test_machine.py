"""The same on every operating system."""

import os
import sys

import psutil
import pytest

from fdfo.machine import flush_folder, peak_memory_gib, usable_cores


def test_the_peak_is_no_less_than_what_is_used_and_no_more_than_there_is():
    used = psutil.Process().memory_info().rss / 2**30
    assert used * 0.9 < peak_memory_gib() < psutil.virtual_memory().total / 2**30


def test_cores_that_may_be_used(monkeypatch):
    assert usable_cores() == psutil.Process().cpu_affinity()
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == list(range(psutil.cpu_count()))


@pytest.mark.parametrize(
    ("system", "flushed"), [("linux", {"a", "below", "below/b", "."}), ("win32", {"a", "below/b"})]
)
def test_everything_that_can_be_is_flushed(tmp_path, monkeypatch, system, flushed):
    (tmp_path / "below").mkdir()
    for name in ("a", "below/b"):
        (tmp_path / name).write_text(name)
    found = set()
    monkeypatch.setattr(os, "fsync", lambda number: found.add(os.fstat(number).st_ino))
    monkeypatch.setattr(sys, "platform", system)
    flush_folder(tmp_path)
    assert found == {(tmp_path / name).stat().st_ino for name in flushed}
