"""A plan is conducted: tuned, chosen, run, interrupted and continued, to the same results and page."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import yaml

from fdfo.comparison.cells import Run
from fdfo.comparison.conduct import Conduct
from fdfo.comparison.page import html, markdown, svg
from fdfo.comparison.results import Results
from fdfo.comparison.workers import Job, Places, TimeOver, run_all
from fdfo.errors import ConfigError
from fdfo.training.interrupt import Interrupted, StopRequest
from tests.comparison.plans import SCORE, TINY, plan, write
from tests.evaluation.fabricated import make_run
from tests.test_cli import fdfo

SWEEP = {"optim.lr": [1e-4, 2e-4]}


class MadeUp:
    """In the place of `run_all`: run folders with made-up curves; higher learning rates are better, up to the best."""

    def __init__(self, stop_after, fails, best):
        self.started, self.stop_after, self.fails, self.best = [], stop_after, fails, best

    def __call__(self, jobs, places, stop, ended):
        for job in jobs:
            if len(self.started) == self.stop_after:
                raise Interrupted(signal.SIGINT)
            self.started.append(job.run)
            config = yaml.safe_load(job.config.read_text())
            if self.fails(job.run):
                ended(job, "it broke (exit code 1)")
                continue
            lr, guided = config["optim"]["lr"], config["policy"]["guidance"]
            gain = 1e3 * lr * (lr <= self.best) + (job.run.cell == "single") * 0.1 + 0.1 * (guided - 1)
            shape = {"prompts": 6, "shown": 2, "pairs": False, "seed": job.run.seed}
            overrides = [f"eval.at={config['eval']['at']}"]
            make_run(
                job.folder,
                overrides=overrides,
                epochs=config["train"]["epochs"],
                every=config["eval"]["every"],
                gain=gain,
                **shape,
            )
            ended(job, None)


@pytest.fixture
def conduct(tmp_path, monkeypatch):
    """Conduct the tiny plan with made-up runs in a folder; the results and the runs that were started."""

    def go(name="results", *, stop_after=None, fails=lambda run: False, best=2e-4, **changes):
        made_up = MadeUp(stop_after, fails, best)
        given = plan(tmp_path, **{"sweep": SWEEP, "extensions": 0, **changes})
        monkeypatch.setattr("fdfo.comparison.conduct.run_all", made_up)
        (tmp_path / name).mkdir(exist_ok=True)
        results = Results(tmp_path / name / "tiny.jsonl")
        whole = Conduct(given, results, tmp_path / name / "runs", lambda line: None)
        whole.prepare()
        try:
            whole.go(Places(1), StopRequest())
        except Interrupted:
            assert stop_after is not None
        return given, results, made_up.started

    return go


def pages(given, results):
    """All pages, from the file."""
    found = Results(results.path).ordered
    return html(given, found) + markdown(given, found, "fdfo compare") + svg(given, found)


def test_the_better_setting_is_chosen_and_run_with_every_seed(conduct):
    _, results, started = conduct()
    assert [run.stage for run in started] == ["tuning"] * 12 + ["final"] * 4
    assert [run.seed for run in started[:12]] == [1000] * 4 + [1001] * 4 + [1002] * 4
    assert {(run.cell, run.setting, run.seed) for run in started[12:]} == {
        (cell, (("optim.lr", 2e-4),), seed) for cell in ("pair", "single") for seed in (0, 1)
    }
    one = results.found[started[12]]
    assert [point.epoch for point in one.curve] == [0, 2, 3]
    assert one.curve[-1].values.keys() >= {"reward", "shapes-contrastive", "diversity", "sharpness"}
    assert one.swept == {"optim.lr": 2e-4}


@pytest.mark.slow
def test_every_line_names_its_four_costs(conduct):
    """By what the folders say: 192 images, 1,920 rows forward and 384 with gradient an epoch, two steps."""
    _, results, started = conduct()
    lines = [json.loads(line) for line in results.path.read_text().splitlines()]
    assert len(lines) == len(started) == 16
    for line in lines:
        end = line["curve"][-1]
        assert [line[name] for name in ("steps", "images", "evaluations", "seconds")] == [
            end[name] for name in ("steps", "images", "evaluations", "seconds")
        ]
        epochs = end["epoch"]
        assert (end["steps"], end["images"]) == (2 * epochs, 192 * epochs)
        assert end["evaluations"] == pytest.approx(epochs * (1920 + 2.12 * 384), abs=0.05)
        assert end["seconds"] == pytest.approx(2.5 * epochs, rel=0.2)  # of the processor
    assert all(("reward" in line["curve"][-1]["prompts"]) == (line["stage"] == "final") for line in lines)
    final = next(line for line in lines if line["stage"] == "final")["curve"][1]
    assert sum(final["prompts"]["shapes-contrastive"]) / 6 == pytest.approx(final["values"]["shapes-contrastive"], 1e-3)


@pytest.mark.slow
def test_a_sweep_is_extended_until_the_best_lies_inside(conduct):
    given, results, started = conduct(best=4e-4, extensions=2)
    tried = [run for run in started if run.stage == "tuning" and run.cell == "pair" and run.seed == 1000]
    assert [dict(run.setting)["optim.lr"] for run in tried] == [1e-4, 2e-4, 4e-4, 8e-4]
    assert {dict(run.setting)["optim.lr"] for run in started if run.stage == "final"} == {4e-4}
    assert "| inside |" in markdown(given, results.ordered, "fdfo compare")
    given, results, _ = conduct("other", best=1.0, extensions=1)
    assert "at the edge: optim.lr" in markdown(given, results.ordered, "fdfo compare")


@pytest.mark.slow
def test_the_untrained_model_is_judged_under_guidance(conduct):
    given, results, started = conduct(guidance=[2.0, 4.0])
    first = started[:2]
    assert [(run.stage, run.cell) for run in first] == [("guidance", "guidance-2"), ("guidance", "guidance-4")]
    assert [len(results.found[run].curve) for run in first] == [1, 1]
    assert "| base, guidance 4.0 |" in markdown(given, results.ordered, "fdfo compare")


@pytest.mark.slow
def test_an_interrupted_plan_goes_on_to_the_same_page(conduct):
    whole = conduct("whole")
    for stop_after in (1, 12):  # within tuning, within the final runs
        conduct("parts", stop_after=stop_after)
    parts = conduct("parts")
    assert len(parts[2]) == 3
    assert pages(*whole[:2]) == pages(*parts[:2])
    assert conduct("parts")[2] == []


@pytest.mark.slow
def test_a_cell_that_fails_is_reported_and_stops_no_other(conduct):
    given, results, started = conduct(fails=lambda run: run.cell == "pair")
    assert [(run.stage, run.cell) for run in started[12:]] == [("final", "single")] * 2  # pair has nothing to choose
    page = html(given, results.ordered)
    assert "tuning pair on shapes-contrastive with optim.lr=0.0001, seed 1000" in page
    assert "it broke (exit code 1)" in page
    _, results, started = conduct()  # mended: only what failed is done
    assert {run.cell for run in started} == {"pair"}
    assert all(one.is_sound for one in results.ordered)


@pytest.mark.slow
def test_a_choice_stands_once_there_are_final_results(conduct):
    lost = Run("tuning", SCORE, "pair", (("optim.lr", 2e-4),), 1000)
    _, results, _ = conduct(fails=lambda run: run == lost)
    settings = {run.setting for run in results.found if run.stage == "final" and run.cell == "pair"}
    assert settings == {(("optim.lr", 1e-4),)}
    given, results, started = conduct()  # mended, but too late
    assert started == []
    assert str(lost) in markdown(given, results.ordered, "fdfo compare")


@pytest.mark.slow
def test_more_seeds_and_claims_go_on_and_other_changes_are_refused(conduct):
    conduct()
    assert [run.seed for run in conduct(seeds=3, claims=[])[2]] == [2, 2]
    for changes, fragment in (
        ({"seeds": [0]}, "final pair on shapes-contrastive, seed 1: has a result and is not in the plan"),
        ({"changes": {**TINY["changes"], "method.steps": 4}, "budget": 300}, "method.steps was 2, and is 4 now"),
        ({"budget": 300}, "train.epochs was 3, and is 6 now"),
        ({"evaluations": 1}, "eval.every was 2, and is 3 now"),
        ({"test": {**TINY["test"], "noise_seed": 7}}, "eval.noise_seed was 2026, and is 7 now"),
        ({"cells": {"pair": {}}, "claims": []}, "single"),
    ):
        with pytest.raises(ConfigError) as caught:
            conduct(**{"seeds": 3, **changes})
        assert fragment in str(caught.value)
        assert "another name or --output" in caught.value.problems[-1]


@pytest.mark.slow
def test_scores_may_be_written_in_another_way(conduct):
    conduct()
    entry = {"name": "shapes-contrastive", "weight": 1.0}
    again = {SCORE: {"reward": [entry], "unseen": [{"name": "shapes-verifier"}]}}
    assert conduct(scores=again)[2] == []
    with pytest.raises(ConfigError, match="reward was"):
        conduct(scores={SCORE: {**again[SCORE], "reward": [{**entry, "weight": 2.0}]}})


# ---- processes ----


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Jobs whose process is a script of ours, given the configuration and the folder."""

    def make(script, count):
        (tmp_path / "job.py").write_text(script)
        monkeypatch.setattr("fdfo.comparison.workers.COMMAND", (sys.executable, str(tmp_path / "job.py")))
        return [Job(Run("final", SCORE, "pair", (), seed), tmp_path / f"{seed}.yaml") for seed in range(count)]

    return make


def test_failures_are_told_and_others_go_on(jobs):
    script = "import sys\nprint('working')\nsys.exit('error: it broke' if sys.argv[2].endswith('1') else 0)"
    ended = {}
    run_all(jobs(script, 3), Places(2), StopRequest(), lambda job, failure: ended.update({job.run.seed: failure}))
    assert ended == {0: None, 1: "it broke (exit code 1)", 2: None}


def test_a_run_has_its_share_of_the_cores(jobs, monkeypatch):
    script = "import os\nprint(sorted(os.sched_getaffinity(0)), os.environ['OMP_NUM_THREADS'])"
    every = sorted(os.sched_getaffinity(0))

    def said(places):
        made = jobs(script, 2)
        run_all(made, places, StopRequest(), lambda job, failure: None)
        return [job.log.read_text().strip() for job in made]

    assert said(Places(2, is_pinned=True)) == [f"[{core}] 1" for core in (every * 2)[:2]]
    assert said(Places(2)) == [f"{every} {max(1, len(every) // 2)}"] * 2


SAVES = (
    "import pathlib, signal, sys, time\n"
    "path = pathlib.Path(sys.argv[2])\n"
    "signal.signal(signal.SIGTERM, lambda *_: (path.with_suffix('.saved').touch(), sys.exit(143)))\n"
    "path.with_suffix('.ready').touch()\n"
    "time.sleep(60)\n"
)
"""A job that says when it is ready, and saves when it is told to stop."""


def test_an_interruption_reaches_all_that_is_under_way(jobs, tmp_path):
    class WhenReady(StopRequest):
        """A stop that is asked for once two jobs are under way."""

        @property
        def signal_number(self):
            return signal.SIGINT if len(list(tmp_path.glob("*.ready"))) == 2 else None

        @signal_number.setter
        def signal_number(self, value):
            pass

    with pytest.raises(Interrupted):
        run_all(jobs(SAVES, 3), Places(2), WhenReady(), lambda job, failure: pytest.fail(f"{job.run}: {failure}"))
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["0.saved", "1.saved"]


def test_when_the_time_is_over_what_is_under_way_is_saved(jobs, tmp_path, monkeypatch):
    made = jobs(SAVES, 3)
    is_ready = property(lambda places: len(list(tmp_path.glob("*.ready"))) == 2)
    monkeypatch.setattr(Places, "is_over", is_ready)
    with pytest.raises(TimeOver):
        run_all(made, Places(2), StopRequest(), lambda job, failure: pytest.fail(f"{job.run}: {failure}"))
    assert sorted(path.name for path in tmp_path.glob("*.saved")) == ["0.saved", "1.saved"]


def test_time_is_over_when_its_clock_says_so():
    assert not Places(1).is_over
    assert not Places(1, until=time.monotonic() + 60).is_over
    assert Places(1, until=time.monotonic()).is_over


@pytest.mark.slow
def test_compare_runs_a_small_plan(tmp_path, monkeypatch, capsys):
    """Real runs of two cells with two seeds, in processes of their own."""
    monkeypatch.chdir(tmp_path)
    code, out, err = fdfo(monkeypatch, capsys, "compare", write(tmp_path))
    assert code == 0, err
    assert "left: 4 final runs; about" in out
    assert "4/4 final single on shapes-contrastive, seed 1" in out
    results = Results(tmp_path / "results" / "data" / "tiny.jsonl").ordered
    assert [(one.cell, one.seed, one.curve[-1].epoch) for one in results] == [
        ("pair", 0, 3), ("pair", 1, 3), ("single", 0, 6), ("single", 1, 6)
    ]  # fmt: skip
    counted = {(one.curve[-1].images, one.curve[-1].forwards, one.curve[-1].trained) for one in results}
    assert counted == {(24, 48, 48)}
    assert len({one.curve[0].values["reward"] for one in results}) == 1  # same base, prompts and noise
    assert len({one.curve[-1].values["reward"] for one in results}) == 4
    assert not list((tmp_path / "runs").rglob("*.safetensors"))
    for one in results:
        assert all(point.raw.keys() == point.values.keys() for point in one.curve)  # shapes-smoke has an average
        assert one.curve[-1].raw["reward"] != one.curve[-1].values["reward"]
        assert one.curve[-1].raw_prompts.keys() == one.curve[-1].prompts.keys()
    page = (tmp_path / "results" / "tiny.html").read_bytes()
    assert fdfo(monkeypatch, capsys, "compare", write(tmp_path), "--page-only")[0] == 0
    assert (tmp_path / "results" / "tiny.html").read_bytes() == page


@pytest.mark.slow
def test_a_killed_comparison_goes_on_where_its_runs_stopped(tmp_path):
    """Also kills the process that started the runs: they save and end, and the next one waits for them."""
    command = [sys.executable, "-m", "fdfo", "compare", write(tmp_path, budget=2500), "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=environment)
    log = tmp_path / "runs/tiny/final" / SCORE / "pair/seed-0.log"
    while not (log.is_file() and "epoch 5/" in log.read_text()):
        time.sleep(0.2)
    process.kill()
    process.wait()
    subprocess.run(command, cwd=tmp_path, env=environment, check=True)
    assert "continuing after epoch" in log.read_text()
    assert len(Results(tmp_path / "results/data/tiny.jsonl").ordered) == 4
