"""People as the score of a run: pairs in, choices out, the same weights for the same choices."""

import json
import os
import re
import signal
import socket
import time
from http.client import HTTPConnection
from threading import Event, Thread

import pytest
import torch

from fdfo.config.load import load_config
from fdfo.config.tree import RewardConfig
from fdfo.errors import BusyError, FdfoError, RewardError
from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.runs import read_events
from fdfo.locks import one_writer
from fdfo.models.policy import FlowPolicy
from fdfo.rewards import human
from fdfo.rewards.endpoint import giving_up_when
from fdfo.rewards.weighted import WeightedSum
from fdfo.studio.choices import Journal
from fdfo.studio.pairs import digest, rounds
from fdfo.training.findings import gain
from fdfo.training.loop import train
from fdfo.training.setup import check
from tests.browser import opened, until
from tests.studio.folders import asked, run_folder
from tests.training.forks import started
from tests.training.runs import adapter, run

OPTIONS = ("train.epochs=2", "optim.updates_per_epoch=3", "eval.every=2", "train.checkpoint_every=5")
"""Checkpoints are written every epoch all the same."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch):
    monkeypatch.setattr(human, "LAST_UNDO_S", 0.0)
    monkeypatch.setattr(human, "POLL_S", 0.02)


def asking(port, **options):
    entry = {"name": "human", "port": port, "repeat": 0.5} | options
    return f"reward=[{json.dumps(entry)}]"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def taste(item):
    """What the scripted person chooses: a function of the pictures alone."""
    names = sorted(re.findall(r"[0-9a-f]{32}", item["left"] + item["right"]))
    number = int(digest(*names)[:8], 16) / 16**8
    if number < 0.3:
        return "tie" if number < 0.15 else "skip"
    return "left" if names[number < 0.65] in item["left"] else "right"


class Person(Thread):
    """Chooses over HTTP until told to stop, or after so many choices."""

    def __init__(self, port, most=10**6):
        super().__init__(daemon=True)
        self._port, self._most, self.is_done, self._end = port, most, Event(), Event()

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self.join()

    def run(self):
        count = 0
        while not self._end.is_set() and count < self._most:
            try:
                view = self._ask("GET", "/choose/state")
                for item in view["items"][:1]:
                    body = {"id": f"{time.monotonic_ns()}", "run": view["run"], "pair": item["pair"]}
                    body |= {"chosen": taste(item), "repeat": item["repeat"], "seconds": 0.1}
                    count += "done" in self._ask("POST", "/choose/answer", body)
            except OSError:
                pass  # the run is not there yet, or not any more
            self._end.wait(0.02)
        self.is_done.set()

    def _ask(self, method, path, body=None):
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """A whole run with a scripted person."""
    folder, port = tmp_path_factory.mktemp("runs") / "undisturbed", free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(human, "LAST_UNDO_S", 0.0)
        noted = noting(patch)
        with Person(port):
            run(folder, *OPTIONS, asking(port))
    (folder / NOTED).write_text(json.dumps(noted))
    return folder


NOTED = "noted.json"
"""What a run did, in order, beside its files."""


def noting(patch):
    """A list to which every prompt that is encoded is added, and "chosen" whenever people are done."""
    noted, encode, wait = [], FlowPolicy._encode_one, human.Human._decided

    def decided(self, mine):
        board = wait(self, mine)
        noted.append("chosen")
        return board

    patch.setattr(FlowPolicy, "_encode_one", lambda self, text: noted.append(text) or encode(self, text))
    patch.setattr(human.Human, "_decided", decided)
    return noted


def same(first, second):
    a, b = adapter(first), adapter(second)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def decisions(folder):
    """What was chosen from every pair, repetitions left out."""
    return {choice.pair: choice.chosen for choice in Journal(folder).choices() if not choice.repeat}


def test_choices_are_differences_of_scores(undisturbed):
    rollouts = [event for event in read_events(undisturbed) if event["event"] == "rollout"]
    chosen = list(decisions(undisturbed).values())
    assert len(rollouts) == 2 and len(chosen) == 10 and len(set(chosen)) == 4
    assert sum(event["skipped_groups"] for event in rollouts) == chosen.count("skip")
    assert all(event["failed"] == 0 for event in rollouts)
    first = [value != "skip" for value in chosen[:5]].count(True)
    squares = sum(value in ("first", "second") for value in chosen[:5]) * 0.5**2  # scores are 1/2 and -1/2
    assert rollouts[0]["group_spread"] == pytest.approx((squares / first) ** 0.5)
    assert len({choice.pair for choice in Journal(undisturbed).choices() if choice.repeat}) > 0


def test_an_evaluation_has_no_score_that_only_people_give(undisturbed):
    events = read_events(undisturbed)
    evaluations = [event for event in events if event["event"] == "evaluation"]
    assert [event["epoch"] for event in evaluations] == [0, 2]
    assert [list(event["scores"]) for event in evaluations] == [["shapes-verifier", "shapes-neatness", "diversity"]] * 2
    written = [Evaluation.read(path) for path in sorted((undisturbed / "evaluations").glob("*.json"))]
    assert [list(one.scores) for one in written] == [["shapes-verifier", "shapes-neatness"]] * 2
    line, _, told = gain(written)
    assert line.startswith("held-out shapes-verifier ") and told == "the trained score is not measured here"
    assert not (undisturbed / "checkpoints" / "best").exists()


@pytest.mark.parametrize("metric", ["reward", "human"])
def test_a_run_cannot_stop_by_a_score_that_only_people_give(metric):
    config = load_config("shapes-smoke", ["reward=[human]", f"eval.stop_when={{metric: {metric}, patience: 2}}"])
    with pytest.raises(FdfoError, match=f"training images alone, so '{metric}' is not evaluated; name a score of eval"):
        check(config)


@pytest.mark.slow
def test_the_next_prompts_are_encoded_while_people_choose_which_changes_nothing(undisturbed, tmp_path, monkeypatch):
    noted = json.loads((undisturbed / NOTED).read_text())
    asked = {choice.prompt for choice in Journal(undisturbed).choices()}
    first = noted.index("chosen")
    assert asked <= set(noted[:first]) and noted[first:] == ["chosen", "chosen"]
    monkeypatch.setattr("fdfo.training.epoch.encode_ahead", lambda *_: None)
    late, port = noting(monkeypatch), free_port()
    with Person(port):
        run(tmp_path / "late", *OPTIONS, asking(port))
    assert len(late[late.index("chosen") :]) > 2 and sorted(late) == sorted(noted)
    assert decisions(tmp_path / "late") == decisions(undisturbed) and same(tmp_path / "late", undisturbed)


def test_a_person_at_the_keyboard_is_killed_and_goes_on_to_the_same_weights(browser, undisturbed, tmp_path):
    """In a browser: half of the second epoch, a kill, and the rest after the same command, on the same open page."""
    folder, port = tmp_path / "killed", free_port()
    with started(lambda: run(folder, *OPTIONS, asking(port))) as process:
        wait_for_server(port)
        with opened(browser, f"http://127.0.0.1:{port}/") as page:
            choose_by_keys(page, folder, 8)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            before = [choice.id for choice in Journal(folder).choices()]
            training = Thread(target=lambda: run(folder, *OPTIONS, asking(port)), daemon=True)
            page.wait_for_selector("#notice:not([hidden])", state="visible")
            training.start()
            page.wait_for_selector("#notice", state="hidden")
            choose_by_keys(page, folder, 10)
            until(page, "document.getElementById('epoch').textContent === 'Finished'")
            training.join()
    choices = Journal(folder).choices()
    assert [choice.id for choice in choices][: len(before)] == before
    once = [choice.pair for choice in choices if not choice.repeat]
    assert len(once) == len(set(once)) == 10  # nothing was asked twice
    assert decisions(folder) == decisions(undisturbed)
    assert same(folder, undisturbed)


def wait_for_server(port):
    for _ in range(1200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("no page within 120 s")


KEYS = {"left": "ArrowLeft", "right": "ArrowRight", "tie": "ArrowUp", "skip": "ArrowDown"}
SHOWN = """() => current === null || unsent.length ? null : {
  left: document.querySelector('#left img').getAttribute('src'),
  right: document.querySelector('#right img').getAttribute('src')}"""


def choose_by_keys(page, folder, count):
    """Until so many pairs are decided."""
    for _ in range(3000):
        if len(decisions(folder)) >= count:
            return
        if item := page.evaluate(SHOWN):
            page.keyboard.press(KEYS[taste(item)])
        page.wait_for_timeout(20)
    raise AssertionError(f"{len(decisions(folder))} of {count} pairs are decided")


# ---- the score by itself ----


@pytest.fixture
def pictures():
    return torch.rand(8, 3, 6, 5, generator=torch.Generator().manual_seed(1))


def attending(tmp_path, *others, size=1, **options):
    """A weighted sum with people in it, in a run folder, and the lines that it says."""
    reward = WeightedSum([RewardConfig(name="human", port=0, **options), *others])
    reward.load(torch.device("cpu"), torch.float32)
    lines = []
    reward.asked.attend(run_folder(tmp_path / "run"), 0, size, lines.append)
    return reward, lines


def port_of(lines):
    return int(re.search(r":(\d+)/", lines[0]).group(1))


PROMPTS = [f"prompt {i // 2}" for i in range(8)]


def test_one_line_tells_the_address_and_the_scores_are_there_when_all_is_chosen(tmp_path, pictures):
    reward, lines = attending(tmp_path)
    with Person(port_of(lines)):
        scores = reward.components(pictures, PROMPTS, [{}] * 8, group_size=2, batch=2)["human"]
    reward.asked.leave()
    assert [line.partition(" at ")[0] for line in lines[:2]] == ["choose pictures", "4 pairs wait to be chosen from"]
    assert lines[2].startswith("chosen from 4 pairs: ")
    chosen = {choice.prompt: choice for choice in Journal(tmp_path / "run").choices() if not choice.repeat}
    assert len(chosen) == 4  # in one round, however small the batches of other scores are
    for prompt, gap in zip(PROMPTS[::2], scores[0::2] - scores[1::2], strict=True):
        expected = {"tie": 0.0, "skip": float("nan")}.get(chosen[prompt].chosen)
        assert abs(gap) == 1 if expected is None else gap == expected or gap.isnan() == (expected != expected)


def test_the_same_picture_twice_is_a_tie_that_nobody_is_asked_for(tmp_path, pictures):
    reward, lines = attending(tmp_path)
    twice = pictures[:1].repeat(2, 1, 1, 1)
    assert reward.components(twice, PROMPTS[:2], [{}] * 2, group_size=2)["human"].tolist() == [0, 0]
    assert "wait" not in str(lines)
    reward.asked.leave()


def test_pairs_are_asked_as_soon_as_they_are_drawn(tmp_path, pictures):
    reward, lines = attending(tmp_path)
    with Person(port_of(lines)) as person:
        reward.asked.expect(pictures[:4], PROMPTS[:4], 2, 8)
        for _ in range(500):
            if len(decisions(tmp_path / "run")) == 2:
                break
            time.sleep(0.02)
        assert len(decisions(tmp_path / "run")) == 2  # before the rest is drawn
        reward.components(pictures, PROMPTS, [{}] * 8, group_size=2)
        assert not person.is_done.is_set()
    assert len(decisions(tmp_path / "run")) == 4
    reward.asked.leave()


def test_what_was_chosen_is_not_asked_again_and_the_order_of_images_does_not_matter(tmp_path, pictures):
    reward, lines = attending(tmp_path)
    with Person(port_of(lines)):
        scores = reward.components(pictures, PROMPTS, [{}] * 8, group_size=2)["human"]
    count = len(Journal(tmp_path / "run").choices())
    swapped = pictures.reshape(4, 2, 3, 6, 5).flip(1).reshape(8, 3, 6, 5)
    mirrored = reward.components(swapped, PROMPTS, [{}] * 8, group_size=2)["human"]
    torch.testing.assert_close(mirrored.reshape(4, 2).flip(1).reshape(8), scores, equal_nan=True)
    assert len(Journal(tmp_path / "run").choices()) == count
    reward.asked.leave()


def test_several_processes_wait_for_each_other(tmp_path, pictures):
    """Two scores in one folder, as two processes of a run have them: neither goes on before both are decided."""
    first, lines = attending(tmp_path, size=2)
    second = WeightedSum([RewardConfig(name="human", port=0)])
    second.asked.attend(tmp_path / "run", 1, 2, lambda line: pytest.fail(f"only one tells: {line}"))
    results = {}

    def score(rank, reward, rows):
        results[rank] = reward.components(pictures[rows], PROMPTS[rows], [{}] * 4, group_size=2)["human"]

    early = Thread(target=score, args=(0, first, slice(0, 4)))
    with Person(port_of(lines)):
        early.start()
        early.join(0.5)
        assert early.is_alive() and len(decisions(tmp_path / "run")) == 2
        score(1, second, slice(4, 8))
        early.join()
    assert len(results[0]) == len(results[1]) == 4 and len(decisions(tmp_path / "run")) == 4
    first.asked.leave()


def test_pairs_that_the_other_scores_decide_are_left_to_them_and_stay_so_after_an_interruption(tmp_path, pictures):
    """The switch is on when training goes on; the process is killed, and the person moves the switch back."""
    grey = pictures.mean((1, 2, 3)).double()
    gaps = (grey[0::2] - grey[1::2]).abs()
    weight = gaps.sort().values[1:3].mean().item()  # two of four pairs differ by more
    code = "def grey(images, prompts, metadata):\n    return images.mean((1, 2, 3))\n"
    (tmp_path / "grey.py").write_text(code)
    measured = RewardConfig(name=f"{tmp_path}/grey.py:grey", label="grey")
    reward, lines = attending(tmp_path, measured, weight=weight)
    journal = Journal(tmp_path / "run")
    with journal.held():
        journal.switch("me", True)
    with Person(port_of(lines)):
        scores = reward.components(pictures, PROMPTS, [{}] * 8, group_size=2)
    reward.asked.leave()
    chosen = {choice.prompt for choice in journal.choices()}
    assert chosen == {prompt for prompt, gap in zip(PROMPTS[::2], gaps.tolist(), strict=True) if gap <= weight}
    assert lines[-1].endswith("; 2 left to the other scores") and lines[-1].startswith("chosen from 2 pairs: ")
    left = (scores["human"][0::2] == 0) & (gaps > weight)
    assert left.sum() == 2
    with journal.held():
        journal.switch("me", False)
    again, _ = attending(tmp_path, measured, weight=weight)
    repeated = again.components(pictures, PROMPTS, [{}] * 8, group_size=2)  # nobody is there
    assert all(torch.equal(repeated[name].nan_to_num(9), values.nan_to_num(9)) for name, values in scores.items())
    again.asked.leave()


def test_a_port_in_use_is_passed_over_and_told(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        reward = WeightedSum([RewardConfig(name="human", port=port)])
        lines = []
        reward.asked.attend(run_folder(tmp_path / "run"), 0, 1, lines.append)
        reward.asked.leave()
    assert re.match(rf"port {port} is in use; people choose at {port + 1}|port {port} is in use; .* \d+$", lines[0])


def test_a_second_process_is_refused_and_the_pairs_of_the_first_still_wait(tmp_path):
    folder = run_folder(tmp_path / "run")
    pairs, config = asked(folder, 2), load_config("shapes-smoke", ["train.epochs=3", "reward=[human]"])
    with one_writer(folder, "wait"), pytest.raises(BusyError, match="is being written by process"):
        train(config, folder)
    assert rounds(folder)[0].pairs == tuple(pairs)


def test_everybody_gets_a_link(tmp_path):
    reward, lines = attending(tmp_path, people=["anna", "ben"], votes=2)
    assert [line.split("?token=")[0].rsplit(":", 1)[0] for line in lines] == [
        "anna chooses at http://127.0.0.1",
        "ben chooses at http://127.0.0.1",
    ]
    assert len({line.split("?token=")[1] for line in lines}) == 2
    reward.asked.leave()


def test_beyond_this_machine_nobody_chooses_without_a_token(tmp_path):
    reward, lines = attending(tmp_path, host="0.0.0.0")
    assert "?token=" in lines[0]
    reward.asked.leave()


def test_who_is_told_to_stop_does_not_wait_for_people(tmp_path, pictures):
    reward, _ = attending(tmp_path)
    begun = time.monotonic()
    with giving_up_when(lambda: time.monotonic() > begun + 0.2), pytest.raises(RewardError, match="asked to stop"):
        reward.components(pictures, PROMPTS, [{}] * 8, group_size=2)
    reward.asked.leave()


def test_without_a_run_there_is_nobody_to_ask(pictures):
    with pytest.raises(RewardError, match="asks people during a run"):
        WeightedSum([RewardConfig(name="human")]).components(pictures, PROMPTS, [{}] * 8, group_size=2)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"votes": 0}, "votes"),
        ({"votes": 2}, r"votes=2 needs as many people: people=\[anna, ben\]"),
        ({"repeat": 1.5}, "repeat"),
        ({"people": ["anna", "anna"]}, "different names"),
        ({"people": ["a\n"]}, "list of names"),
        ({"port": 70000}, "port"),
    ],
    ids=str,
)
def test_options_are_checked(options, problem):
    with pytest.raises(RewardError, match=problem):
        WeightedSum([RewardConfig(name="human", **options)])


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setattr(human, "find_spec", lambda name: None)
    with pytest.raises(RewardError, match=r"needs starlette, uvicorn, .*install it: "):
        WeightedSum([RewardConfig(name="human")])
