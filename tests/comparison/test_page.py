"""The page says what the results say: costs with "never", claims, choices, failures; it loads nothing."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from fdfo.comparison.cells import Configurations
from fdfo.comparison.outcomes import cost_table, equal_score_table, final_table, guidance_table
from fdfo.comparison.page import LIMITS, html, markdown, svg
from fdfo.comparison.settings import budget_table, cells_table, tuning_table
from fdfo.comparison.statistics import Estimate
from fdfo.comparison.tables import level, places_together, signed, told
from tests.comparison.plans import SCORE, plan, result
from tests.evaluation.parsed import Page

FINALS = [
    *(result("pair", [0.2, 0.5, 0.7 + 0.02 * seed], seed) for seed in range(2)),
    *(result("single", [0.2, 0.3, 0.4 + 0.02 * seed], seed) for seed in range(2)),
]


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(html(plan(tmp_path), FINALS))
    return Page(path)


def rows(table):
    return {row[0]: row[1:] for row in table.rows}


def test_the_page_is_one_sound_file(page):
    for element in page.elements:
        assert element["tag"] not in ("link", "iframe", "object", "embed", "base", "img")
    assert not re.search(r"https?://", page.source)
    assert page.find("meta", http_equiv="Content-Security-Policy")
    assert len(page.find("input", name="axis")) == 4
    assert [element["data-axis"] for element in page.find("div", data_axis=True)] == [
        "evaluations",
        "steps",
        "images",
        "seconds",
    ]
    # training score, unseen score, diversity, sharpness over four costs; all but the first over the training score
    assert len(page.find("figure", class_="chart")) == 4 * 4 + 3
    assert "Trained on shapes-contrastive, at 150 network evaluations: pair is highest, 0.71" in page.text
    assert "Trained on shapes-contrastive, at 4 optimizer steps: pair is highest, 0.71" in page.text
    assert {element["text"] for element in page.find("span", class_="run-label")} == {"pair", "single"}


def test_curves_come_first_then_claims_and_settings_last(page, tmp_path):
    titles = [element["text"] for element in page.find("h2")]
    assert titles == ["Curves", "Claims", "What was found", "How it was found"]
    text = markdown(plan(tmp_path), FINALS, "fdfo compare")
    places = [text.index(part) for part in ("![Curves](tiny.svg)", "**Claims**", "**At 150", "## How it", "**Cells**")]
    assert places == sorted(places)


def test_what_the_embedded_model_cannot_show_is_said(page, tmp_path):
    assert LIMITS["shapes"] in page.text
    assert LIMITS["shapes"] in markdown(plan(tmp_path), FINALS, "fdfo compare")


def test_the_picture_of_the_markdown_page_stands_alone(tmp_path):
    root = ElementTree.fromstring(svg(plan(tmp_path), FINALS))
    said = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert said.count("Training score, trained on shapes-contrastive") == 2
    assert {"network evaluations", "optimizer steps", "training score"} <= set(said)
    assert len(root.findall(".//{http://www.w3.org/2000/svg}g")) == 2 * (4 + 4 + 3)
    assert "href" not in svg(plan(tmp_path), FINALS)


def test_never_is_said(tmp_path):
    found = rows(cost_table(plan(tmp_path), FINALS, SCORE, "images"))
    never = "never [never, never] (2, 50%)"
    assert found["single"] == ["200 [200, 200] (2, 50%)", never, never, never]
    assert found["pair"][-1] == "never [200, never] (2, 50%)"  # one of two seeds


def test_costs_are_those_of_the_evaluations_that_saw_the_levels(tmp_path):
    found = rows(cost_table(plan(tmp_path, levels=[0.35, 0.45]), FINALS, SCORE, "evaluations"))
    assert found["pair"] == ["500 [500, 500] (2, 50%)"] * 2
    assert found["single"][0] == "1,000 [1,000, 1,000] (2, 50%)"
    steps = rows(cost_table(plan(tmp_path, levels=[0.35]), FINALS, SCORE, "steps"))
    assert (steps["pair"], steps["single"]) == (["2 [2, 2] (2, 50%)"], ["4 [4, 4] (2, 50%)"])


def test_a_level_inside_the_noise_of_the_start_is_no_level(tmp_path):
    table = cost_table(plan(tmp_path, levels=[0.21, 0.22, 0.35]), FINALS, SCORE, "images")
    assert table.head == ["cell", "0.350"]
    assert "No levels, because they lie inside the noise of the start: 0.21, 0.22." in table.note


def test_the_final_table_pairs_by_seed(tmp_path):
    found = rows(final_table(plan(tmp_path), FINALS, SCORE, "evaluations"))
    assert found["before training"][0] == "0.20"  # as the column
    assert found["pair"][1] == "reference"
    assert found["single"][1].startswith("−0.30")  # the same difference for both seeds
    assert found["single"][1].endswith("(2, 95%)")
    assert found["single"][-2:] == ["4", "1,000"]


def test_every_table_is_there_at_equal_cost_and_at_equal_steps(tmp_path):
    """At two steps, a cell that goes on to four is where it was at two."""
    early = [result("single", [0.2, 0.3, 0.4], seed, steps_epoch=1) for seed in range(2)]
    results = [result("pair", [0.2, 0.5], seed) for seed in range(2)] + early
    given = plan(tmp_path, steps=2)
    at_cost, at_steps = (rows(final_table(given, results, SCORE, mark)) for mark in ("evaluations", "steps"))
    assert (at_cost["single"][0][:4], at_steps["single"][0][:4]) == ("0.40", "0.30")
    assert (at_cost["single"][-2:], at_steps["single"][-2:]) == (["4", "1,000"], ["2", "500"])
    text = markdown(given, results, "fdfo compare")
    for title in ("At 150 network evaluations, trained on", "At 2 optimizer steps, trained on"):
        assert f"**{title} shapes-contrastive**" in text
    for within in ("150 network evaluations", "2 optimizer steps"):
        assert f"**At equal training score on shapes-contrastive, within {within}" in text


def test_a_cell_that_starts_elsewhere_says_so_and_is_no_winner(tmp_path):
    """With guidance images are better before anything is learned."""
    guided = [*FINALS, result("guided", [0.8, 0.85, 0.9], 0), result("guided", [0.8, 0.84, 0.88], 1)]
    cells = {"pair": {}, "single": {"changes": {"method.branches": 1}}, "guided": {"changes": {"policy.guidance": 2}}}
    given = plan(tmp_path, cells=cells)
    table = final_table(given, guided, SCORE, "evaluations")
    assert "guided (from 0.8)" in rows(table) and "pair" in rows(table)
    assert "its difference is not what training did" in table.note
    assert "not what training did" not in final_table(plan(tmp_path), FINALS, SCORE, "evaluations").note
    text = markdown(given, guided, "fdfo compare plan.yaml")
    assert "pair is highest" in text and "guided (from 0.8) 0.89" in text


def test_equal_scores_compare_what_is_unseen(tmp_path):
    found = rows(equal_score_table(plan(tmp_path), FINALS, SCORE, "evaluations"))
    assert found["single"][:2] == ["0.41", "2 of 2"]
    assert found["single"][2].startswith("0.00")  # both are half the training score


def test_cells_are_shown_against_the_base_under_guidance(tmp_path):
    given = plan(tmp_path, guidance=[2.0, 4.0])
    guided = [
        result(f"guidance-{scale}", [score], stage="guidance", swept={"policy.guidance": float(scale)})
        for scale, score in ((2, 0.4), (4, 0.8))
    ]
    found = rows(guidance_table(given, [*FINALS, *guided], SCORE))
    assert list(found)[:3] == ["base, guidance 1", "base, guidance 2.0", "base, guidance 4.0"]
    assert found["base, guidance 4.0"][:3] == ["0.8", "0.4", "0.2"]
    assert found["pair, above the base"][1].startswith("0.00")  # the unseen score is half of the training score
    assert guidance_table(plan(tmp_path), FINALS, SCORE) is None
    assert "base, under guidance" in html(given, [*FINALS, *guided])


def test_a_lost_seed_is_counted(tmp_path):
    broken = [*FINALS[:3], result("single", [0.2], 1, error="killed by signal 9")]
    assert rows(final_table(plan(tmp_path), broken, SCORE, "evaluations"))["pair"][0].endswith("(2, 95%)")
    text = markdown(plan(tmp_path), broken, "fdfo compare plan.yaml")
    assert "| final single on shapes-contrastive, seed 1 | killed by signal 9 |" in text
    assert "- Runs: 3 of 4 final" in text
    assert "Written by `fdfo compare plan.yaml`" in text


def test_choices_at_the_edge_are_told(tmp_path):
    given = plan(tmp_path, sweep={"optim.lr": [1e-4, 2e-4, 4e-4]}, extensions=0)
    tuning = [
        result(cell, [0.2, 0.3 + gain], seed, "tuning", swept={"optim.lr": lr})
        for cell, gains in (("pair", [0.0, 0.2, 0.1]), ("single", [0.0, 0.1, 0.2]))
        for lr, gain in zip((1e-4, 2e-4, 4e-4), gains, strict=True)
        for seed in (1000, 1001, 1002)
    ]
    found = rows(tuning_table(given, tuning, Configurations(given)))
    assert found["pair"] == [SCORE, "optim.lr=0.0002", "0.5", "3", "0.4, 0.3", "inside"]
    assert found["single"] == [SCORE, "optim.lr=0.0004", "0.5", "3", "0.4, 0.3", "at the edge: optim.lr"]


def test_what_a_run_cost_is_counted_and_measured(tmp_path):
    table = budget_table(plan(tmp_path), FINALS)
    found = dict(zip(table.head[1:], rows(table)["pair"], strict=True))
    names = ("epochs", "steps", "images", "forward", "forward and backward", "evaluations")
    assert [found[name] for name in names] == ["2", "4", "200", "400", "200", "1,000"]
    assert found["price of a row, measured"] == "3"  # 9 s for 200 rows against 6 s for 400
    assert (found["prices"], found["training time"]) == ("3, 0", "20 s")


def test_one_change_is_shown(tmp_path):
    cells = {"pair": {}, "few": {"changes": {"method.trained_times": 1}, "one_change_from": "pair"}}
    table = cells_table(plan(tmp_path, cells=cells, claims=[]))
    assert dict(zip(table.head[1:], rows(table)["few"], strict=True))["one change from"] == "pair"


def test_claims_carry_their_verdict(tmp_path):
    """At 150 evaluations as at four steps; the differences have no spread at all, so all tests are significant."""
    claims = [
        {"statement": "faster", "cell": "pair", "against": "single", "kind": "speed", "at_least": 10},
        {"statement": "higher", "cell": "pair", "against": "single"},
        {"statement": "more varied", "cell": "pair", "against": "single", "metric": "diversity"},
    ]
    text = markdown(plan(tmp_path, claims=claims), FINALS, "fdfo compare")
    cells = [[part.strip() for part in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    verdicts = {
        row[0]: (row[-2], row[-1]) for row in cells if row[0] in ("faster", "higher", "more varied") and row[-1]
    }
    assert verdicts == {
        "faster": ("weakened", "weakened"),
        "higher": ("confirmed", "confirmed"),
        "more varied": ("refuted", "refuted"),
    }
    assert "corrected for 6 tests (Holm)" in text


def test_what_holds_at_equal_cost_alone_is_told_as_arithmetic(tmp_path):
    """`pair` takes four steps for the price of two of `single`, and is level with it at two."""
    claims = [{"statement": "higher", "cell": "pair", "against": "single"}]
    ours = [result("pair", [0.2, 0.4, 0.6], seed, steps_epoch=1) for seed in range(3)]
    theirs = [result("single", [0.2, 0.4], seed) for seed in range(3)]
    text = markdown(plan(tmp_path, claims=claims, steps=2), [*ours, *theirs], "fdfo compare")
    assert "| confirmed | at equal evaluations alone |" in text


def test_nothing_measured_yet_is_a_page_too(tmp_path):
    given = plan(tmp_path)
    assert "No run has come to its end yet." in html(given, [])
    assert "No run has come to its end yet." in markdown(given, [], "fdfo compare")
    ElementTree.fromstring(svg(given, []))


def test_a_column_has_one_number_of_decimals():
    """Of half widths 0.02 and 0.0004 the narrower one decides; without an interval nothing does."""
    wide, narrow = Estimate(0.5, 0.48, 0.52, 3, 0.95), Estimate(0.4, 0.3996, 0.4004, 3, 0.95)
    places = places_together([wide, narrow])
    assert places == 4 and told(wide, places) == "0.5000 [0.4800, 0.5200] (3, 95%)"
    assert signed(narrow, places).startswith("+0.4000 [+0.3996, +0.4004]")
    assert places_together([]) is None and level(0.123456) == "0.123" and level(0.123456, 2) == "0.12"
