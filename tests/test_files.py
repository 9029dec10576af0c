"""Files that a kill may cut off, and texts that hold any character."""

import json

import pytest

from fdfo.comparison.results import Results
from fdfo.files import at_home
from fdfo.own import sound_lines
from tests.comparison.plans import result
from tests.test_cli import fdfo

SEPARATORS = "\u0085\u2028\u2029\x0b\x0c\x1c\r"


def test_only_line_feeds_end_a_line_and_a_cut_off_one_does_not_count(tmp_path):
    texts = [f"a{SEPARATORS}b", "caf\u00e9"]
    whole = "".join(json.dumps(text, ensure_ascii=False) + "\n" for text in texts).encode()
    (tmp_path / "lines.jsonl").write_bytes(whole + '"caf\u00e9'.encode()[:-1])
    assert sound_lines(tmp_path / "lines.jsonl", str) == texts


def test_results_with_separators_come_back(tmp_path):
    Results(tmp_path / "r.jsonl").keep(result("pair", [0.5], error=f"broke{SEPARATORS}here"))
    (found,) = Results(tmp_path / "r.jsonl").ordered
    assert found.error == f"broke{SEPARATORS}here"


@pytest.mark.parametrize("separator", ["\u0085", "\u2028", "\u2029"])
def test_eval_takes_prompts_with_separators(monkeypatch, capsys, tmp_path, separator):
    (tmp_path / "prompts.txt").write_text(f"a red{separator}circle\n", encoding="utf-8")
    options = ("--model", "shapes", "--rewards", "jpeg", "--steps", 1, "-o", tmp_path / "out")
    code, _, err = fdfo(monkeypatch, capsys, "eval", "--prompts", tmp_path / "prompts.txt", *options)
    assert code == 0, err
    assert separator in (tmp_path / "out" / "scores.csv").read_text(encoding="utf-8")


def test_the_run_of_a_damaged_result_is_done_again(tmp_path, caplog):
    path = tmp_path / "r.jsonl"
    for cell in ("pair", "single"):
        Results(path).keep(result(cell, [0.5, 0.6]))
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0].replace('"seed": 0', '"seed": []'), "null", lines[1]]) + "\n")
    results = Results(path)
    assert [run.cell for run in results.found] == ["single"]
    assert "in lines 1, 2" in caplog.text
    results.read_mended()
    assert path.read_text().splitlines() == [lines[1]]
    assert (tmp_path / "r.jsonl.damaged").read_text().count("\n") == 3


def test_a_path_of_nobodys_home_stays_as_it_is(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert [str(at_home(path)) for path in ("~/a", "~nobodyxyz/a", "a")] == ["/home/me/a", "~nobodyxyz/a", "a"]
