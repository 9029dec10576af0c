"""One writer a folder: the second is told who the first is, and nothing of the first is touched."""

import errno
import importlib
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
import types
from contextlib import suppress

import pytest

from fdfo import kernel_lock, locks
from fdfo.commands.output import held_folder
from fdfo.errors import BusyError, CheckpointError
from fdfo.evaluation.runs import read_events
from fdfo.locks import one_writer
from fdfo.studio import choices
from fdfo.training.folder import new_run_folder
from tests.comparison.plans import write
from tests.test_cli import fdfo
from tests.training.forks import forked
from tests.training.runs import adapter, run

HOLD = """
import os, sys, time
from pathlib import Path
from fdfo.locks import one_writer
from fdfo.studio import choices
with one_writer(Path(sys.argv[1]), ""):
    if not sys.argv[2:] or os.fork() == 0:
        print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Start a process that holds the lock of a folder or file, and is killed at the end."""
    started = []

    def hold(path, *arguments):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(path), *arguments], stdout=subprocess.PIPE, text=True, process_group=0
        )
        started.append(process)
        assert process.stdout is not None and process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_the_second_is_told_host_process_and_time_of_the_first_until_it_is_killed(holder, tmp_path):
    first = holder(tmp_path)
    with pytest.raises(BusyError) as caught, one_writer(tmp_path, "wait"):
        pass
    told = rf"{tmp_path} is being written by process {first.pid} on {socket.gethostname()}, since \d{{4}}-\d\d-\d\d "
    assert caught.match(told + r"\d\d:\d\d:\d\d\S*; wait$")
    first.kill()
    first.wait()
    with one_writer(tmp_path, "wait"):
        pass


def test_a_fork_that_outlives_the_holder_lets_go(holder, tmp_path):
    first = holder(tmp_path, "fork")
    first.kill()
    first.wait()
    with one_writer(tmp_path, "wait"):
        pass


def test_who_waits_gets_the_lock_when_it_is_free(tmp_path):
    rounds = []
    with one_writer(tmp_path, "wait"):
        done = threading.Event()

        def wait():
            with one_writer(tmp_path, "", waiting=lambda: rounds.append(done.is_set())):
                assert done.is_set()
                rounds.append("in")

        waiting = threading.Thread(target=wait)
        waiting.start()
        while not rounds:
            pass
        done.set()
    waiting.join()
    assert rounds[0] is False and rounds[-1] == "in"


def test_a_file_and_the_folder_it_is_in_are_held_apart(tmp_path):
    held = [one_writer(path, "wait") for path in (tmp_path, tmp_path / "a.jsonl", tmp_path / "b")]
    second = one_writer(tmp_path / "a.jsonl", "wait")
    with held[0], held[1], held[2], pytest.raises(BusyError, match=r"a\.jsonl is being written"), second:
        pass


def test_a_file_system_without_locks_is_told_and_other_errors_are_raised(tmp_path, monkeypatch, caplog):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(kernel_lock, "_lock", fail)
    for number in (errno.ENOLCK, errno.EOPNOTSUPP):
        with caplog.at_level(logging.WARNING), one_writer(tmp_path, "wait"):
            assert f"its file system has no locks ({os.strerror(number)})" in caplog.messages[-1]
    number = errno.EIO
    with pytest.raises(OSError, match=os.strerror(number)), one_writer(tmp_path, "wait"):
        pass


def test_a_second_training_is_refused_and_changes_nothing(tmp_path):
    folder = run(tmp_path / "run", "train.epochs=1")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with one_writer(folder, "wait"):
        before[folder / ".lock"] = (folder / ".lock").read_bytes()
        with pytest.raises(BusyError, match=rf"{folder} is being written by process {os.getpid()} on .*--run folder$"):
            run(folder, "train.epochs=2")
    after = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert after == {**before, folder / ".lock": b""}


@pytest.mark.slow
def test_of_two_processes_one_holds_the_folder_for_both(tmp_path):
    def trained(rank):
        run(tmp_path / "run", "train.epochs=1")

    def refused(rank):
        with pytest.raises(BusyError if rank == 0 else Exception, match=r"is being written|process 0 failed"):
            run(tmp_path / "run", "train.epochs=1")

    assert forked(2, trained) == [0, 0]
    with one_writer(tmp_path / "run", "wait"):
        assert forked(2, refused) == [0, 0]
    assert adapter(tmp_path / "run", 1)
    assert [event["epoch"] for event in read_events(tmp_path / "run") if event["event"] == "rollout"] == [1]


def test_numbers_of_new_runs_are_given_once(tmp_path):
    root = tmp_path / "runs"
    threads = [threading.Thread(target=new_run_folder, args=(root, f"m{i % 3}-shapes")) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    numbers = sorted(path.name[:5] for path in root.iterdir() if path.is_dir())
    assert numbers == [f"{number:05d}" for number in range(6)]
    for other in ("99999-old", "123-short", "00100x-y", "notes"):
        (root / other).mkdir()
    assert new_run_folder(root, "fdfo-shapes").name == "100000-fdfo-shapes"
    assert new_run_folder(root, "fdfo-shapes").name == "100001-fdfo-shapes"


def test_a_root_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "runs").touch()
    with pytest.raises(CheckpointError, match=r"cannot write to .*runs"):
        new_run_folder(tmp_path / "runs", "fdfo-shapes")


def test_a_folder_of_pictures_has_one_writer(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("fdfo.models.load.load_policy", lambda *_, **__: pytest.fail("a model was loaded"))
    (tmp_path / "drawn").mkdir()
    with one_writer(tmp_path / "drawn", "wait"):
        code, _, err = fdfo(monkeypatch, capsys, "generate", "a cat", "--model", "shapes", "-o", tmp_path / "drawn")
        assert code == 1 and f"drawn is being written by process {os.getpid()}" in err and "another --output" in err
        with pytest.raises(BusyError), held_folder(tmp_path / "drawn"):  # as `choices fit` does
            pass


@pytest.mark.parametrize("place", ["out", "out/data/tiny.jsonl", "out/data/tiny-probe.jsonl", "runs"])
def test_commands_that_keep_what_they_did_refuse_a_second_one(tmp_path, monkeypatch, capsys, place):
    plan = write(tmp_path)
    (tmp_path / "out/data").mkdir(parents=True)
    (tmp_path / "runs").mkdir()
    commands = {
        "out": ("eval", "--model", "shapes", "--prompts", "shapes-test", "--rewards", "jpeg", "-o", tmp_path / "out"),
        "out/data/tiny-probe.jsonl": ("probe", plan, "-o", tmp_path / "out"),
    }
    compare = ("compare", plan, "-o", tmp_path / "out", "--runs", tmp_path / "runs")
    if place == "out":
        (tmp_path / "out/data").rmdir()
    with one_writer(tmp_path / place, "wait"):
        code, _, err = fdfo(monkeypatch, capsys, *commands.get(place, compare))
    assert code == 1
    assert f"{tmp_path / place} is being written by process {os.getpid()}" in err
    assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file() and path.name[0] != "."] == []


@pytest.mark.slow
def test_an_export_refuses_a_second_one(tmp_path, monkeypatch, capsys):
    folder = run(tmp_path / "run", "train.epochs=1")
    (folder / "export").mkdir()
    with one_writer(folder / "export", "wait"):
        code, _, err = fdfo(monkeypatch, capsys, "export", folder)
    assert (code, "export is being written by" in err) == (1, True)


def test_a_foreign_folder_gets_no_lock(tmp_path, monkeypatch, capsys):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(CheckpointError, match="not a run folder"):
        run(tmp_path)
    arguments = ("--model", "shapes", "--prompts", "shapes-test", "--rewards", "jpeg", "-o", tmp_path)
    assert fdfo(monkeypatch, capsys, "eval", *arguments)[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def windows(monkeypatch):
    """kernel_lock as Windows imports it: no fcntl, and a msvcrt that notes what is locked, by place in the file."""
    taken: set[tuple[int, int]] = set()

    def locking(number, mode, count):
        key = os.fstat(number).st_ino, os.lseek(number, 0, os.SEEK_CUR)
        assert count == 1
        if mode == msvcrt.LK_UNLCK:
            taken.remove(key)
        elif key in taken:
            raise OSError(errno.EACCES, "Permission denied")
        else:
            taken.add(key)

    msvcrt = types.SimpleNamespace(LK_NBLCK=2, LK_UNLCK=0, locking=locking)
    with monkeypatch.context() as patched:
        patched.setattr(sys, "platform", "win32")
        patched.setitem(sys.modules, "msvcrt", msvcrt)
        patched.setitem(sys.modules, "fcntl", None)  # importing it fails
        importlib.reload(kernel_lock)
        for module in (locks, choices):
            patched.setattr(module, "try_lock", kernel_lock.try_lock)
            patched.setattr(module, "let_go", kernel_lock.let_go)
        yield taken
    importlib.reload(kernel_lock)


def test_locks_of_windows_keep_nobody_from_reading(windows, tmp_path):
    with one_writer(tmp_path, "wait"):
        ((_, place),) = windows
        assert place > (tmp_path / ".lock").stat().st_size  # what is locked cannot be read by others there
        with (
            pytest.raises(BusyError, match=rf"is being written by process {os.getpid()} on "),
            one_writer(tmp_path, ""),
        ):
            pass
        assert locks.is_held(tmp_path) and windows
    assert not locks.is_held(tmp_path) and not windows
    with choices.Journal(tmp_path).held():
        assert windows
    assert not windows
