"""The page says what the results say: costs with "never", claims, choices, failures; it loads nothing."""

import re

import pytest

from fdfo.comparison.page import html, markdown
from fdfo.comparison.tables import budget_table, cost_table, equal_score_table, final_table, tuning_table
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
    assert len(page.find("input", name="axis")) == 3
    assert [element["data-axis"] for element in page.find("div", data_axis=True)] == [
        "evaluations",
        "images",
        "seconds",
    ]
    assert len(page.find("figure", class_="chart")) == 3 * 3  # training score, unseen score, diversity
    assert "Trained on shapes-contrastive, pair ends highest, at 0.71" in page.text
    assert {element["text"] for element in page.find("span", class_="run-label")} == {"pair", "single"}


def test_never_is_said(page, tmp_path):
    found = rows(cost_table(plan(tmp_path), FINALS, SCORE, "images"))
    assert found["single"] == ["125 [123, 128]", "never", "never", "never"]
    assert found["pair"][-1] == "never [195, never]"  # one of two seeds
    assert "never [195, never]" in page.text


def test_costs_are_those_of_the_lines(tmp_path):
    found = rows(cost_table(plan(tmp_path, levels=[0.35, 0.5]), FINALS, SCORE, "evaluations"))
    assert found["pair"] == ["250", "500"]
    assert found["single"] == ["729 [708, 750]", "never"]  # 500 + 500 (0.05 / 0.12) and 500 + 500 (0.05 / 0.1)


def test_the_final_table_pairs_by_seed(tmp_path):
    found = rows(final_table(plan(tmp_path), FINALS, SCORE))
    assert found["before training"][0] == "0.2"
    assert found["pair"][1] == "reference"
    assert found["single"][1] == "−0.3000 [−0.3000, −0.3000]"  # the same difference for both seeds
    assert found["single"][-1] == "2 of 2"


def test_a_cell_that_starts_elsewhere_says_so_and_is_no_winner(tmp_path):
    """With guidance images are better before anything is learned."""
    guided = [*FINALS, result("guided", [0.8, 0.85, 0.9], 0), result("guided", [0.8, 0.84, 0.88], 1)]
    cells = {"pair": {}, "single": {"changes": {"method.branches": 1}}, "guided": {"changes": {"policy.guidance": 2}}}
    given = plan(tmp_path, cells=cells)
    table = final_table(given, guided, SCORE)
    assert "guided (from 0.8)" in rows(table) and "pair" in rows(table)
    assert "its difference is not what training did" in table.note
    assert "not what training did" not in final_table(plan(tmp_path), FINALS, SCORE).note
    text = markdown(given, guided, "fdfo compare plan.yaml")
    assert "pair ends highest" in text and "guided (from 0.8) 0.89" in text


def test_equal_scores_compare_what_is_unseen(tmp_path):
    found = rows(equal_score_table(plan(tmp_path), FINALS, SCORE))
    assert found["single"][0] == "0.41"
    assert found["single"][1].startswith("0.00")  # both are half the training score


def test_a_lost_seed_is_counted(tmp_path):
    broken = [*FINALS[:3], result("single", [0.2], 1, error="killed by signal 9")]
    assert rows(final_table(plan(tmp_path), broken, SCORE))["single"][-1] == "1 of 2"
    text = markdown(plan(tmp_path), broken, "fdfo compare plan.yaml")
    assert "| final single on shapes-contrastive seed 1 | killed by signal 9 |" in text
    assert "Written by `fdfo compare plan.yaml`" in text


def test_choices_at_the_edge_are_told(tmp_path):
    given = plan(tmp_path, sweep={"optim.lr": [1e-4, 2e-4, 4e-4]})
    tuning = [
        result(cell, [0.2, 0.3 + gain], 1000, "tuning", point)
        for cell, gains in (("pair", [0.0, 0.2, 0.1]), ("single", [0.0, 0.1, 0.2]))
        for point, gain in enumerate(gains)
    ]
    found = rows(tuning_table(given, tuning))
    assert found["pair"] == [SCORE, "optim.lr=0.0002", "0.5", "0.4, 0.3", "no"]
    assert found["single"] == [SCORE, "optim.lr=0.0004", "0.5", "0.4, 0.3", "optim.lr"]


def test_what_a_run_cost_is_counted_and_measured(tmp_path):
    found = rows(budget_table(plan(tmp_path), FINALS))
    assert found["pair"][1:6] == ["2", "200", "400", "200", "1,000"]
    assert found["pair"][7] == "3"  # 9 s for 200 rows against 6 s for 400


def test_claims_carry_their_verdict(tmp_path):
    claims = [
        {"statement": "faster", "cell": "pair", "against": "single", "kind": "speed", "at_least": 10},
        {"statement": "higher", "cell": "pair", "against": "single"},
        {"statement": "more varied", "cell": "pair", "against": "single", "metric": "diversity"},
    ]
    text = markdown(plan(tmp_path, claims=claims), FINALS, "fdfo compare")
    verdicts = {line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip(" |") for line in text.splitlines()}
    assert (verdicts["faster"], verdicts["higher"], verdicts["more varied"]) == ("weakened", "confirmed", "refuted")


def test_nothing_measured_yet_is_a_page_too(tmp_path):
    assert "No run has come to its end yet." in html(plan(tmp_path), [])
