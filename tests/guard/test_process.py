"""Whatever code of others does to the process is undone when it returns."""

import random
import threading

import numpy as np
import pytest
import torch

from fdfo.errors import RewardError
from fdfo.guard.contact import Guard
from tests.guard.leaks import IMPORTS, LEAKS, TOGETHER, everything

GUARD = Guard("score 'x'", RewardError)


@pytest.fixture
def names():
    found = {}
    exec(IMPORTS, found)
    yield found
    found["held"].clear()
    torch.set_grad_enabled(True)  # an inference mode that ends puts back the mode that it found


@pytest.mark.parametrize("leak", LEAKS)
@pytest.mark.parametrize("raises", [False, True])
def test_it_is_undone(names, leak, raises):
    seen = []

    def work():
        exec(LEAKS[leak], names)
        seen.append(everything())
        if raises:
            raise KeyError("colour")

    before = everything()
    if raises:
        with pytest.raises(RewardError, match="KeyError"):
            GUARD("now", work)
    else:
        GUARD("now", work)
    assert everything() == before
    assert seen[0] != before  # there was something to undo


def test_all_at_once_and_nested_in_no_gradient(names):
    def work():
        for code in TOGETHER:
            exec(code, names)
        GUARD("within", lambda: exec(LEAKS["folder"], names))

    with torch.no_grad():
        before = everything()
        GUARD("now", work)
        assert everything() == before
    assert torch.is_grad_enabled()


def test_it_sees_the_gradient_mode_of_its_caller():
    for enabled in (True, False):
        with torch.set_grad_enabled(enabled):
            assert GUARD("now", torch.is_grad_enabled) is enabled
    with torch.inference_mode():
        assert GUARD("now", torch.is_inference_mode_enabled)


def test_random_numbers_of_others_are_a_stream_of_their_own():
    def draw():
        return float(torch.rand(())), random.random(), float(np.random.rand())  # noqa: NPY002, as others still do

    def seed():
        torch.manual_seed(5), random.seed(5), np.random.seed(5)  # noqa: NPY002

    GUARD("now", seed)
    theirs = [GUARD("now", draw) for _ in range(3)]
    ours = torch.get_rng_state()
    GUARD("now", seed)
    assert [GUARD("now", draw) for _ in range(3)] == theirs
    assert len(set(theirs)) == 3  # and goes on from call to call
    assert torch.equal(torch.get_rng_state(), ours)


def test_contacts_of_several_threads_end_in_what_was_before_the_first(names):
    entered, may_leave = threading.Event(), threading.Event()

    def elsewhere():
        exec(LEAKS["default dtype"], names)
        exec(LEAKS["seed of torch"], names)
        entered.set()
        may_leave.wait(10)

    def here():
        may_leave.set()
        thread.join(10)
        exec(LEAKS["threads"], names)

    before = everything()
    thread = threading.Thread(target=lambda: GUARD("there", elsewhere))
    thread.start()
    entered.wait(10)
    GUARD("here", here)
    assert everything() == before


def test_a_folder_that_is_gone_is_no_obstacle(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    GUARD("now", lambda: None)


def test_ours_is_called_as_it_is(names):
    guard = Guard("score 'ours'", RewardError, is_ours=True)
    before = torch.get_num_threads()
    guard("now", lambda: exec(LEAKS["threads"], names))
    try:
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
