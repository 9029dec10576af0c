"""Every way of leaving is one error, which names what was called, when, and its line."""

import os
import signal
import sys
import threading
import time

import pytest
import torch

from fdfo.errors import Interrupted, PeerError, RewardError
from fdfo.guard.contact import Guard, is_ours

GUARD = Guard("score 'x'", RewardError)


class Silent(Exception):
    def __str__(self):
        raise ValueError("no text")


class Numeric(Exception):
    def __str__(self):
        return 3


LEAVING = {
    "SystemExit": lambda: sys.exit(),
    "SystemExit: 3": lambda: sys.exit(3),
    "GeneratorExit": lambda: throw(GeneratorExit()),
    "KeyboardInterrupt": lambda: throw(KeyboardInterrupt()),
    "StopIteration": lambda: next(iter([])),
    "RecursionError: ": lambda: forever(),
    "KeyError: 'colour'": lambda: {}["colour"],
    "Silent: its text cannot be read (ValueError)": lambda: throw(Silent()),
    "Numeric: its text cannot be read (TypeError)": lambda: throw(Numeric()),
    "ExceptionGroup: several (1 sub-exception)": lambda: throw(ExceptionGroup("several", [ValueError()])),
}


def throw(error):
    raise error


def forever():
    forever()


@pytest.mark.parametrize("told", LEAVING)
@pytest.mark.parametrize("threaded", [False, True])
def test_however_it_leaves(told, threaded):
    caught = []

    def call():
        with pytest.raises(RewardError) as error:
            GUARD("on 4 images", LEAVING[told])
        caught.append(error.value)

    if threaded:
        thread = threading.Thread(target=call)
        thread.start()
        thread.join(10)
    else:
        call()
    message = str(caught[0])
    assert message.startswith(f"score 'x' failed on 4 images: {told}")
    assert "(test_contact.py:" in message
    assert caught[0].__cause__ is not None


@pytest.mark.parametrize("error", [PeerError("as it is"), Interrupted(signal.SIGTERM), RewardError("said")])
def test_our_own_errors_and_a_stop_pass(error):
    with pytest.raises(type(error)) as caught:
        GUARD("now", lambda: throw(error))
    assert caught.value is error


@pytest.fixture
def _pythons_handler():
    """Which is not there where a shell has started the tests in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_pythons_handler")
def test_ctrl_c_of_the_user_passes_and_python_has_its_handler_back():
    def wait():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            GUARD("now", lambda: GUARD("within", wait))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        with pytest.raises(RewardError, match="KeyboardInterrupt"):  # and does not excuse the next one
            GUARD("now", lambda: throw(KeyboardInterrupt()))


def test_ctrl_c_in_ours_passes():
    guard = Guard("score 'ours'", RewardError, is_ours=True)
    with pytest.raises(KeyboardInterrupt):
        guard("now", lambda: throw(KeyboardInterrupt()))
    with pytest.raises(RewardError, match="score 'ours' failed now: ValueError: x"):
        guard("now", lambda: throw(ValueError("x")))


def test_running_out_of_memory_stays_what_it_is():
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError) as caught:
        GUARD("now", lambda: throw(error))
    assert caught.value is error
    with pytest.raises(torch.OutOfMemoryError, match="score 'x' ran out of memory now; use less"):
        GUARD("now", lambda: throw(error), remedy="use less")


def test_a_bounded_call_is_given_up():
    may_end = threading.Event()
    guard = Guard("score 'x'", RewardError, timeout_s=0.05)
    begun = time.monotonic()
    with pytest.raises(RewardError, match=r"'x' failed on 4 images: no answer within timeout_s=0\.05"):
        guard("on 4 images", lambda: may_end.wait(20), bounded=True)
    assert time.monotonic() - begun < 5
    may_end.set()
    assert guard("now", lambda: 3, bounded=True) == 3
    assert guard("now", lambda: time.sleep(0.1) or 4) == 4  # loading is not bounded
    with pytest.raises(RewardError, match="TimeoutError: mine"):  # its own is its own
        guard("now", lambda: throw(TimeoutError("mine")), bounded=True)
    with pytest.raises(RewardError, match="SystemExit: 2"):
        guard("now", lambda: sys.exit(2), bounded=True)


@pytest.mark.parametrize("enabled", [True, False])
def test_a_bounded_call_sees_the_gradient_mode_of_its_caller(enabled):
    guard = Guard("score 'x'", RewardError, timeout_s=10)
    with torch.set_grad_enabled(enabled):
        assert guard("now", torch.is_grad_enabled, bounded=True) is enabled


def test_what_is_ours():
    assert is_ours(RewardError) and is_ours(GUARD)
    assert not is_ours(throw) and not is_ours(torch.nn.Linear(1, 1)) and not is_ours(len)
