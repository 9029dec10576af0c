"""Shared fixtures."""

import gc

import pytest
import torch


def pytest_collection_finish():
    """What is imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _seeded():
    """Tests that draw from torch's global generator draw the same numbers every time, in any order."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    """The networks here are tiny, and threads that wait for each other on busy cores cost most of the time."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def browser():
    """One for all tests of pages: it takes seconds to start, and every page has a profile of its own."""
    from tests.browser import chromium

    with chromium() as running:
        yield running
