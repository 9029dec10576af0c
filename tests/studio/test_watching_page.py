"""The studio in a real browser: what it shows, that it keeps itself up to date, and that everybody can use it."""

import json
import re

import pytest

from fdfo.commands.generate import run_generate
from fdfo.commands.model_choice import ModelChoice
from fdfo.evaluation.report.record import read_run
from fdfo.studio.app import MOST_BYTES, watch_app
from fdfo.studio.watch.actions import Actions
from fdfo.studio.watch.library import Library
from fdfo.web.listening import listen
from fdfo.web.server import Server
from tests.browser import opened, violations
from tests.nightly import at_night
from tests.studio.test_watching import lock, made, root, with_checkpoints
from tests.training.runs import run

__all__ = ["made", "root"]


@pytest.fixture
def address(root, tmp_path):
    with_checkpoints(root / "plan" / "second", 5)
    lock(root / "plan" / "second")
    app = watch_app(Library([root]), Actions(tmp_path / "jobs"))
    with Server(app, listen("127.0.0.1", 0), most_bytes=MOST_BYTES) as server:
        yield server.url


def test_a_run_appears_and_goes_on_by_itself(browser, address, root):
    with opened(browser, address) as page:
        assert page.locator(".one-run").count() == 2
        second = page.locator(".one-run", has_text="plan/second")
        assert "running" in second.inner_text() and "epoch 7 of 10" in second.inner_text()
        for score in ("shapes-verifier", "shapes-contrastive"):
            told = " ".join(page.locator(".changes li", has_text=score).all_inner_texts())
            assert len({len(digits) for digits in re.findall(r"\.(\d+)", told)}) == 1  # decimals, in all runs
        page.get_by_label("Mark first").check()
        (event,) = [event for event in read_run(root / "plan" / "second").rollouts if event["epoch"] == 7]
        with open(root / "plan" / "second" / "metrics.jsonl", "a") as file:
            file.write(json.dumps({**event, "epoch": 8}) + "\n")
        page.get_by_text("epoch 8 of 10").wait_for()
        assert page.get_by_label("Mark first").is_checked()
        page.get_by_label("Mark plan/second").check()
        page.get_by_role("button", name="Compare the marked runs").click()
        page.get_by_role("heading", name="2 runs").wait_for()
        assert page.locator(".contact tbody tr").count() == 3
        assert "optim.lr" in page.locator("#differences").inner_text()


def test_forms_lead_where_they_say(browser, address):
    """Under the policy that the pages are sent with: it must let them."""
    with opened(browser, address) as page:
        for button, heading in [("Contact sheet", "Contact sheet of first"), ("Trade-offs", "Trade-offs")]:
            page.get_by_label("Mark first").check()
            page.get_by_role("button", name=button).click()
            page.get_by_role("heading", name=heading).wait_for(timeout=5000)
            if button == "Trade-offs":
                page.get_by_label("To the right").select_option("diversity")
                page.get_by_role("button", name="Plot").click()
                page.wait_for_url("**&x=diversity&y=*", timeout=5000)
            page.goto(address)


def test_what_only_begins_is_not_told_as_done(browser, address):
    with opened(browser, f"{address}/run?run=plan/second") as page:
        page.route(re.compile("/(stop|export|draw)\\?"), lambda route: route.fulfill(json={}))
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_text("Checkpoints: 1").click()
        for name, told in [("Export epoch-0000005", "Started"), ("Stop the run", "Asked to stop")]:
            page.get_by_role("button", name=name).click()
            page.locator("#told", has_text=told).wait_for(timeout=5000)


def test_a_checkpoint_is_kept_and_a_wish_that_cannot_be_is_told(browser, address, root):
    with opened(browser, f"{address}/run?run=plan/second") as page:
        page.get_by_text("Checkpoints: 1").click()
        page.get_by_role("button", name="Keep epoch-0000005").click()
        page.locator(".checkpoints .badge", has_text="kept").wait_for()
        assert (root / "plan" / "second" / "checkpoints" / "epoch-0000005.kept").is_file()
        assert page.get_by_role("button", name="Export epoch-0000005").is_visible()  # still open
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Stop the run").click()
        page.get_by_text("this run is not running").wait_for()  # the lock is this test's, which does not hold it
        assert page.locator("#pictures .tile").count() == 4 and page.locator("#curves .area:visible").count() >= 4
        assert page.locator("#pairs .group:visible").count() == 8


@pytest.mark.parametrize(
    ("page_of", "size", "scheme"),
    [
        ("/", "phone", "dark"),
        ("/run?run=plan/second", "phone", "light"),
        at_night("/run?run=first", "wide", "dark"),
        at_night("/compare?run=first&run=plan/second", "phone", "dark"),
        ("/sheet?run=first", "wide", "light"),
        ("/tradeoffs", "phone", "light"),
    ],
)
def test_everybody_can_use_the_pages_and_nothing_is_cut(browser, address, page_of, size, scheme):
    with opened(browser, address + page_of, size, scheme) as page:
        for details in page.locator("main > div > details, main > details").all():
            details.evaluate("(one) => { one.open = true; }")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_point_opens_its_pictures(browser, address):
    with opened(browser, f"{address}/tradeoffs?run=first&x=diversity&y=shapes-contrastive") as page:
        assert page.locator(".area a.dot").count() == 3
        page.get_by_label("first, epoch 5: ").click()
        page.get_by_role("heading", name="Contact sheet of first").wait_for()
        assert page.locator(".contact tbody th").count() == 2


def test_a_picture_of_a_contact_sheet_opens_large(browser, address):
    with opened(browser, f"{address}/sheet?run=first") as page:
        page.locator(".contact tbody tr").nth(1).locator("button").nth(2).click()
        viewer, prompts = page.locator("dialog.viewer"), page.locator(".contact thead th")
        shown = viewer.locator("img")
        assert viewer.locator(".title").inner_text() == prompts.nth(2).get_attribute("title")
        assert viewer.locator("figcaption").inner_text() == "epoch 5"
        shown.evaluate("(one) => one.decode()")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowUp")
        assert viewer.locator(".title").inner_text() == prompts.nth(3).get_attribute("title")
        assert viewer.locator("figcaption").inner_text() == "before training"
        wanted = page.locator(".contact tbody tr").nth(0).locator("button").nth(3).get_attribute("data-full")
        assert shown.get_attribute("src") == wanted and violations(page) == []


def test_the_list_shows_what_was_drawn_last(browser, address):
    with opened(browser, address) as page:
        for strip in page.locator(".one-run .strip").all():
            strip.evaluate("(one) => one.decode()")
            assert strip.evaluate("(one) => one.naturalWidth") == 4 * 144 + 3 * 8
        assert (
            page.locator(".one-run", has_text="plan/second").locator(".strip").get_attribute("src").endswith("epoch=7")
        )


@pytest.mark.parametrize(
    "path",
    [
        "/picture?run=first&epoch=5&number=99",
        "/strip?run=first&epoch=6",
        "/run?run=none",
        "/run",
        "/compare?run=first",
        "/sheet?run=first&epoch=x",
        "/nothing",
    ],
)
def test_what_is_not_there_is_told(browser, address, path):
    with opened(browser, address + path) as page:
        assert page.locator("h1").count() == 1 and "Traceback" not in page.content()
        page.get_by_role("link", name="To the start").click()
        page.get_by_role("heading", name="Runs").wait_for()


@pytest.mark.slow
def test_a_prompt_is_drawn_now_as_generate_draws_it(browser, tmp_path):
    """On the embedded model, by the command that the page starts; the same pixels and settings as drawn here."""
    trained = run(tmp_path / "runs" / "real", "train.epochs=2", "train.checkpoint_every=1", "optim.lr=0.01")
    actions = Actions(tmp_path / "jobs")
    app = watch_app(Library([tmp_path / "runs"]), actions)
    server = Server(app, listen("127.0.0.1", 0), most_bytes=MOST_BYTES)
    with server, opened(browser, f"{server.url}/run?run=real") as page:
        page.get_by_text("Draw now").click()
        page.locator("[name=prompt]").fill("a red circle")
        page.locator("[name=checkpoint]").select_option("epoch-0000001")
        page.locator("[name=seed]").fill("3")
        page.locator("[name=strengths]").fill("0, 1, 1.5")
        page.get_by_role("button", name="Draw", exact=True).click()
        page.locator(".job .state.done").wait_for(timeout=300_000)
        assert page.locator(".drawn figcaption").all_inner_texts() == ["before training", "strength 1", "strength 1.5"]
        addresses = [image.get_attribute("src") for image in page.locator(".drawn img").all()]
        data = [page.request.get(server.url + address).body() for address in addresses]
        told = " ".join(page.locator(".job .what").inner_text().split())
        assert told == "Drawing: a red circle (epoch-0000001, seed 3) done"
        assert violations(page) == []
        page.get_by_role("button", name="strength 1, large").click()
        page.keyboard.press("ArrowRight")
        assert page.locator("dialog.viewer figcaption").inner_text() == "strength 1.5"
    here = tmp_path / "here"
    adapter = str(trained / "checkpoints" / "epoch-0000001")
    choice = ModelChoice(trained, None, adapter, None, None)
    wanted = {"seeds": 1, "noise_seed": 3, "strengths": "1,1.5", "steps": None}
    run_generate([choice], ["a red circle"], None, None, **wanted, output=here)
    expected = [
        (here / json.loads(line)["file_name"]).read_bytes()
        for line in (here / "metadata.jsonl").read_text().splitlines()
    ]
    assert data == expected and len({*data}) == 3
    settings = json.loads((here / "settings.json").read_text())
    assert settings == json.loads((tmp_path / "jobs" / "drawn-1" / "settings.json").read_text())
