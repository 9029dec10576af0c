"""Choices afterwards: statistics by hand, and a data set that others' code reads."""

import io
import math

import pyarrow.parquet as parquet
import pytest
from PIL import Image

from fdfo.commands.choices import run_export, run_stats
from fdfo.errors import CheckpointError
from fdfo.studio.choices import Journal
from fdfo.studio.pairs import pictures_of
from fdfo.studio.statistics import between_people, habits, kappas, with_oneself
from tests.studio.folders import answer, asked, desk_of, run_folder
from tests.studio.test_board import PAIRS, chose


def test_agreement_is_counted_by_pair():
    choices = [
        chose(PAIRS[0], "first"),
        chose(PAIRS[0], "first", repeat=True),
        chose(PAIRS[1], "tie"),
        chose(PAIRS[1], "second", repeat=True),
        chose(PAIRS[2], "second"),
        chose(PAIRS[2], "skip", repeat=True),  # no answer
        chose(PAIRS[0], "first", "anna"),
        chose(PAIRS[1], "first", "anna"),
        chose(PAIRS[2], "skip", "anna"),  # not shared
    ]
    assert with_oneself(choices) == (1, 2)
    assert between_people(choices) == (1, 2)
    (anna, me) = habits(choices)
    assert (anna.who, anna.counts["first"], anna.counts["skip"], anna.alike) == ("anna", 2, 1, (0, 0))
    assert (me.counts["first"], me.counts["tie"], me.counts["second"], me.left) == (1, 1, 1, 1)


def test_kappa_is_cohens():
    """Of 10 pairs: both first on 5, both second on 2, first and second on 2, second and first on 1.

    They agree on 7/10; by chance (7/10)(6/10) + (3/10)(4/10) = 54/100; kappa = (.70 - .54) / (1 - .54) = 8/23.
    """
    anna = ["first"] * 5 + ["second"] * 2 + ["first"] * 2 + ["second"]
    ben = ["first"] * 5 + ["second"] * 2 + ["second"] * 2 + ["first"]
    choices = [
        chose(pair, what, who)
        for who, said in (("anna", anna), ("ben", ben))
        for pair, what in zip(PAIRS, said, strict=False)
    ]
    (found,) = kappas([*choices, chose(PAIRS[20], "tie", "ben")])
    assert (found.first, found.second, found.pairs) == ("anna", "ben", 10)
    assert found.value == pytest.approx(8 / 23)
    (always,) = kappas([chose(pair, "first", who) for who in ("anna", "ben") for pair in PAIRS[:3]])
    assert math.isnan(always.value)


@pytest.fixture
def run(tmp_path):
    """Five pairs: left, right, tie, skip, and one whose picture is gone."""
    run = run_folder(tmp_path / "run")
    pairs, desk = asked(run, 5), desk_of(run)
    for number, (pair, what) in enumerate(zip(pairs, ("left", "right", "tie", "skip", "left"), strict=True)):
        desk.answer("me", answer(desk, pair, what, id=f"{number:08d}"))
    (pictures_of(run) / f"{pairs[4].first}.png").unlink()
    return run


def test_the_data_set_is_read_as_pick_a_pic_is(run, tmp_path, capsys):
    run_export([run], tmp_path / "set.parquet")
    rows = parquet.read_table(tmp_path / "set.parquet").to_pylist()
    assert [(row["caption"], row["label_0"], row["label_1"]) for row in rows] == [
        ("prompt 0", 1.0, 0.0),
        ("prompt 1", 0.0, 1.0),
        ("prompt 2", 0.5, 0.5),
    ]
    for row, choice in zip(rows, Journal(run).choices(), strict=False):
        left, right = (choice.first, choice.second) if choice.left == "first" else (choice.second, choice.first)
        assert (row["image_0_uid"], row["image_1_uid"]) == (left, right)
        assert row["best_image_uid"] == {1.0: left, 0.0: right, 0.5: "tie"}[row["label_0"]]
        for data, name in ((row["jpg_0"], left), (row["jpg_1"], right)):
            assert data == (pictures_of(run) / f"{name}.png").read_bytes()
            assert Image.open(io.BytesIO(data)).convert("RGB").size == (32, 32)
    told = capsys.readouterr().out
    assert "3 choices" in told and "1 skipped: left out" in told and "1 without pictures: left out" in told


def test_statistics_are_printed(run, capsys):
    run_stats([run])
    told = capsys.readouterr().out
    assert "me: 5 pairs, 1.5 s each (median)" in told
    assert "no preference 1, skipped 1, left picture 2 of 3" in told and "nothing came again" in told


def test_a_folder_without_choices_is_refused(tmp_path):
    for command in (lambda: run_stats([tmp_path]), lambda: run_export([tmp_path], tmp_path / "x.parquet")):
        with pytest.raises(CheckpointError, match=r"has no choices\.jsonl; give the folder of a run with reward="):
            command()
    assert not (tmp_path / "x.parquet").exists()
