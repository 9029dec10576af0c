"""Files that a kill may cut off, and texts that hold any character."""

import json

import pytest

from fdfo.comparison.results import Results
from fdfo.files import json_lines
from tests.comparison.plans import result
from tests.test_cli import fdfo

SEPARATORS = "\u0085\u2028\u2029\x0b\x0c\x1c\r"


def test_only_line_feeds_end_a_line_and_a_cut_off_one_does_not_count(tmp_path):
    texts = [f"a{SEPARATORS}b", "caf\u00e9"]
    whole = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts).encode()
    (tmp_path / "lines.jsonl").write_bytes(whole + '"caf\u00e9'.encode()[:-1])
    assert json_lines(tmp_path / "lines.jsonl") == texts


def test_results_with_separators_come_back(tmp_path):
    Results(tmp_path / "r.jsonl").keep(result("pair", [], error=f"broke{SEPARATORS}here"))
    (found,) = Results(tmp_path / "r.jsonl").ordered
    assert found.error == f"broke{SEPARATORS}here"


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029"])
def test_eval_takes_prompts_with_separators(monkeypatch, capsys, tmp_path, separator):
    (tmp_path / "prompts.txt").write_text(f"a red{separator}circle\n", encoding="utf-8")
    options = ("--model", "shapes", "--rewards", "jpeg", "--steps", 1, "-o", tmp_path / "out")
    code, _, err = fdfo(monkeypatch, capsys, "eval", "--prompts", tmp_path / "prompts.txt", *options)
    assert code == 0, err
    assert separator in (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8")
