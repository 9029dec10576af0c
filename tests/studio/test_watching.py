"""What the studio knows of runs and does with them, without a browser."""

import json
import os
import shutil
import signal
import socket
import time
from types import SimpleNamespace

import pytest
import torch
from pydantic import ValidationError

from fdfo.evaluation.dataset import write_dataset
from fdfo.evaluation.report.decimals import together
from fdfo.evaluation.report.record import read_run
from fdfo.evaluation.report.tradeoffs import front, scores_of, trade_off
from fdfo.locks import one_writer
from fdfo.studio.app import MOST_BYTES, watch_app
from fdfo.studio.routes import watching
from fdfo.studio.watch import actions as actions_module
from fdfo.studio.watch.actions import Actions, Drawing
from fdfo.studio.watch.contact import contact_sheet
from fdfo.studio.watch.library import Library
from fdfo.studio.watch.parts import run_parts, seen
from fdfo.studio.watch.status import status_of
from fdfo.training.checkpoint import prune
from fdfo.web.guard import Refusal
from fdfo.web.listening import listen
from fdfo.web.server import Server
from tests.evaluation.fabricated import log_epoch, make_run
from tests.studio.test_desk import ask
from tests.training.forks import started

SIZE = {"prompts": 8, "shown": 4, "epochs": 10, "every": 5}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two runs: `first` ended, `plan/second` after 7 of 10 epochs."""
    root = tmp_path_factory.mktemp("made")
    make_run(root / "first", gain=0.1, unseen_gain=0.3, **SIZE)
    make_run(root / "plan" / "second", gain=0.3, unseen_gain=-0.5, done=7, overrides=["optim.lr=1e-5"], **SIZE)
    return root


@pytest.fixture
def root(made, tmp_path):
    """A copy to write in."""
    return shutil.copytree(made, tmp_path / "runs")


def with_checkpoints(run, *epochs):
    for epoch in epochs:
        (run / "checkpoints" / f"epoch-{epoch:07d}").mkdir(parents=True, exist_ok=True)
    return run


# ---- which runs there are, and how they are ----


def test_runs_are_found_at_any_depth_the_latest_first(root, tmp_path):
    (root / "none").mkdir()
    (root / ".hidden").mkdir()
    shutil.copytree(root / "first", root / ".hidden" / "run")
    os.utime(root / "plan" / "second" / "metrics.jsonl", (2e9, 2e9))
    assert list(Library([root]).runs()) == ["plan/second", "first"]
    assert list(Library([root / "first"]).runs()) == ["first"]
    assert set(Library([root, root / "plan"]).runs()) == {"runs/first", "runs/plan/second", "plan/second"}
    assert Library([tmp_path / "nothing"]).runs() == {}


def test_an_event_changes_the_version(root):
    library = Library([root])
    before = library.version()
    assert library.version() == before
    with open(root / "first" / "metrics.jsonl", "a") as file:
        file.write("{}\n")
    assert library.version() != before


def lock(run, **content):
    holder = {"host": socket.gethostname(), "process": os.getpid(), "since": "now"} | content
    (run / ".lock").write_text(json.dumps(holder))


def test_a_run_is_running_while_its_process_is(root):
    run = root / "plan" / "second"
    assert status_of(read_run(run)).state == "stopped" and status_of(read_run(root / "first")).state == "finished"
    with one_writer(run, ""):
        status = status_of(read_run(run))
    assert (status.state, status.is_here, status.done, status.planned) == ("running", True, 7, 10)
    record = read_run(run)
    epochs = sum(sum(event["seconds"].values()) for event in record.rollouts[-5:]) / 5
    assert status.left_s == pytest.approx(3 * (epochs + 3 * 4.2 / 7))  # three evaluations so far
    ended = started(lambda: None)
    with ended as process:
        os.waitpid(process, 0)
        lock(run, process=process)  # killed: what it wrote is still there
        assert status_of(read_run(run)).state == "stopped"


def test_a_run_elsewhere_is_running_while_it_writes(root):
    run = root / "plan" / "second"
    lock(run, host="far", process=1)
    status = status_of(read_run(run))
    assert status.state == "running" and not status.is_here
    os.utime(run / "metrics.jsonl", (time.time() - 700,) * 2)
    assert status_of(read_run(run)).state == "stopped"


def test_only_parts_that_changed_have_another_digest(root):
    run = root / "plan" / "second"
    before = {part.name: part.digest for part in run_parts(run)}
    log_epoch(type("Folder", (), {"log": _logger(run)}), 8, 0.1, __import__("numpy").random.default_rng(0), 2)
    after = {part.name: part.digest for part in run_parts(run)}
    changed = {name for name in before if before[name] != after[name]}
    assert changed >= {"curves", "cost"} and not changed & {"pictures", "pairs", "results"}


def _logger(run):
    def log(event, epoch, values):
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps({"event": event, "epoch": epoch, **values}) + "\n")

    return staticmethod(log)


def test_a_run_that_rsync_copies_is_shown_as_far_as_it_is_there(made, tmp_path):
    """File by file in rsync's order, each first under a hidden name; then the whole again, with an epoch more."""
    source, copied, seen_epochs = made / "plan" / "second", tmp_path / "runs" / "copied", []
    library = Library([tmp_path / "runs"])

    def copy(files):
        for file in files:
            target = copied / file.relative_to(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            partly = target.with_name(f".{target.name}.aB3xYz")
            partly.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
            look()
            shutil.copy2(file, partly)
            os.replace(partly, target)
            look()

    def look():
        for key, folder in library.runs().items():
            parts = run_parts(folder)
            assert {"results", "curves"} <= {part.name for part in parts}
            seen_epochs.append(seen(key, folder).status.done)

    files = sorted(path for path in source.rglob("*") if path.is_file())
    copy([file for file in files if file.parent.name != "samples"] + [file for file in files if "0000007" in file.name])
    before = library.version()
    longer = tmp_path / "longer.jsonl"
    lines = (source / "metrics.jsonl").read_text().splitlines()
    last = json.loads([line for line in lines if json.loads(line)["event"] == "rollout"][-1])
    longer.write_text("\n".join([*lines, json.dumps({**last, "epoch": 8})]) + "\n")
    shutil.copy2(longer, copied / ".metrics.jsonl.aB3xYz")
    assert library.version() == before
    os.replace(copied / ".metrics.jsonl.aB3xYz", copied / "metrics.jsonl")
    assert library.version() != before
    look()
    assert seen_epochs[0] in (0, 7) and seen_epochs[-1] == 8


# ---- trade-offs and contact sheets ----


def test_the_front_is_what_nothing_beats():
    places = [(0, 3), (1, 2), (1, 1), (2, 2), (3, 0), (3, 0), (0, 0)]
    assert front(places) == [0, 3, 4, 5]


def test_points_are_means_of_evaluations(made):
    runs = [seen(key, folder) for key, folder in sorted(Library([made]).runs().items())]
    records, keys = [one.record for one in runs], [one.key for one in runs]
    assert scores_of(records) == ["shapes-verifier", "shapes-contrastive", "diversity"]
    plot = trade_off(records, keys, "shapes-verifier", "shapes-contrastive", together(one.decimals for one in runs))
    assert {point.key for point in plot.points} == {*keys}
    assert [(point.run, point.epoch) for point in plot.points] == [
        *(("first", epoch) for epoch in (0, 5, 10)),
        *(("second", epoch) for epoch in (0, 5, 7)),
    ]
    last = runs[0].record.evaluations[-1]
    assert plot.points[2].x == pytest.approx(last.interval("reward").mean)
    assert plot.points[2].is_best and not plot.points[0].is_best
    highest = max(plot.points, key=lambda point: point.y)
    assert highest.top == min(point.top for point in plot.points) and 0 < highest.top < 50
    assert trade_off(records, keys, "nothing", "diversity", {}).points == []


def test_a_contact_sheet_has_a_row_for_each_evaluation_or_run(made):
    runs = [seen(key, folder) for key, folder in sorted(Library([made]).runs().items())]
    alone = contact_sheet(runs[:1])
    assert [row.label for row in alone.rows] == ["before training", "epoch 5", "epoch 10"]
    assert len(alone.prompts) == 4 and all(None not in row.pictures for row in alone.rows)
    both = contact_sheet(runs)
    assert [row.label for row in both.rows] == ["first, before training", "first, epoch 10", "second, epoch 7"]
    assert [row.label for row in contact_sheet(runs[:1], 5).rows] == ["before training", "epoch 5"]
    assert contact_sheet(runs[:1], 6).rows[1:] == []


# ---- wishes ----


@pytest.fixture
def actions(tmp_path):
    made = Actions(tmp_path / "jobs")
    yield made
    made.end()


def test_stopping_is_ctrl_c(root, actions):
    run = root / "plan" / "second"

    def train():
        signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may ignore it
        with one_writer(run, ""):
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                (run / "saved").touch()

    with started(train) as process:
        while not (run / ".lock").is_file() or status_of(read_run(run)).state != "running":
            time.sleep(0.01)
        actions.stop(run)
        os.waitpid(process, 0)
    assert (run / "saved").is_file()
    with pytest.raises(Refusal, match="not running"):
        actions.stop(run)


def test_a_process_that_does_not_hold_the_lock_is_left_alone(root, actions, monkeypatch):
    run = root / "first"
    lock(run)  # of this process, which does not write there: a number that was given again
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("killed"))
    with pytest.raises(Refusal, match="not running"):
        actions.stop(run)
    lock(run, host="far")
    with pytest.raises(Refusal, match="is on far; press Ctrl-C there"):
        actions.stop(run)


def test_jobs_give_way_but_do_not_starve(root, actions, monkeypatch):
    run, commands = root / "first", []
    with_checkpoints(run, 5)
    ended = SimpleNamespace(poll=lambda: 0)
    monkeypatch.setattr(actions_module.subprocess, "Popen", lambda command, **_: commands.append(command) or ended)
    actions.export(run, "epoch-0000005")
    (command,) = commands
    assert command[:3] == [shutil.which("nice"), "-n", "10"]


def test_a_kept_checkpoint_stays(root, actions):
    run = with_checkpoints(root / "first", 1, 2, 3)
    actions.keep(run, "epoch-0000001")
    assert seen("first", run).kept == [("epoch-0000001", True), ("epoch-0000002", False), ("epoch-0000003", False)]
    prune(run / "checkpoints", 1, None, None)
    assert sorted(path.name for path in (run / "checkpoints").glob("epoch-*") if path.is_dir()) == [
        "epoch-0000001",
        "epoch-0000003",
    ]
    for name in ("epoch-0000002", "../../first", "best"):
        with pytest.raises(Refusal, match="not there any more"):
            actions.keep(run, name)


@pytest.fixture
def recorded(monkeypatch, tmp_path):
    """In place of Python a program that notes its arguments; a file `go` lets it end, with what that holds."""
    program, go = tmp_path / "python", tmp_path / "go"
    program.write_text(
        f'#!/bin/sh\nprintf "%s\\n" "$@" > {tmp_path}/arguments\nwhile [ ! -f {go} ]; do sleep 0.02; done\n'
        f"echo said this; exit $(cat {go})\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(actions_module.sys, "executable", str(program))

    def end(code):
        go.write_text(str(code))
        return (tmp_path / "arguments").read_text().splitlines()

    return end


def test_drawing_is_a_command_of_its_own(root, actions, recorded):
    run = with_checkpoints(root / "first", 5)
    wish = Drawing(checkpoint="epoch-0000005", prompt="--evil <b>", seed=3, strengths=[0.0, 0.5, 1.5])
    actions.draw(run, wish)
    job = actions.jobs[run, "draw"]
    assert job.state == "working"
    with pytest.raises(Refusal, match="not done yet"):
        actions.draw(run, wish)
    while not (job.log.parent.parent / "arguments").is_file():
        time.sleep(0.01)
    arguments = recorded(0)
    job.process.wait()
    adapter = str(run / "checkpoints" / "epoch-0000005")
    assert arguments[:6] == ["-m", "fdfo", "generate", "--run", str(run), "--adapter"] and arguments[6] == adapter
    assert arguments[7:11] == ["--strength", "0.5,1.5", "--seed", "3"] and arguments[-2:] == ["--", "--evil <b>"]
    assert job.state == "done" and job.captions == ("before training", "strength 0.5", "strength 1.5")
    assert job.pictures == []  # the program wrote none
    drawn = torch.zeros(1, 1, 3, 4, 4, dtype=torch.uint8)
    write_dataset(job.output, {"base": drawn, "trained at 0.5": drawn, "trained at 1.5": drawn}, ["x"], {})
    assert [path.parent.name[2:] for path in job.pictures] == ["base", "trained-at-0-5", "trained-at-1-5"]
    job.pictures[1].unlink()
    assert job.pictures == []


@pytest.mark.parametrize(("kind", "form"), [("lora", "diffusers"), ("full", "merged")])
def test_exporting_is_a_command_of_its_own(tmp_path, actions, recorded, kind, form):
    options = "{kind: lora, rank: 4, alpha: 4}" if kind == "lora" else "{kind: full}"
    run = make_run(tmp_path / "run", prompts=2, shown=2, epochs=1, overrides=[f"policy.adapter={options}"])
    actions.export(with_checkpoints(run, 1), "epoch-0000001")
    job = actions.jobs[run, "export"]
    while not (tmp_path / "arguments").is_file():
        time.sleep(0.01)
    arguments = recorded(0)
    assert arguments[2:] == [
        *("export", str(run), "--to", form, "--checkpoint", "epoch-0000001"),
        *("--output", str(run / "export" / "epoch-0000001")),
    ]
    assert job.process.wait() == 0


def test_a_command_that_fails_says_why(root, actions, recorded):
    run = with_checkpoints(root / "first", 5)
    actions.export(run, "epoch-0000005")
    job = actions.jobs[run, "export"]
    while not (job.log.parent.parent / "arguments").is_file():
        time.sleep(0.01)
    recorded(1)
    job.process.wait()
    assert (job.state, job.said) == ("failed", "said this")
    actions.export(run, "epoch-0000005")  # again


def test_what_was_started_ends_with_the_studio(root, actions, recorded):
    actions.export(with_checkpoints(root / "first", 5), "epoch-0000005")
    actions.end()
    (job,) = actions.jobs.values()
    assert job.process.returncode == -signal.SIGTERM


@pytest.mark.parametrize("prompt", ["a\0b", "", "x" * 2001])
def test_what_no_command_can_be_given_is_no_wish(prompt):
    with pytest.raises(ValidationError):
        Drawing(checkpoint="epoch-0000005", prompt=prompt)


def test_the_longest_prompt_of_any_script_can_be_sent():
    wish = {"checkpoint": "epoch-0000005", "prompt": "\u753b" * 2000, "seed": 2**31 - 1, "strengths": [1.25] * 8}
    assert len(json.dumps(wish)) <= MOST_BYTES


def test_a_list_of_many_runs_is_shown_in_parts(root, tmp_path, monkeypatch):
    for number in range(3):
        shutil.copytree(root / "first", root / f"copy-{number}")
    monkeypatch.setattr(watching, "MOST_LISTED", 2)
    with Server(watch_app(Library([root]), Actions(tmp_path / "jobs")), listen("127.0.0.1", 0), most_bytes=9) as server:
        pages = [ask(server, "GET", path)[1].decode() for path in ("/", "/?first=2", "/?first=4", "/?first=99")]
    assert [page.count('class="card one-run"') for page in pages] == [2, 2, 1, 0]
    assert "3 older runs" in pages[0] and "newer" not in pages[0]
    assert "1 older run<" in pages[1] and "2 newer runs" in pages[1]
    assert "4 newer runs" in pages[2] and "older run" not in pages[2] and "5 newer runs" in pages[3]


def test_what_a_failed_command_said_may_be_gone(root, actions, recorded):
    run = with_checkpoints(root / "first", 5)
    actions.draw(run, Drawing(checkpoint="epoch-0000005", prompt="x"))
    job = actions.jobs[run, "draw"]
    shutil.rmtree(job.log.parent)
    assert job.said == ""
    job.process.kill()
    job.process.wait()
