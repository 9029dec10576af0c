"""What a run says: times that are right and never cut, lines broken between scores, each score once."""

import io

import pytest
from rich.console import Console as RichConsole

from fdfo.evaluation.heldout import Evaluation
from fdfo.training import console as module
from fdfo.training.console import Console
from fdfo.training.findings import gain, levels


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal():
    """Makes consoles of a terminal; their lines end with the test."""
    made = []

    def make(epochs):
        console = Console(True, epochs)
        console.rich = RichConsole(file=io.StringIO(), force_terminal=True, width=80, color_system=None, soft_wrap=True)
        made.append(console)
        return console

    yield make
    for console in made:
        console.stop()


def shown(console, width=80):
    """The line of a terminal."""
    paper = RichConsole(file=io.StringIO(), width=width)
    paper.print(console.line())
    return paper.file.getvalue()


def evaluation(epoch, **scores):
    return Evaluation(
        epoch=epoch,
        prompts=["a", "b", "c"],
        categories=[None] * 3,
        images_per_prompt=1,
        steps=2,
        scores=scores,
        diversity=None,
        signals={},
    )


def test_the_time_left_is_that_of_the_finished_epochs_however_long(clock, terminal):
    console = terminal(100)
    console.start(10)
    console.begin(10)
    assert "left" not in shown(console)
    clock[0] = 120.0
    console.end(0.5, 1.0)
    console.begin(11)
    assert "2:00 elapsed, 2:58:00 left" in shown(console)  # 89 epochs of two minutes
    clock[0] = 180.0
    assert "3:00 elapsed, 2:57:00 left" in shown(console)


def test_a_long_reward_does_not_cut_the_times_at_80_columns(clock, terminal):
    console = terminal(1000)
    console.start(0)
    for epoch in range(999):
        console.begin(epoch)
        clock[0] += 36.0
        console.end(-17184.3, 1234.5)
    console.phase("sample", 48, 96)
    line = shown(console)
    assert "epoch 999/1000 sample 48/96  9:59:24 elapsed, 0:36 left" in line
    assert line.count("\n") == 1 and len(line.rstrip("\n")) <= 80
    assert "reward -1.718e+04  1.23e+03 img/s" in shown(console, 120)


def test_the_first_evaluation_has_a_name(clock, terminal):
    console = terminal(3)
    console.start(0)
    assert "before training" in shown(console)
    console.phase("judge", 8, 24)
    assert "before training judge 8/24" in shown(console)


def test_nothing_is_left_of_the_line_at_the_end(clock, terminal):
    console = terminal(3)
    with console:
        console.start(0)
        console.stop()
        console.say("report: report.html")
    written = console.rich.file.getvalue()
    assert written.endswith("report: report.html\n")
    assert "\x1b[2K" in written.rpartition("before training")[2]  # erased


def test_lines_break_between_the_items_of_a_terminal_and_nowhere_else(terminal, capsys):
    items = [f"score-{i} 0.123 [0.1, 0.2]" for i in range(7)]
    console = terminal(3)
    console.say_items("held-out, epoch 5", items)
    lines = console.rich.file.getvalue().splitlines()
    assert len(lines) > 1 and max(map(len, lines)) <= 80
    assert " ".join(line.strip() for line in lines) == "held-out, epoch 5: " + ", ".join(items)
    assert all(line.endswith(",") for line in lines[:-1])
    plain = Console(True, 3)
    plain.say_items("held-out, epoch 5", items)
    plain.say_items("finished", [])
    assert capsys.readouterr().out.splitlines() == ["held-out, epoch 5: " + ", ".join(items), "finished"]


def test_a_single_score_is_named_once_and_a_sum_beside_its_parts():
    values, others = [1.0, float("nan"), 3.0], [2.0, 2.0, 2.0]
    single = evaluation(0, reward=values, jpeg=list(values), clip=others)
    assert [text.split()[0] for text in levels(single)] == ["jpeg", "clip"]
    summed = evaluation(0, reward=[3.0, 4.0, 5.0], jpeg=values, clip=others)
    assert [text.split()[0] for text in levels(summed)] == ["reward", "jpeg", "clip"]


def test_the_gain_is_that_of_the_trained_score_paired():
    first = evaluation(0, reward=[0.0, 1.0, 5.0], jpeg=[0.0, 1.0, 5.0])
    last = evaluation(9, reward=[0.5, 1.5, 5.5], jpeg=[0.5, 1.5, 5.5])
    assert gain([first, last]) == ["held-out jpeg 2 -> 2.5", "+0.5 [+0.5, +0.5]"]  # no spread within the pairs
    assert gain([first]) == []


def test_a_notebook_that_asks_for_colours_gets_plain_lines(monkeypatch, capsys):
    """Jupyter sets FORCE_COLOR for commands, whose output is no terminal that could draw a line again."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = Console(True, 3)
    console.start(0)
    console.begin(0)
    console.end(0.5, 2.0)
    console.stop()
    out = capsys.readouterr().out
    assert out.startswith("epoch 1/3  reward 0.5  2 img/s") and "\x1b" not in out


def test_a_label_between_colons_is_no_picture(terminal):
    console = terminal(1)
    console.say(":bomb: 0.5")
    assert console.rich.file.getvalue() == ":bomb: 0.5\n"
