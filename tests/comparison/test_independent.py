"""What a page says, worked out again from the JSON lines by another implementation: no numpy, closed forms, loops."""

import json
import random
from itertools import pairwise
from math import isclose, log, sqrt
from statistics import fmean, median, pvariance

import pytest
from scipy.stats import t as student

from fdfo.comparison.outcomes import cost_table, equal_score_table, final_table
from fdfo.comparison.results import Results
from fdfo.comparison.verdicts import findings
from tests.comparison.plans import SCORE, plan, result

SEEDS, PROMPTS = 5, 24
CLAIMS = [
    {"statement": "higher", "cell": "pair", "against": "single"},
    {"statement": "as varied", "cell": "pair", "against": "single", "metric": "diversity", "at_least": -0.1},
    {"statement": "twice as fast", "cell": "pair", "against": "single", "kind": "speed", "at_least": 2},
    {"statement": "unseen", "cell": "pair", "against": "single", "kind": "equal_score", "metric": "shapes-verifier"},
]


def curves(rng, cell, gain):
    """Made-up runs: seeds, prompts and evaluations have noise of their own."""
    drawn = [rng.gauss(0, 0.05) for _ in range(PROMPTS)]
    offsets = [one - fmean(drawn) for one in drawn]
    for seed in range(SEEDS):
        own = rng.gauss(0, 0.02)
        scores = [0.3, *(0.3 + (gain + own) * (k / 4) ** 0.5 for k in range(1, 5))]
        unseen = [0.5 * score + rng.gauss(0, 0.01) for score in scores]
        yield result(cell, scores, seed, unseen=unseen, offsets=offsets)


@pytest.fixture
def kept(tmp_path):
    """A plan, its results as they are read, and the lines of their file."""
    rng, given = random.Random(0), plan(tmp_path, claims=CLAIMS, seeds=SEEDS)
    results = Results(tmp_path / "tiny.jsonl")
    for cell, gain in (("pair", 0.4), ("single", 0.12)):
        for one in curves(rng, cell, gain):
            results.keep(one)
    lines = [json.loads(line) for line in (tmp_path / "tiny.jsonl").read_text().splitlines()]
    return given, Results(results.path).ordered, {
        cell: sorted((line for line in lines if line["cell"] == cell), key=lambda line: line["seed"])
        for cell in ("pair", "single")
    }  # fmt: skip


def two_way(table):
    """Mean, standard error and degrees of freedom of a table of seeds and prompts, in closed form."""
    n, p = len(table), len(table[0])
    rows, columns = [fmean(row) for row in table], [fmean(column) for column in zip(*table, strict=True)]
    mean = fmean(rows)
    rest = fmean((table[i][j] - rows[i] - columns[j] + mean) ** 2 for i in range(n) for j in range(p))
    seeds, prompts = pvariance(rows) / (n - 1), pvariance(columns) / (p - 1)
    error = sqrt(seeds + prompts + rest / ((n - 1) * (p - 1)))
    return mean, error, (seeds + prompts) ** 2 / (seeds**2 / (n - 1) + prompts**2 / (p - 1))


def corrected(p_values):
    """Holm, by its definition: step down through the ordered values."""
    ordered, worst, found = sorted(p_values), 0.0, {}
    for rank, p in enumerate(ordered):
        worst = max(worst, min(1.0, p * (len(ordered) - rank)))
        found.setdefault(p, worst)
    return [found[p] for p in p_values]


def two_sided(mean, error, freedom, null):
    return 2 * float(student.sf(abs(mean - null) / error, freedom))


def gaps(lines, metric):
    """Of every seed and prompt, at the end."""
    return [
        [
            a - b
            for a, b in zip(ours["curve"][-1]["prompts"][metric], theirs["curve"][-1]["prompts"][metric], strict=True)
        ]
        for ours, theirs in zip(lines["pair"], lines["single"], strict=True)
    ]


def numbers(text):
    """`+0.14 [+0.11, +0.17] (5, 95%)` as numbers."""
    text = text.replace("−", "-").replace(",", "").replace("[", "").replace("]", "").partition("(")[0]
    return [float(part) for part in text.split()]


def test_levels_and_differences_at_the_end(kept):
    given, results, lines = kept
    table = final_table(given, results, SCORE, "evaluations")
    row = next(row for row in table.rows if row[0] == "single")
    ends = [line["curve"][-1]["prompts"]["reward"] for line in lines["single"]]
    for told, own in ((row[1], ends), (row[2], [[-gap for gap in one] for one in gaps(lines, "reward")])):
        mean, error, freedom = two_way(own)
        half = float(student.ppf(0.975, freedom)) * error
        assert numbers(told) == pytest.approx(
            [mean, mean - half, mean + half], abs=0.06 * half + 0.005
        )  # told to two places
        assert "(5, 95%)" in told
    assert row[-2:] == ["8", "2,000"]


def test_verdicts_survive_recomputation(kept):
    """Of the claims about the end; the other two take part in the correction."""
    given, results, lines = kept
    found = findings(given, results)
    assert [one.tested.mark for one in found] == ["evaluations", "steps"] * 4
    p_values = []
    for claim, metric in zip(CLAIMS, ("reward", "diversity", None, None), strict=True):
        for mark in range(2):
            if metric is not None:
                p_values.append(two_sided(*two_way(gaps(lines, metric)), claim.get("at_least", 0.0)))
            else:
                tested = found[2 * CLAIMS.index(claim) + mark].tested
                p_values.append(tested.effect.estimate.p_value(tested.claimed))
    for one, p, raw in zip(found, corrected(p_values), p_values, strict=True):
        assert one.p_value == pytest.approx(p, rel=0.5, abs=1e-3)
        assert p >= raw
        is_more = one.tested.effect.estimate.value > one.tested.claimed
        if one.tested.claim.kind == "final":
            assert one.verdict == ("open" if p >= 0.05 else "confirmed" if is_more else "refuted")
    assert {one.verdict for one in found[:4]} == {"confirmed", "refuted"}


def first_seen(line, level):
    """The evaluation that first saw a level."""
    return next((point for point in line["curve"] if point["values"]["reward"] >= level), None)


def test_ratios_of_costs(kept):
    given, results, lines = kept
    logs = []
    for ours, theirs in zip(lines["pair"], lines["single"], strict=True):
        best = max(theirs["curve"], key=lambda point: point["values"]["reward"])
        seen = first_seen(ours, best["values"]["reward"])
        assert seen is not None
        logs.append(log(best["images"] / seen["images"]))
    found = findings(given, results)[4].tested.effect.estimate
    assert log(found.value) == pytest.approx(fmean(logs))


def test_costs_to_reach_a_level(kept):
    given, results, lines = kept
    table = cost_table(given, results, SCORE, "images")
    ends = {cell: fmean(line["curve"][-1]["values"]["reward"] for line in own) for cell, own in lines.items()}
    level = 0.3 + 0.5 * (max(ends.values()) - 0.3)
    seen = [first_seen(line, level) for line in lines["pair"]]
    expected = median(point["images"] for point in seen)
    column = next(k for k, head in enumerate(table.head) if k and isclose(float(head), level, abs_tol=0.006))
    row = next(row for row in table.rows if row[0] == "pair")
    assert numbers(row[column])[0] == expected


def test_unseen_score_at_equal_training_score(kept):
    given, results, lines = kept

    def read(line, level):
        for before, after in pairwise(line["curve"]):
            low, high = before["values"], after["values"]
            if high["reward"] >= level:
                share = (level - low["reward"]) / (high["reward"] - low["reward"])
                return low["shapes-verifier"] + share * (high["shapes-verifier"] - low["shapes-verifier"])
        raise AssertionError

    found = []
    for ours, theirs in zip(lines["pair"], lines["single"], strict=True):
        level = min(line["curve"][-1]["values"]["reward"] for line in (ours, theirs))
        found.append(read(theirs, level) - read(ours, level))
    row = equal_score_table(given, results, SCORE, "evaluations").rows[0]
    assert row[:1] == ["single"] and row[2] == "5 of 5"
    mean, low, high = numbers(row[3])
    assert mean == pytest.approx(fmean(found), abs=0.05 * (high - low))
