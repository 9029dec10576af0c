"""Reports as people use them, in a real browser: keys, order, bands, and screens of all sizes."""

import pytest

from fdfo.comparison.page import html
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.report import evaluation_page, write_report
from tests.browser import opened, violations
from tests.comparison.plans import plan
from tests.comparison.test_page import FINALS
from tests.evaluation.fabricated import make_run
from tests.nightly import at_night
from tests.test_look import LEAST_CONTRAST, LEAST_OF_SHAPES, contrast, painted

CUT = """
const inside = (one) => one.closest(".scroll, pre, svg, .unseen-text") !== null;
const right = document.documentElement.clientWidth + 1;
[...document.querySelectorAll("main *")].filter((one) => !inside(one) && one.getBoundingClientRect().right > right)
  .map((one) => one.outerHTML)
"""
"""Elements that reach beyond the screen, but for those that can be scrolled."""

SHOWN = 9
SIZE = {"prompts": 4 * SHOWN, "shown": SHOWN}
LONG = "a lighthouse on a cliff in a storm at dusk, " * 6


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Addresses of a report, of one of two runs, of an evaluation's, and of that of a plan."""
    folder = tmp_path_factory.mktemp("pages")
    rewards = "reward=[{name: shapes-verifier, weight: 0.5}]"
    first = make_run(folder / "first", gain=0.05, drop=0.5, texts=[LONG], overrides=[rewards], **SIZE)
    second = make_run(
        folder / "the-second-one-with-a-long-name-of-2026", gain=-0.3, done=5, overrides=["optim.lr=3e-5"], **SIZE
    )
    paths = {"run": write_report([first]), "runs": write_report([first, second], folder / "runs.html")}
    results = {
        weights: Evaluation.read(first / "evaluations" / f"epoch-{epoch:07d}.json")
        for weights, epoch in (("base", 0), ("a", 10), ("b", 20))
    }
    _, tiles = read_grid(first / "samples" / "epoch-0000020.png")
    pictures = {4 * number: folder / f"{number}.png" for number in range(SHOWN)}
    for tile, path in zip(tiles, pictures.values(), strict=True):
        tile.save(path)
    paths["evaluation"] = folder / "evaluation.html"
    content = evaluation_page("judged", results, dict.fromkeys(results, pictures), [("Model", "shapes")])
    paths["evaluation"].write_text(content)
    paths["comparison"] = folder / "comparison.html"
    paths["comparison"].write_text(html(plan(folder), FINALS))
    return {name: path.as_uri() for name, path in paths.items()}


LINES_OF_COMMANDS = "[...document.querySelectorAll('.command code')].map((one) => one.getClientRects().length || 1)"
"""Of each; one that is too long scrolls."""


@pytest.mark.parametrize(
    ("name", "size", "scheme"),
    [
        ("run", "wide", "light"),
        at_night("run", "phone", "dark"),
        ("runs", "phone", "light"),
        ("evaluation", "phone", "dark"),
        at_night("comparison", "phone", "light"),
    ],
)
def test_everybody_can_use_the_pages_and_nothing_is_cut(browser, pages, name, size, scheme):
    with opened(browser, pages[name], size, scheme) as page:
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert page.evaluate(CUT) == []
        assert set(page.evaluate(LINES_OF_COMMANDS)) <= {1}


ROOM = """([count, label]) => {
  const plot = document.querySelector(".plot"), shown = plot.querySelector(".y-axis span");
  plot.style.setProperty("--widest", count);
  shown.textContent = label;
  return shown.getBoundingClientRect().left - plot.getBoundingClientRect().left;
}"""


def test_the_longest_label_of_an_axis_has_room(browser, pages):
    with opened(browser, pages["run"], "phone") as page:
        known = page.evaluate("""[...document.querySelectorAll(".plot")].map((plot) => [
          Number(plot.style.getPropertyValue("--widest")),
          Math.max(...[...plot.querySelectorAll(".y-axis span")].map((one) => one.textContent.length))])""")
        assert known and all(told == longest for told, longest in known)
        assert page.evaluate(ROOM, [9, "−0.006738"]) >= 0 > page.evaluate(ROOM, [0, "−0.006738"])


STYLES = """([selector, names]) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility())
  .map((one) => names.map((name) => getComputedStyle(one)[name]))"""


def styles(page, selector, *names):
    """What the browser computes for what is seen: these properties of every element."""
    found = page.evaluate(STYLES, [selector, names])
    assert found
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_edges_bars_and_pills_can_be_seen(browser, pages, scheme):
    """By the colours that the browser computes, not by names of classes."""
    with opened(browser, pages["run"], scheme=scheme) as page:
        [(ground,)] = styles(page, "body", "backgroundColor")
        for width, color in styles(page, ".tile img", "borderTopWidth", "borderTopColor"):
            assert width == "1px" and contrast(painted(color), painted(ground)) >= LEAST_OF_SHAPES
        for kind in ("trained", "part", "unseen", ""):
            (color, *_), *_ = styles(page, f".badge{kind and '.'}{kind}", "color")
            assert contrast(painted(color), painted(ground)) >= LEAST_CONTRAST, kind
    with opened(browser, pages["evaluation"], scheme=scheme) as page:
        for color, opacity in styles(page, ".bars .bar", "backgroundColor", "opacity"):
            assert contrast(painted(color, ground, float(opacity)), painted(ground)) >= LEAST_OF_SHAPES
        assert len({color for color, _ in styles(page, ".bars .bar", "backgroundColor", "opacity")}) > 1


def test_what_is_told_of_other_weights_stands_apart(browser, pages):
    with opened(browser, pages["evaluation"]) as page:
        bars, table = page.locator(".categories").first, page.locator("#results .scroll").nth(1)
        above = bars.bounding_box()
        assert table.bounding_box()["y"] - above["y"] - above["height"] == pytest.approx(40, abs=1)


def test_plots_of_a_row_are_aligned(browser, pages):
    with opened(browser, pages["run"]) as page:
        boxes = [area.bounding_box() for area in page.locator("#curves > .charts .area").all() if area.is_visible()]
        assert len(boxes) == 5
        tops = [box["y"] for box in boxes]
        assert tops[0] == tops[1] and tops[2] == tops[3] == tops[4] > tops[0]
        assert boxes[1]["x"] + boxes[1]["width"] == pytest.approx(boxes[4]["x"] + boxes[4]["width"], abs=1)


def test_pictures_are_enlarged_and_turned_by_keys(browser, pages):
    with opened(browser, pages["run"]) as page:
        viewer = page.locator("dialog.viewer")
        opener = page.locator("[data-enlarge]").first
        opener.focus()
        page.keyboard.press("Enter")
        assert viewer.locator(".title").inner_text() == LONG.strip()
        assert viewer.locator(".at").inner_text() == "1 of 9"
        image = viewer.locator("img").first.bounding_box()
        assert image["width"] > 550  # half of the window
        names = viewer.locator("figcaption")
        assert names.nth(0).inner_text().startswith("epoch 0 (before training) · ")
        assert names.nth(1).inner_text().startswith("epoch 20 (")
        for key, at in (("ArrowRight", 2), ("ArrowRight", 3), ("ArrowLeft", 2), ("ArrowLeft", 1), ("ArrowLeft", 9)):
            page.keyboard.press(key)
            assert viewer.locator(".at").inner_text() == f"{at} of 9"
        page.keyboard.press("ArrowDown")
        assert names.nth(1).inner_text().startswith("epoch 15 · ")
        assert violations(page) == []
        page.keyboard.press("Escape")
        assert not viewer.is_visible()
        assert opener.evaluate("button => button === document.activeElement")
        page.locator("[data-group] [data-enlarge]").nth(1).click(force=True)
        assert viewer.locator(".at").inner_text() == "2 of 8"


def test_full_size_shows_every_pixel(browser, tmp_path):
    run = make_run(tmp_path / "run", done=5, side=512, shown=2)
    with opened(browser, write_report([run]).as_uri(), "phone") as page:
        page.locator("[data-enlarge]").first.click()
        image = page.locator("dialog.viewer img").first
        assert image.bounding_box()["width"] < 390
        page.keyboard.press("f")
        assert image.bounding_box()["width"] == 512
        page.keyboard.press("f")
        assert image.bounding_box()["width"] < 390


def changes(page):
    """Outcome and change of the tiles that are seen, in order."""
    tiles = page.locator(".tile:visible [data-change]")
    found = tiles.evaluate_all("all => all.map(one => [one.dataset.outcome, one.textContent])")
    return [outcome for outcome, _ in found], [float(text.replace("−", "-")) for _, text in found]


def test_pictures_are_put_in_order_and_chosen_by_their_change(browser, pages):
    with opened(browser, pages["run"]) as page:
        _, as_listed = changes(page)
        assert len(as_listed) == 9 and as_listed != sorted(as_listed)
        page.select_option("[data-order]", "loss")
        assert changes(page)[1] == sorted(as_listed)
        page.select_option("[data-show]", "worse")
        outcomes, left = changes(page)
        assert set(outcomes) == {"worse"} and left == sorted(value for value in as_listed if value < 0)
        page.select_option("[data-order]", "gain")
        page.select_option("[data-show]", "better")
        assert changes(page)[1] == sorted((value for value in as_listed if value > 0), reverse=True)
        page.select_option("[data-score]", "shapes-contrastive")
        assert "By shapes-contrastive: " in page.locator("[data-tally]").inner_text()
        assert set(changes(page)[0]) == {"better"}
        page.select_option("[data-show]", "")
        page.locator("[data-side]").fill("0")  # both sides are the same now
        outcomes, values = changes(page)
        assert set(outcomes) == {"the same"} and set(values) == {0}
        page.select_option("[data-show]", "better")
        assert page.locator("[data-none]").is_visible()


def test_a_phone_sees_a_few_pictures_until_it_asks_for_all(browser, pages):
    with opened(browser, pages["run"], "phone") as page:
        assert page.locator(".tile:visible").count() == 8
        page.locator("[data-more]").click()
        assert page.locator(".tile:visible").count() == 9


def test_bands_are_chosen_and_curves_are_read_by_keys(browser, pages):
    with opened(browser, pages["run"]) as page:
        chart = page.locator("figure[data-band]:visible", has_text="Held-out shapes-contrastive")
        assert ", +" in chart.locator("output").inner_text()
        page.get_by_label("mean over prompts").check()
        assert ", +" not in chart.locator("output").inner_text()
        assert page.locator('figure[data-band="paired"]:visible').count() == 0
        chart.locator(".area").focus()
        for key, epoch in (("ArrowLeft", 20), ("ArrowLeft", 15), ("ArrowLeft", 10), ("ArrowRight", 15)):
            page.keyboard.press(key)
            assert chart.locator("output").inner_text().startswith(f"epoch {epoch}: ")


def test_a_command_is_copied(browser, pages):
    with opened(browser, pages["run"]) as page:
        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.locator("[data-copy]").first.click()
        page.get_by_text("Copied").wait_for()
        command = page.locator(".command code").first.inner_text()
        assert page.evaluate("navigator.clipboard.readText()") == command
