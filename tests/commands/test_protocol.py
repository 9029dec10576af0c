"""`fdfo eval --preset`: what it decides, and what it finds out before it begins."""

import json
import sys
from dataclasses import replace

import pytest

from fdfo.commands.protocol import PRESETS, _print
from fdfo.config.load import reward_entries
from fdfo.evaluation.protocol import DRAWBENCH, PAPER
from fdfo.evaluation.statistics import Interval
from fdfo.evaluation.summary import Row
from tests.test_cli import fdfo

PART = replace(PAPER[0], prompts="shapes-test", count=2, rewards="jpeg", published={"jpeg": -1.5})


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`fdfo eval --preset paper` of the parts, each of which is small."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fdfo.commands.protocol.RESOLUTION", 16)
    monkeypatch.setattr("fdfo.commands.protocol.STEPS", 1)

    def command(parts, *arguments):
        monkeypatch.setitem(PRESETS, "paper", parts)
        options = ("--preset", "paper", "--model", "shapes", "--output", "judged")
        return fdfo(monkeypatch, capsys, "eval", *options, *arguments)

    return command


def test_the_preset_decides_the_resolution(command, tmp_path):
    code, out, err = command([PART, replace(PART, name="other")])
    assert code == 0, err
    assert out.count("  jpeg            -1.5") == 2
    for name in (PART.name, "other"):
        manifest = json.loads((tmp_path / "judged" / name / "manifest.json").read_text())
        assert manifest["model"]["resolution"] == [16, 16]


def test_a_model_that_cannot_draw_the_size_is_told_so(command, monkeypatch):
    monkeypatch.setattr("fdfo.commands.protocol.RESOLUTION", 18)
    code, _, err = command([PART])
    assert code == 2
    assert "--preset paper draws 18 pixels a side" in err
    assert "--resolution" not in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", 192), "--preset paper decides --count; leave it out"),  # 192 is the default without it
        (
            ("--distance", "pixels", "--steps", 2, "--resolution", 16, "--rewards", "jpeg"),
            "--preset paper decides --rewards, --steps, --resolution, --distance; leave them out",
        ),
        (
            ("--prompts", "shapes-test", "--images", 1, "--diversity", "pixels"),
            "--preset paper decides --prompts, --images, --diversity; leave them out",
        ),
    ],
)
def test_options_that_the_preset_decides_are_refused(command, arguments, message):
    code, _, err = command([PART], *arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("later", "message"),
    [
        ({"prompts": "shapes-tset"}, "did you mean 'shapes-test'?"),
        ({"diversity": "dreamsim"}, "-m pip install dreamsim"),
        ({"rewards": "jpge"}, "did you mean 'jpeg'?"),
    ],
)
def test_what_a_later_part_lacks_is_found_out_before_the_first(command, monkeypatch, tmp_path, later, message):
    monkeypatch.setitem(sys.modules, "dreamsim", None)
    code, _, err = command([PART, replace(PART, name="later", **later)])
    assert code != 0
    assert message in err
    assert not (tmp_path / "judged").exists()


def test_drawbench_is_printed_as_papers_print_it(capsys):
    """CLIP and HPSv2.1 as cosines; a row for each set of weights, over all prompts."""
    (part,) = DRAWBENCH
    entries = reward_entries(part.rewards.split(","), part.name)
    assert [entry.title for entry in entries] == list(part.columns)  # a column for each score
    assert [entry.name for entry in entries] == ["pickscore", "clip", "hpsv2", "aesthetic", "image-reward"]

    def row(weights, score, mean, category=None):
        return Row(score=score, category=category, weights=weights, mean=Interval(mean, 0, 0, 2), gain=None, wins=None)

    means = {"pickscore": 22.34, "clip-l14": 28.5, "hpsv2.1": 27.9, "aesthetic": 5.36, "image-reward": -0.85}
    rows = [row(weights, score, mean) for score, mean in means.items() for weights in ("base", "adapter")]
    _print(part, [*rows, row("base", "pickscore", 9.0, category="one of its categories")])
    assert capsys.readouterr().out.splitlines() == [
        "| weights | PickScore | CLIP | HPSv2.1 | Aesthetic | ImageReward |",
        "|---|---|---|---|---|---|",
        "| base | 22.34 | 0.285 | 0.279 | 5.36 | -0.85 |",
        "| adapter | 22.34 | 0.285 | 0.279 | 5.36 | -0.85 |",
    ]
    _print(part, [])  # as in other processes than the first
    assert capsys.readouterr().out == ""
