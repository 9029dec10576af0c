"""Help for people who choose: what is asked, what is decided, that it stands, and the alarm when the head is wrong."""

import pytest
import torch

from fdfo.errors import RewardError
from fdfo.evaluation.alarms import Alarm
from fdfo.files import write_json
from fdfo.rewards import human
from fdfo.rewards.assist import Assistant, Plan, Record, record_of
from fdfo.rewards.human import Human
from fdfo.studio.choices import Journal
from fdfo.studio.pairs import digest
from fdfo.training.checkpoint import Progress
from fdfo.training.distributed import this_team
from fdfo.training.journal import Journal as RunJournal
from tests.rewards.colours import choose, colours, redder, shown
from tests.training.test_human import Person, attending, port_of


@pytest.fixture(scope="module")
def assistant():
    """Of 8 pairs people get, 2 are random."""
    made = Assistant("shapes-contrastive", None, 8, 0.25)
    made.load("cpu", torch.float32)
    return made


@pytest.fixture
def run(tmp_path):
    """Forty choices of the redder picture."""
    for pair in colours(tmp_path, 40):
        choose(tmp_path, pair, redder(tmp_path, pair))
    return tmp_path


def test_the_unsure_and_some_at_random_are_asked_and_the_others_decided_rightly(assistant, run):
    pairs = colours(run, 24, seed=1)
    plan = assistant.plan(run, 1, pairs, *shown(run, pairs))
    assert len(plan.asked) == 8 and plan.gaps.keys() == {pair.key for pair in pairs}
    assert plan.at_random == [pair.key for pair in sorted(pairs, key=lambda pair: pair.number("check"))[:2]]
    unsure = [abs(plan.gaps[key]) for key in plan.asked if key not in plan.at_random]
    decided = [pair for pair in pairs if pair.key not in plan.asked]
    assert max(unsure) <= min(abs(plan.gaps[pair.key]) for pair in decided)
    right = [(plan.preference(pair.key) > 0) == (redder(run, pair) == "first") for pair in decided]
    assert sum(right) >= 14  # of 16
    assert all(0 < abs(plan.preference(pair.key)) < 1 for pair in decided)


def test_a_plan_stands_whatever_is_chosen_meanwhile(assistant, run):
    pairs = colours(run, 12, seed=1)
    images = shown(run, pairs)
    for pair in pairs[:6]:
        choose(run, pair, redder(run, pair, wrong=True))  # before it was made: those of the same pairs do not count
    plan = assistant.plan(run, 1, pairs, *images)
    for pair in pairs[6:]:
        choose(run, pair, redder(run, pair, wrong=True))
    other = Assistant("shapes-contrastive", None, 8, 0.25)
    other.load("cpu", torch.float32)
    assert other.plan(run, 1, pairs[::-1], *(side.flip(0) for side in images)) == plan
    (run / "choices" / "assisted" / "plan-0000001.json").unlink()
    again = other.plan(run, 1, pairs, *images)
    assert again.asked == plan.asked and again.gaps == pytest.approx(plan.gaps)


def test_with_few_choices_or_few_pairs_all_is_asked(assistant, run, tmp_path):
    pairs = colours(run, 8, seed=1)
    assert assistant.plan(run, 1, pairs, *shown(run, pairs)).asked == [pair.key for pair in pairs]
    empty = tmp_path / "empty"
    many = colours(empty, 12)
    plan = assistant.plan(empty, 1, many, *shown(empty, many))
    assert len(plan.asked) == 12 and plan.at_random == []


def test_processes_share_what_is_asked(assistant, run):
    pairs = colours(run, 12, seed=1)
    assert len(assistant.plan(run, 3, pairs, *shown(run, pairs)).asked) == 3  # ceil(8 / 3)


def test_a_record_counts_the_random_pairs_with_a_side(run, tmp_path):
    run = tmp_path / "other"
    pairs = colours(run, 6)
    gaps = {pair.key: gap for pair, gap in zip(pairs, (2.0, -2.0, 2.0, 2.0, 2.0, 0.1), strict=True)}
    keys = [pair.key for pair in pairs]
    (run / "choices" / "assisted").mkdir()
    plan = Plan(pairs=digest(*sorted(keys)), asked=keys, at_random=keys[:5], gaps=gaps)
    write_json(run / "choices" / "assisted" / "plan-0000001.json", plan.model_dump())
    for pair, chosen in zip(pairs, ("first", "first", "tie", "skip", "first", "second"), strict=True):
        choose(run, pair, chosen)
    record = record_of(run)
    assert (record.right, record.count) == (2, 3)
    assert record.promised == pytest.approx(1 / (1 + torch.e**-2.0))


@pytest.mark.parametrize(
    ("right", "count", "promised", "is_wrong"),
    [(36, 40, 0.9, False), (28, 40, 0.9, True), (33, 40, 0.9, False), (0, 0, 1.0, False), (1, 2, 0.9, False)],
)
def test_the_alarm_is_for_a_head_that_is_right_less_often_than_it_says(right, count, promised, is_wrong):
    """P(28 or fewer of 40 | 0.9) = 0.0005; P(33 or fewer) = 0.10: binomial tables."""
    assert (Record(right, count, promised).warning is not None) == is_wrong


def test_a_warning_becomes_an_alarm_of_the_run():
    logged, said = [], []
    folder = type("Folder", (), {"log": lambda _, *event: logged.append(event)})()
    console = type("Console", (), {"say": lambda _, text, **style: said.append(text)})()
    trackers = type("Trackers", (), {"log": lambda *_: None})()
    journal = RunJournal(folder, console, this_team(), 2, trackers, [])
    scores = {"reward": 0.1, "group_spread": 0.2, "images": 4.0}
    journal.epoch(Progress(epoch=3, updates=1), scores, [{"clip_fraction": 0.0}], {"score": 1.0}, ["wrong taste"])
    alarm = Alarm(3, "assistant", "wrong taste")
    assert ("training_alarm", 3, {"name": alarm.name, "message": alarm.message}) in logged
    assert said == ["alarm (assistant): wrong taste"]


def test_people_are_asked_for_few_pairs_and_the_rest_is_scored(tmp_path, monkeypatch):
    monkeypatch.setattr(human, "LAST_UNDO_S", 0.0)
    reward, lines = attending(tmp_path, assist="learned", features="shapes-contrastive", ask=2, check=0.5, repeat=0.0)
    run = tmp_path / "run"
    for pair in colours(run, 30):
        choose(run, pair, redder(run, pair))
    before = len(Journal(run).choices())
    pairs = colours(run, 6, seed=2)
    first, second = shown(run, pairs)
    images = torch.stack([first, second], 1).flatten(0, 1)
    texts = [pair.prompt for pair in pairs for _ in range(2)]
    reward.asked.expect(images, texts, 2, 12)
    with Person(port_of(lines)):
        scores = reward.components(images, texts, [{}] * 12, group_size=2)["human"]
    reward.asked.leave()
    assert len(Journal(run).choices()) == before + 2
    gaps = (scores[0::2] - scores[1::2]).abs()
    assert ((gaps > 0) & (gaps < 1)).sum() == 4
    assert any("decided by the head: 4 pairs; right on " in line for line in lines) and reward.asked.warnings() == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"assist": "x"}, "assist='x': learned, or remove it"),
        ({"assist": "learned", "features": "clipp"}, "did you mean 'clip'"),
    ],
)
def test_options_are_checked(options, problem):
    with pytest.raises(RewardError, match=problem):
        Human(**options)
