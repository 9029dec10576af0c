"""What an evaluation keeps of each set of weights."""

import pytest

from fdfo.evaluation.ledger import Ledger


@pytest.mark.parametrize(("weights", "other"), [("v1", "v1.1"), ("lora", "lora.v2.0"), ("[a]", "a")])
def test_adapters_whose_names_begin_alike_are_kept_apart(tmp_path, weights, other):
    for name, score in ((weights, 1), (other, 2)):
        for rank in (0, 1):
            (tmp_path / f"{name}.{rank}.jsonl").write_text(f'{{"number": {rank}, "score": {score}}}\n')
    assert [row["score"] for row in Ledger(tmp_path, 0).rows(weights).values()] == [1, 1]
    assert [row["score"] for row in Ledger(tmp_path, 0).rows(other).values()] == [2, 2]
