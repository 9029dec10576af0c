"""A real browser: Chromium of the system, without a window, with an empty profile."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
PATIENCE_S = 30
SIZES = {"wide": (1280, 800), "phone": (390, 844)}


def executable() -> str:
    """Where it is; FDFO_CHROMIUM names another. Fails the test where there is none: nothing is skipped in silence."""
    found = os.environ.get("FDFO_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    return found or pytest.fail("no Chromium: `make browser` installs it (Debian), or name one in FDFO_CHROMIUM")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=ARGUMENTS)
        yield browser
        browser.close()


@contextmanager
def opened(browser: Browser, url: str, size: str = "wide", scheme: str = "light") -> Iterator[Page]:
    """A page; whatever its scripts throw fails the test, and so does what its own policy forbids."""
    width, height = SIZES[size]
    is_phone = size == "phone"
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        has_touch=is_phone,
        is_mobile=is_phone,
    )
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda told: wrong.append(told.text) if "Content Security Policy" in told.text else None)
    page.goto(url)
    page.wait_for_selector("h1:visible")
    yield page
    context.close()
    assert wrong == []


def until(page: Page, condition: str) -> None:
    """Wait for a condition; `wait_for_function` of Playwright would need a page that may make code of text."""
    end = time.monotonic() + PATIENCE_S
    while not page.evaluate(condition):
        assert time.monotonic() < end, condition
        page.wait_for_timeout(20)


def violations(page: Page) -> list[str]:
    """What axe-core finds wrong with a page for people who see, hear or move otherwise."""
    page.evaluate((Path(axe_playwright_python.__file__).parent / "axe.min.js").read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")  # says little of what is well: faster
    assert found["passes"]
    return [f"{one['id']}: {[node['html'] for node in one['nodes']]}" for one in found["violations"]]
