"""When an attack counts as held."""

import signal

import pytest

from benchmarks.faults.attacks.__main__ import table
from benchmarks.faults.attacks.attack import Result, _failure
from benchmarks.faults.runs import Ended

TRACE = "Traceback (most recent call last)\n  ...\nKeyError: 'a'\n"


@pytest.mark.parametrize(
    ("code", "output", "failure"),
    [
        (2, "error: 1 problem", ""),
        (2, TRACE, "a traceback: KeyError: 'a'"),
        (1, "error: no", "exit code 1: error: no"),
        (-signal.SIGKILL, "", "still running after 60 s"),
        (-signal.SIGSEGV, "", "exit code -11: nothing said"),
        (2, "all is well", "did not say 'problem'"),
    ],
)
def test_what_is_held(code, output, failure):
    assert _failure(Ended(code, output, 0.1), {0, 2}, "problem") == failure


def test_the_table_counts_each_kind():
    results = [Result("score", "a", "", 1.0), Result("score", "b", "a traceback", 2.5), Result("kill", "c", "", 0.2)]
    assert table(results, "words").splitlines()[-2:] == ["| score | 2 | 1 | 2.5 s |", "| kill | 1 | 1 | 0.2 s |"]
