"""The choosing page in a real browser: keys, clicks, touch, undo, speed, faults, and what everybody can use."""

import errno
import json
import time
from statistics import median

import pytest

from fdfo.studio import desk as desk_module
from fdfo.studio.pairs import Round, pictures_of, post
from fdfo.studio.progress import Progress
from tests.browser import SIZES, opened, until, violations
from tests.studio.folders import answer, asked, desk_of, run_folder, serving
from tests.test_look import LEAST_OF_SHAPES, contrast, painted


@pytest.fixture
def run(tmp_path):
    return run_folder(tmp_path / "run")


def shown(page):
    """Addresses of the two pictures, as the person sees them."""
    return page.evaluate("['left', 'right'].map((side) => document.querySelector(`#${side} img`).getAttribute('src'))")


def saved(page, desk, count):
    """Wait until so many choices are written; they."""
    for _ in range(200):
        if len(desk.journal.choices()) >= count:
            break
        page.wait_for_timeout(20)
    choices = desk.journal.choices()
    assert len(choices) == count
    return choices


def reads(page, prompt):
    """Wait until a pair of this prompt is shown: a page that is faster than the run has none for a moment."""
    until(page, f"document.querySelector('#pair:not([hidden]) #prompt')?.innerText === {json.dumps(prompt)}")


ACTIONS = {
    "keys": lambda page, what: page.keyboard.press(
        {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowUp", "skip": "ArrowDown"}[what]
    ),
    "clicks": lambda page, what: page.click(f"#{what}"),
    "touch": lambda page, what: page.tap(f"#{what}"),
}


@pytest.mark.parametrize("way", ACTIONS)
def test_pairs_are_chosen_from(browser, run, way):
    pairs, desk = asked(run, 5), desk_of(run)
    with serving(desk) as server, opened(browser, server.url, "phone" if way == "touch" else "wide") as page:
        for number, what in enumerate(("left", "right", "tie", "skip", "left")):
            reads(page, f"prompt {number}")
            pair = pairs[number]
            names = [pair.first, pair.second] if pair.left == "first" else [pair.second, pair.first]
            assert shown(page) == [f"/choose/pictures/{name}.png" for name in names]
            ACTIONS[way](page, what)
        choices = saved(page, desk, 5)
        page.wait_for_selector("#rest:not([hidden])")
        assert "last pair of this epoch" in page.inner_text("#rest-title")
    expected = [
        what if what in ("tie", "skip") else ((pair.left == "first") == (what == "left") and "first") or "second"
        for pair, what in zip(pairs, ("left", "right", "tie", "skip", "left"), strict=True)
    ]
    assert [choice.chosen for choice in choices] == expected
    assert all(0 <= choice.seconds < 60 for choice in choices)


@pytest.mark.parametrize("key", ["Backspace", "u", "Control+z"])
def test_undo_shows_the_pair_again(browser, run, key):
    asked(run, 3)
    desk = desk_of(run)
    with serving(desk) as server, opened(browser, server.url) as page:
        before = shown(page)
        assert page.is_disabled("#pair .undo")
        page.keyboard.press("ArrowLeft")
        saved(page, desk, 1)
        page.keyboard.press(key)
        until(page, "document.getElementById('prompt').textContent === 'prompt 0'")
        assert shown(page) == before and desk.journal.choices() == []
        page.keyboard.press("ArrowRight")
        saved(page, desk, 1)


SWITCHES = {
    "keys": lambda page: page.keyboard.press("o"),
    "space": lambda page: (page.focus("#only"), page.keyboard.press("Space")),
    "clicks": lambda page: page.click("#switch"),
    "touch": lambda page: page.tap("#only"),
}


@pytest.mark.parametrize("way", SWITCHES)
def test_a_switch_leaves_the_pairs_that_other_scores_decide(browser, run, way):
    asked(run, 5, undecided=2)
    desk = desk_of(run, has_others=True)
    with serving(desk) as server, opened(browser, server.url, "phone" if way == "touch" else "wide") as page:
        reads(page, "prompt 0")
        assert page.inner_text("#switch > span").endswith("that the other scores cannot decide (2 of 5)")
        assert not page.is_checked("#only")
        SWITCHES[way](page)
        reads(page, "prompt 3")
        assert page.is_checked("#only") and desk.journal.read().selective == {"me"}
        assert page.inner_text("#count") == "0 of 2 pairs" and violations(page) == []
        page.keyboard.press("ArrowLeft")
        reads(page, "prompt 4")
        page.reload()
        reads(page, "prompt 4")
        assert page.is_checked("#only")
        SWITCHES[way](page)
        reads(page, "prompt 0")
        assert page.inner_text("#count") == "1 of 5 pairs"


def test_without_other_scores_there_is_no_switch_and_one_that_could_not_be_saved_goes_back(browser, run, monkeypatch):
    asked(run, 3, undecided=1)
    with serving(desk_of(run)) as server, opened(browser, server.url) as page:
        reads(page, "prompt 0")
        assert page.is_hidden("#switch")
    desk = desk_of(run, has_others=True)

    def full(who, is_on):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(desk.journal, "switch", full)
    with serving(desk) as server, opened(browser, server.url) as page:
        page.keyboard.press("o")
        page.wait_for_selector("#notice:not([hidden])")
        assert not page.is_checked("#only") and page.inner_text("#prompt") == "prompt 0"


MEASURE = """async () => {
  const begun = performance.now();
  const before = document.querySelector("#left img");
  document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
  const images = [...document.querySelectorAll(".side img")];
  if (images[0] === before || !images.every((image) => image.complete && image.naturalWidth)) return Infinity;
  await Promise.all(images.map((image) => image.decode()));
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
  return performance.now() - begun;
}"""


def test_the_next_pictures_are_there_within_100_ms_of_a_key(browser, run):
    """512 x 512 pixels, loaded ahead: from the key to the frame after the one that shows them."""
    asked(run, 24, side=512)
    with serving(desk_of(run)) as server, opened(browser, server.url) as page:
        taken = []
        for _ in range(20):
            page.wait_for_timeout(150)  # the fastest person
            taken.append(page.evaluate(MEASURE))
    assert median(taken) < 100, taken


def test_what_is_drawn_while_one_chooses_appears_by_itself(browser, run):
    pairs = asked(run, 1, total=4)
    desk = desk_of(run)
    with serving(desk) as server, opened(browser, server.url) as page:
        assert page.inner_text("#count") == "0 of 4 pairs"
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#rest:not([hidden])")
        assert "being drawn" in page.inner_text("#rest-title")
        post(run, 0, Round(number=0, total=4, pairs=(*pairs, *asked(run, 3, first=1))))
        page.wait_for_selector("#pair:not([hidden])")
        assert page.inner_text("#prompt") == "prompt 1"


def test_prompts_are_text(browser, run):
    evil = "<img src=x onerror=\"document.title='hacked'\"> {} </script> \u202e'\"&amp;"
    asked(run, 1, prompt=evil)
    with serving(desk_of(run)) as server, opened(browser, server.url) as page:
        page.wait_for_timeout(100)
        assert page.inner_text("#prompt") == evil.format(0) and page.title().startswith("Choose")
        assert page.locator("#prompt img").count() == 0


def test_a_choice_that_could_not_be_saved_is_asked_again(browser, run, monkeypatch):
    asked(run, 3)
    desk = desk_of(run)

    def full(choice):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(desk.journal, "add", full)
    with serving(desk) as server, opened(browser, server.url) as page:
        page.keyboard.press("ArrowLeft")
        page.wait_for_selector("#notice:not([hidden])")
        assert "Not saved: the disk of the run is full" in page.inner_text("#notice")
        assert page.inner_text("#prompt") == "prompt 0" and violations(page) == []
        monkeypatch.undo()
        page.keyboard.press("ArrowLeft")
        saved(page, desk, 1)
        assert page.is_hidden("#notice") and page.inner_text("#prompt") == "prompt 1"


def test_a_choice_that_comes_too_late_is_told_and_the_next_pair_shown(browser, run):
    pairs, desk = asked(run, 3), desk_of(run, ("anna", "ben"))
    with serving(desk) as server, opened(browser, desk.people.links(server.url)["anna"]) as page:
        assert "token" not in page.url
        page.evaluate("window.kept = refresh; refresh = async () => {}")  # the news is not there yet
        desk.answer("ben", answer(desk, pairs[0]))
        page.evaluate("refresh = window.kept; choose('left')")
        until(page, "document.getElementById('prompt').textContent === 'prompt 1'")
        assert len(desk.journal.choices()) == 1


def test_an_older_answer_that_arrives_last_changes_nothing(browser, run):
    asked(run, 3)
    desk = desk_of(run)
    with serving(desk) as server, opened(browser, server.url) as page:
        page.evaluate("window.older = structuredClone(view)")
        page.keyboard.press("ArrowLeft")
        saved(page, desk, 1)
        until(page, "view.decided === 1")
        page.evaluate("apply(window.older)")
        assert page.evaluate("view.decided") == 1
        assert page.inner_text("#prompt") == "prompt 1"


def test_a_page_survives_the_end_of_the_server_and_goes_on(browser, run):
    asked(run, 3)
    desk = desk_of(run)
    with serving(desk) as server, opened(browser, server.url) as page:
        server.stop()
        page.keyboard.press("ArrowLeft")  # kept by the page
        page.wait_for_selector("#notice:not([hidden])")
        assert "does not answer" in page.inner_text("#notice")
        with serving(desk, server.port):
            saved(page, desk, 1)
            page.wait_for_selector("#notice", state="hidden")


def test_a_run_that_is_gone_is_told_until_it_is_there_again(browser, run):
    asked(run, 3)
    with serving(desk_of(run)) as server, opened(browser, server.url) as page:
        reads(page, "prompt 0")
        run.rename(run.with_name("moved"))
        page.wait_for_selector("#notice:not([hidden])")
        assert "cannot be read any more" in page.inner_text("#notice")
        run.with_name("moved").rename(run)
        page.wait_for_selector("#notice", state="hidden")
        assert page.inner_text("#prompt") == "prompt 0"


@pytest.mark.parametrize("size", SIZES)
def test_a_notice_leaves_room_for_all_that_can_be_chosen(browser, run, size):
    asked(run, 1)
    with serving(desk_of(run)) as server, opened(browser, server.url, size) as page:
        page.evaluate("notice(LOST)")
        height = SIZES[size][1]
        for one in ("left", "right", "tie", "skip"):
            box = page.locator(f"#{one}").bounding_box()
            assert box["y"] + box["height"] <= height and box["height"] > 30


def test_a_choice_is_kept_where_the_browser_goes_away_at_once(browser, run):
    asked(run, 3)
    desk = desk_of(run)
    with serving(desk) as server, opened(browser, server.url) as page:
        page.keyboard.press("ArrowLeft")
        page.close()
        for _ in range(200):
            if desk.journal.choices():
                break
            time.sleep(0.02)
    assert [choice.chosen in ("first", "second") for choice in desk.journal.choices()] == [True]


def test_pairs_of_a_browser_that_goes_away_are_shown_to_others(browser, run):
    asked(run, 3)
    desk = desk_of(run, ("anna", "ben"))
    with serving(desk) as server:
        links = desk.people.links(server.url)
        with opened(browser, links["anna"]) as hers:
            reads(hers, "prompt 0")
            with opened(browser, links["ben"]) as page:
                assert page.inner_text("#rest-title") == "Others are still choosing"
                hers.close()
                reads(page, "prompt 0")


def test_a_missing_picture_can_only_be_skipped(browser, run):
    (pair, _), desk = asked(run, 2), desk_of(run)
    (pictures_of(run) / f"{pair.second}.png").unlink()
    with serving(desk) as server, opened(browser, server.url) as page:
        page.wait_for_selector(".gone")
        assert page.is_disabled("#left") and page.is_disabled("#right") and page.is_disabled("#tie")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("ArrowDown")
        assert saved(page, desk, 1)[0].chosen == "skip"


def test_a_wrong_link_says_so(browser, run):
    with serving(desk_of(run, ("anna",))) as server, opened(browser, f"{server.url}/?token=wrong") as page:
        assert "open the one that the run printed for you" in page.inner_text("main")
        assert violations(page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_everybody_can_use_it_and_it_fits(browser, run, size, scheme):
    long = "a very long prompt about {} " + "with many words that go on and on, " * 12
    asked(run, 2, prompt=long, side=512, undecided=2)
    desk = desk_of(run, repeat=0.5, has_others=True)
    with serving(desk) as server, opened(browser, server.url, size, scheme) as page:
        assert violations(page) == []
        edge = page.locator("#left .frame").evaluate("(one) => getComputedStyle(one).boxShadow")
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert contrast(painted(edge), painted(ground)) >= LEAST_OF_SHAPES
        width, height = SIZES[size]
        for side in ("left", "right"):
            box = page.locator(f"#{side} .frame").bounding_box()
            assert box["x"] >= 0 and box["x"] + box["width"] <= width and box["y"] + box["height"] <= height
            assert box["width"] > 0.35 * min(width, height)
        below = page.locator("#switch").bounding_box()
        assert below["y"] + below["height"] <= height
        assert page.locator("#prompt").evaluate("(one) => one.classList.contains('more')")  # tells that it goes on
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate("choose('left')")
        page.evaluate("choose('left')")
        page.wait_for_selector("#rest:not([hidden])")
        assert violations(page) == []


def test_the_end_is_told_once_the_result_is_judged(browser, run, monkeypatch):
    monkeypatch.setattr(desk_module, "progress_of", lambda run: Progress(epoch=3, epochs=3, training_s=None))
    with serving(desk_of(run)) as server, opened(browser, server.url) as page:
        page.get_by_text("Judging the result").wait_for()
        server.stop()  # the run ends right after its report
        page.get_by_text("The run is finished").wait_for(timeout=5000)
        assert page.locator("#notice").is_hidden()
