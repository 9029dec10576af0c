"""What an evaluation keeps of each set of weights."""

import json

import pytest

from fdfo.evaluation.ledger import Ledger


def row(number, score, **changes):
    values = {"scores": {"s": [score]}, "signals": {"sharpness": [0.1]}, "diversity": None}
    return {"number": number, "prompt": "a", **values, **changes}


@pytest.mark.parametrize(("weights", "other"), [("v1", "v1.1"), ("lora", "lora.v2.0"), ("[a]", "a")])
def test_adapters_whose_names_begin_alike_are_kept_apart(tmp_path, weights, other):
    ledger = Ledger(tmp_path, 0, scores=["s"], images_per_prompt=1)
    for name, score in ((weights, 1), (other, 2)):
        for rank in (0, 1):
            (tmp_path / f"{name}.{rank}.jsonl").write_text(json.dumps(row(rank, score)) + "\n")
        (tmp_path / f"{name}.0 (copy).jsonl").write_text(json.dumps(row(0, 7)) + "\n")
        (tmp_path / f"{name}.x.jsonl").write_text(json.dumps(row(0, 7)) + "\n")
    assert [row["scores"]["s"] for row in ledger.rows(weights).values()] == [[1], [1]]
    assert [row["scores"]["s"] for row in ledger.rows(other).values()] == [[2], [2]]


def test_damaged_rows_are_not_done(tmp_path, caplog):
    damaged = [
        None,
        [1],
        {"number": 1},
        row(1, 1, scores={"other": [1.0]}),
        row(1, 1, scores={"s": [1.0, 2.0]}),
        row(1, 1, signals={"sharpness": []}),
        row("x", 1),
    ]
    lines = [json.dumps(one) + "\n" for one in [row(0, None), *damaged, row(2, 0.5)]]
    (tmp_path / "base.0.jsonl").write_text("".join(lines))
    ledger = Ledger(tmp_path, 0, scores=["s"], images_per_prompt=1)
    assert {number: row["scores"]["s"] for number, row in ledger.rows("base").items()} == {0: [None], 2: [0.5]}
    assert "in lines 2, 3, 4, 5, 6 and 2 more" in caplog.text
