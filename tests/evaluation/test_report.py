"""The report: self-contained, honest, escaped, complete for partial runs, the same for the same folder."""

import base64
import hashlib
import io
import json
import math
import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fdfo.config.load import load_config
from fdfo.errors import CheckpointError
from fdfo.evaluation.pictures import Grid
from fdfo.evaluation.report import curves, decimals, gallery, setup, write_report
from fdfo.evaluation.report.page import render
from fdfo.evaluation.report.record import read_run
from fdfo.evaluation.report.results import Change, Verdict, verdict
from fdfo.evaluation.statistics import Interval
from fdfo.training.folder import RunFolder
from tests.evaluation.fabricated import make_run
from tests.evaluation.parsed import Page, words

NASTY = "<script>alert(1)</script> \"double\" 'single' {{ 7*7 }} {% raw %} &amp; ${x}\nnew line </figure>"
LONG = "word " * 2000


def scores_of(run, epoch, name):
    """Mean of every prompt, read from the file without the code under test."""
    content = json.loads((run / "evaluations" / f"epoch-{epoch:07d}.json").read_text())
    values = [math.nan if value is None else value for value in content["scores"][name]]
    return np.array(values).reshape(-1, content["images_per_prompt"]).mean(1)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "00003-fdfo-shapes")


@pytest.fixture(scope="module")
def page(run):
    return Page(write_report([run]))


# ---- one file ----


def test_the_report_goes_into_the_run_folder_and_needs_nothing_else(run, page):
    assert (run / "report.html").is_file()
    for element in page.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            value = element.get(name) or ""
            assert value.startswith(("data:image/", "#")) or not value, f"{element['tag']} loads {value[:80]}"
        assert element["tag"] not in ("link", "iframe", "object", "embed", "base")
    style = page.find("style")[0]["text"] + " ".join(element.get("style") or "" for element in page.elements)
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"https?://", page.source)


def test_the_browser_is_told_to_load_nothing_and_to_run_only_this_script(page):
    policy = page.find("meta", http_equiv="Content-Security-Policy")[0]["content"]
    assert "default-src 'none'" in policy
    scripts = [element for element in page.find("script") if element.get("type") != "application/json"]
    (script,) = scripts
    digest = base64.b64encode(hashlib.sha256(script["text"].encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    handlers = [name for element in page.elements for name in element if name.startswith("on")]
    assert not handlers


@pytest.mark.slow
def test_the_same_folder_gives_the_same_bytes(run, tmp_path):
    code = "import sys; from pathlib import Path; from fdfo.evaluation.report import write_report\n"
    code += "write_report([Path(sys.argv[1])], Path(sys.argv[2]))"
    command = [sys.executable, "-c", code, str(run), str(tmp_path / "there.html")]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONHASHSEED": "1"})  # the order of sets depends on it
    here = write_report([run], tmp_path / "here.html")
    assert here.read_bytes() == (tmp_path / "there.html").read_bytes()


def test_every_picture_and_control_has_a_name(page):
    assert all(image.get("alt") for image in page.find("img"))
    for control in page.find("input") + page.find("select"):
        is_target = any("id" in control and label.get("for") == control["id"] for label in page.find("label"))
        assert control.get("aria-label") or control["in_label"] or is_target
    for element in page.elements:
        if element.get("role") == "img" and element.get("class") != "mark":
            assert element.get("aria-label")


# ---- what it says ----


def test_the_headline_is_the_paired_mean(run, page):
    for label, name in (("shapes-verifier", "reward"), ("shapes-contrastive", "shapes-contrastive")):
        difference = scores_of(run, 20, name) - scores_of(run, 0, name)
        rows = [row for row in page.find("tr") if label in row["text"]]
        (shown, low, high) = re.search(r"([+−][\d.]+) \[([+−][\d.]+), ([+−][\d.]+)\]", words(rows[0]["text"])).groups()
        assert f"{label} rose by {shown} [{low}, {high}]" in page.headline
        value, low, high = (float(number.replace("−", "-")) for number in (shown, low, high))
        places = len(shown.partition(".")[2])
        assert value == pytest.approx(difference.mean(), abs=0.51 * 10**-places)
        half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5  # the bootstrap's limit for many prompts
        assert low == pytest.approx(difference.mean() - half, abs=0.2 * half + 10**-places)
        assert high == pytest.approx(difference.mean() + half, abs=0.2 * half + 10**-places)
    exact = [float(element["value"]) for element in page.find("data")]
    assert min(abs(value - difference.mean()) for value in exact) < 1e-12
    assert "in 20 epochs" in page.headline
    assert "unseen shapes-contrastive" in page.headline
    assert "60 held-out prompts with 2 images each" in page.text


def test_the_header_tells_what_differs_between_training_and_evaluations():
    config = load_config("shapes", ["method.steps=8", "eval.steps=8", "policy.guidance=1"]).model_dump(mode="json")
    assert setup._evaluated_otherwise(config) == []
    config["eval"] |= {"policy": "owner/sibling", "resolution": [64, 32], "guidance": 2.5, "steps": 4}
    expected = "owner/sibling, 64 × 32 px, guidance 2.5 (trained with 1), 4 steps (trained with 8)"
    assert setup._evaluated_otherwise(config) == [("Evaluated on", expected)]


def test_the_facts_of_a_page_tell_it(tmp_path):
    page = Page(
        write_report([make_run(tmp_path / "run", overrides=["method.steps=8", "eval.steps=4"], evaluate=False)])
    )
    assert "Evaluated on 4 steps (trained with 8)" in words(page.text)
    assert f"Held-out prompts shapes-validation, at most {load_config('shapes').eval.prompts}" in words(page.text)


def test_the_facts_count_what_was_really_held_out(tmp_path):
    run = make_run(tmp_path / "run", prompts=3, done=0)
    RunFolder(run).tell_prompts("15 prompts read: 12 to train on, 3 held out")
    text = words(Page(write_report([run])).text)
    assert "Held-out prompts shapes-validation, 3 " in text
    assert "Prompts 15 prompts read: 12 to train on, 3 held out" in text


@pytest.mark.parametrize(
    ("gain", "unseen_gain", "says"),
    [
        (0.0, -0.3, ("shapes-verifier shows no clear change", "shapes-contrastive fell by −")),
        (-0.3, 0.3, ("shapes-verifier fell by −", "shapes-contrastive rose by +")),
    ],
)
def test_the_headline_is_honest(tmp_path, gain, unseen_gain, says):
    page = Page(write_report([make_run(tmp_path / "run", gain=gain, unseen_gain=unseen_gain)]))
    assert all(part in page.headline for part in says)


def test_every_score_that_fell_stands_in_the_headline(tmp_path):
    run = make_run(tmp_path / "run", drop=0.5)
    for path in (run / "evaluations").glob("*.json"):
        content = json.loads(path.read_text())
        rise = content["epoch"] / 20
        for number in range(6):  # more than the headline names in any case; the last one falls
            content["scores"][f"extra-{number}"] = [
                value + rise * (-0.4 if number == 5 else 0.4) for value in content["scores"]["shapes-contrastive"]
            ]
        path.write_text(json.dumps(content))
    page = Page(write_report([run]))
    assert words(page.find("p", class_="verdict")[0]["text"]) == "▲▼ Better, at a price"
    assert "extra-5 fell by −" in page.headline
    assert "extra-4" not in page.headline
    assert re.search(r"diversity fell by −[\d.]+ \[−[\d.]+, −[\d.]+\]\.$", page.headline)
    fallen = [words(figure["text"]) for figure in page.find("strong", class_="fell")]
    assert len(fallen) == 2 and all(figure.startswith("−") for figure in fallen)


@pytest.mark.parametrize(
    ("found", "tone", "says"),
    [
        ({"trained": "rose", "unseen": "rose", "diversity": "unclear"}, "better", "Better"),
        ({"trained": "rose", "unseen": "unclear"}, "better", "Better by the trained score alone"),
        ({"trained": "rose"}, "better", "Better"),
        ({"trained": "rose", "unseen": "rose", "diversity": "fell"}, "mixed", "Better, at a price"),
        ({"trained": "rose", "unseen": "fell"}, "mixed", "Better, at a price"),
        ({"trained": "unclear", "unseen": "fell"}, "mixed", "No clear gain, and a loss"),
        ({"trained": "unclear", "unseen": "rose"}, "unclear", "No clear change"),
        ({"trained": "fell", "unseen": "rose"}, "worse", "Worse"),
        ({"trained": "unknown"}, "unclear", "Not comparable"),
        ({"unseen": "fell"}, "unclear", "The trained score is not measured here; unseen scores fell"),
        (
            {"unseen": "rose", "diversity": "fell"},
            "unclear",
            "The trained score is not measured here; unseen scores rose",
        ),
        ({"score": "rose", "diversity": "unclear"}, "better", "Better"),
        ({"score": "rose", "diversity": "fell"}, "mixed", "Better, at a price"),
        ({"score": "unclear", "diversity": "fell"}, "worse", "Worse"),
        ({"score": "unclear"}, "unclear", "No clear change"),
    ],
)
def test_the_verdict_weighs_what_was_trained_on_and_what_fell(found, tone, says):
    gains = {
        "rose": Interval(1, 0.5, 1.5, 9),
        "fell": Interval(-1, -1.5, -0.5, 9),
        "unclear": Interval(0.1, -0.5, 0.7, 9),
        "unknown": Interval(0.1, 0.1, 0.1, 1),
    }
    changes = [Change(role, role, 0, 0, gains[which], 0.5, 9, 2) for role, which in found.items()]
    assert verdict(changes) == Verdict(tone, says)


def test_a_score_has_one_number_of_decimals_on_a_page(run, page):
    names = {"shapes-verifier": "trained", "shapes-contrastive": "unseen"}
    store = json.loads(page.find("script", data_snapshots=True)[0]["text"])
    assert store["decimals"].keys() == names.keys()
    for label, places in store["decimals"].items():
        shown = [words(row["text"]) for row in page.find("tr") if words(row["text"]).startswith(label)]
        assert len(shown) == 1
        tables = [table for table in page.find("table", class_="bars") if words(table["text"]).startswith(label)]
        assert len(tables) == 1
        shown += [re.sub(r"\b\d+ (?=[\d.]+ →)", "", words(tables[0]["text"]))]  # without the number of prompts
        charts = [
            area["aria-label"] for area in page.find("div", role="img") if f"Held-out {label}" in area["aria-label"]
        ]
        assert len(charts) == 2  # one for each band
        shown += charts
        shown += re.findall(rf"{label} (?:rose|fell) by \S+ \[[^\]]*\]", page.headline)
        if label == "shapes-verifier":
            shown += [tile["text"] for tile in page.find("span", data_value=True) + page.find("span", data_change=True)]
            shown += [score["text"] for score in page.find("span", class_="score") if score["text"] != "–"]
        numbers = [number for text in shown for number in re.findall(r"\d+\.\d+", text)]
        assert {len(number.partition(".")[2]) for number in numbers} == {places}


def test_win_rate_and_categories(run, page):
    difference = scores_of(run, 20, "reward") - scores_of(run, 0, "reward")
    assert f"{(difference > 0).mean():.0%} of prompts" in page.text
    content = json.loads((run / "evaluations" / "epoch-0000000.json").read_text())
    counting = np.array([name == "counting" for name in content["categories"]])
    row = next(row for row in page.find("tr") if words(row["text"]).startswith("counting"))
    assert f"counting {counting.sum()}" in words(row["text"])
    exact = [float(element["value"]) for element in page.find("data")]
    assert min(abs(value - difference[counting].mean()) for value in exact) < 1e-12


def test_alarms_are_prominent_or_none(tmp_path, page):
    assert "✓ None." in page.text
    assert not page.find("div", role="alert")
    alarmed = Page(write_report([make_run(tmp_path / "run", unseen_gain=-0.4, drop=0.8)]))
    banners = " ".join(words(banner["text"]) for banner in alarmed.find("div", role="alert"))
    assert "Alarm (over-optimisation): shapes-contrastive fell by" in banners
    assert "Alarm (diversity)" in banners


def test_an_alarm_that_is_over_is_told_but_not_shouted(tmp_path):
    folder = RunFolder(make_run(tmp_path / "run"))
    folder.log("alarm", 10, {"name": "velocity", "message": "the velocity's RMS grew"})
    page = Page(write_report([folder.path]))
    assert not page.find("div", role="alert")
    assert "velocity no longer, at epoch 10" in page.text


def test_costs_are_sums_over_the_run(run, page):
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    seconds = sum(sum(event.get("seconds", {}).values()) for event in events)
    assert any(event["event"] == "evaluation" and event["seconds"] for event in events)
    spent = f"{round(seconds) // 60} min {round(seconds) % 60:02d} s"
    assert spent in page.headline
    assert any(words(figure["text"]).startswith(spent) for figure in page.find("dd"))
    for part in ("3,840", "38,400", "7,680", "1.22 GiB", "192 an epoch"):
        assert part in page.text
    shares = [
        float(re.search(r"flex-grow: ([\d.]+)", element["style"])[1])
        for element in page.find("span", style=True)
        if "flex-grow" in element["style"]
    ]
    assert sum(shares) == pytest.approx(1, abs=1e-3)
    assert "1 failed score of 3,840, 1 group dropped" in page.text


def test_commands_work_from_anywhere_and_can_be_copied(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    page = Page(write_report([make_run(Path("a run"), done=5)]))
    commands = [code["text"] for code in page.find("code") if code["text"].startswith("fdfo ")]
    assert len(commands) == 4
    assert len(page.find("button", data_copy=True)) == 4
    for command in commands:
        paths = [part for part in shlex.split(command)[1:] if "a run" in part]
        assert paths and all(Path(path).is_absolute() and path.startswith(str(tmp_path)) for path in paths)


def test_every_section_has_an_address_that_stands_beside_its_name(page):
    sections = [section["id"] for section in page.find("section")]
    links = [link["href"] for link in page.find("a", class_="anchor")]
    assert links == [f"#{name}" for name in sections] and len(links) == 7
    (contents,) = page.find("nav")
    assert contents["aria-label"]
    inside = [link["href"] for link in page.find("a") if link["href"] not in ("#main",)]
    assert set(inside) == {f"#{name}" for name in sections}


@pytest.mark.parametrize(("kind", "form"), [("lora", "diffusers"), ("full", "merged")])
def test_the_export_that_is_proposed_works_for_what_was_trained(tmp_path, kind, form):
    page = Page(write_report([make_run(tmp_path / "run", done=5, overrides=[f"policy.adapter.kind={kind}"])]))
    (command,) = [element["text"] for element in page.find("code") if element["text"].startswith("fdfo export")]
    assert command == f"fdfo export {tmp_path / 'run'} --to {form}"


# ---- prompts are data ----


def test_prompts_are_escaped_and_cut(tmp_path):
    run = make_run(tmp_path / "run", texts=[NASTY, LONG], prompts=30)
    page = Page(write_report([run]))
    captions = page.find("span", class_="caption")
    nasty, long = captions[:2]
    assert (nasty["title"], nasty["text"]) == (NASTY, words(NASTY))
    assert long["title"] == LONG
    assert len(long["text"]) <= 140 and long["text"].endswith("…")
    assert all(words(caption["title"]).startswith(caption["text"][:-1]) for caption in captions)
    assert len(page.find("div", class_="frame")) == 24
    assert len([e for e in page.find("script") if e.get("type") != "application/json"]) == 1
    assert "alert(1)" not in page.find("script")[-1]["text"]
    assert "{{ 7*7 }}" in page.text


def test_names_and_settings_are_escaped(tmp_path):
    run = make_run(tmp_path / "<b>run & 'co'", done=5, overrides=["prompts.eval_name=shapes-test"])
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("shapes-train", "<img src=x onerror=alert(1)>"))
    page = Page(write_report([run]))
    assert page.find("h1")[0]["text"] == "<b>run & 'co'"
    assert "<img src=x onerror=alert(1)>, 96 an epoch" in page.text
    assert not [image for image in page.find("img") if image.get("src") == "x"]


# ---- partial runs ----


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"done": 0}, "the first comparison comes with the next evaluation"),
        ({"done": 0, "evaluate": False}, "nothing has been judged on held-out prompts yet"),
        ({"done": 7, "evaluate": False}, "No pictures yet"),
        ({"done": 5, "pairs": False}, "No pictures of training pairs:"),
        ({"done": 5, "categories": False}, "in 5 of 20 epochs"),
        ({"done": 5, "images_per_prompt": 1}, "60 held-out prompts,"),
        ({"done": 5, "prompts": 1}, "cannot be compared"),
        ({"done": 5, "failed": (0, 1, 2)}, "without 2 prompts that failed"),
        ({"done": 5, "failed": tuple(range(120))}, "shapes-verifier cannot be compared"),
        ({"done": 5, "group_size": 4}, "Images of one prompt that were compared"),
        ({"done": 5, "shown": 3}, "in 5 of 20 epochs"),
        ({"done": 20, "every": 50}, "in 20 epochs"),
    ],
    ids=lambda value: ", ".join(f"{k}={v!r:.12}" for k, v in value.items()) if isinstance(value, dict) else "",
)
def test_whatever_is_there_is_shown(tmp_path, settings, says):
    page = Page(write_report([make_run(tmp_path / "run", **settings)]))
    assert says in page.text
    for section in (
        "Before and after",
        "Curves",
        "Held-out results",
        "What it learned from",
        "Alarms",
        "Cost",
        "Setup",
    ):
        assert section in page.text
    assert "nan" not in re.findall(r"\b\w+\b", page.text.lower())


def test_a_torn_log_line_and_a_missing_environment_are_no_obstacle(tmp_path):
    run = make_run(tmp_path / "run", done=5)
    (run / "environment.json").unlink()
    with open(run / "metrics.jsonl", "a") as file:
        file.write('{"event": "rollout", "epo')
    assert "rose by" in Page(write_report([run])).headline


def test_a_report_does_not_need_the_scores_that_the_run_used(tmp_path):
    run = make_run(tmp_path / "run", done=5)
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("name: shapes-verifier", "name: gone.py:score"))
    for path in (run / "evaluations").glob("*.json"):
        path.write_text(path.read_text().replace("shapes-verifier", "gone.py:score"))
    page = Page(write_report([run]))
    assert "gone.py:score" in page.headline


def test_a_weighted_sum_shows_its_parts_as_parts(tmp_path):
    rewards = "reward=[{name: shapes-verifier, weight: 0.5}, {name: jpeg, weight: 2}]"
    page = Page(write_report([make_run(tmp_path / "run", done=5, overrides=[rewards])]))
    assert "0.5 × shapes-verifier + 2 × jpeg" in page.text
    assert "Held-out 0.5 × shapes-verifier + 2 × jpeg rose by" in page.headline
    assert page.find("span", class_="part")


@pytest.mark.parametrize(
    ("reward", "measured", "sentence"),
    [
        (
            "{name: human}, {name: shapes-verifier, weight: 0.5}",
            {"reward", "shapes-verifier", "shapes-contrastive"},
            "Held-out 0.5 × shapes-verifier rose by",
        ),
        ("{name: human}", {"shapes-contrastive"}, "unseen shapes-contrastive rose by"),
        ("{name: human}", set(), "no score speaks for held-out prompts: name one or more in eval.rewards"),
    ],
)
def test_what_people_chose_is_not_told_of_prompts_that_nobody_was_asked_about(tmp_path, reward, measured, sentence):
    folder = make_run(tmp_path / "run", done=5, overrides=[f"reward=[{reward}]"], drop=0.0)
    for path in (folder / "evaluations").glob("*.json"):
        content = json.loads(path.read_text())
        content["scores"] = {name: values for name, values in content["scores"].items() if name in measured}
        path.write_text(json.dumps(content))
    page = Page(write_report([folder]))
    assert sentence in page.text
    assert "human" not in "".join(words(one["text"]) for one in page.find("p", class_="headline"))
    assert ("Trained in 5 of 20 epochs" in page.text) == ("reward" not in measured)


def test_scores_go_by_their_labels(tmp_path):
    labelled = "reward=[{name: jpeg, label: shapes-verifier, weight: 0.5}, {name: jpeg, label: shapes-verifier}]"
    record = read_run(make_run(tmp_path / "run", done=5, overrides=[labelled]))
    assert record.formula == "0.5 × shapes-verifier + 1 × shapes-verifier#2"
    roles = {score.key: score.role for score in record.scores}
    parts = {"shapes-verifier": "part", "shapes-verifier#2": "part"}
    assert roles == {"reward": "trained", **parts, "shapes-contrastive": "unseen"}
    assert read_run(make_run(tmp_path / "paper", overrides=["reward=[combined]"])).formula == (
        "1 × pickscore + 0.1 × vlm-alignment"
    )


def test_pictures_of_an_abandoned_epoch_are_left_out(tmp_path):
    run = make_run(tmp_path / "run", done=5)
    for kind in ("epoch", "pairs"):
        for suffix in (".png", ".json"):
            abandoned = run / "samples" / f"{kind}-0000015{suffix}"
            abandoned.write_bytes((run / "samples" / f"{kind}-0000005{suffix}").read_bytes())
    page = Page(write_report([run]))
    assert "epoch 15" not in page.source
    assert len(page.find("div", data_group_epoch=True)) == 1


def test_a_folder_that_is_no_run_and_an_output_that_cannot_be_written_are_errors(run, tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        write_report([tmp_path])
    with pytest.raises(CheckpointError, match="another output"):
        write_report([run], tmp_path / "missing" / "report.html")


# ---- pictures ----


def test_the_better_sample_is_marked_in_words(tmp_path):
    run = make_run(tmp_path / "run", done=5)
    page = Page(write_report([run]))
    scores = json.loads((run / "samples" / "pairs-0000005.json").read_text())["scores"]
    groups = page.find("figure", class_="group")
    assert len(groups) == len(scores)
    for group, own in zip(groups, scores, strict=True):
        if None in own:
            assert "not used: a score failed" in words(group["text"])
        elif own[0] == own[1]:
            assert "a tie" in words(group["text"]) and "better" not in group["text"]
        else:
            first, second = words(group["text"]).split(" ")[:2]
            assert group["text"].count("better") == 1
            assert float(first) == pytest.approx(own[0], abs=0.006)
            assert (second == "better") == (own[0] > own[1])
            difference = float(re.search(r"difference (?:below )?([\d.]+)", words(group["text"]))[1])
            assert difference == pytest.approx(abs(own[0] - own[1]), abs=0.0051)


def test_tile_scores_are_those_of_the_first_image_of_the_prompt(run, page):
    grid = json.loads((run / "samples" / "epoch-0000020.json").read_text())
    content = json.loads((run / "evaluations" / "epoch-0000020.json").read_text())
    values = [element["text"] for element in page.find("span", data_value="right")]
    for title, value in zip(grid["titles"], values, strict=True):
        first_images = [
            content["scores"]["reward"][2 * i] for i, text in enumerate(content["prompts"]) if text == title
        ]
        assert min(abs(float(value.replace("−", "-")) - score) for score in first_images) < 0.0051


def test_a_picture_says_whether_it_got_better_or_worse(tmp_path):
    """The change under a tile is that of the numbers beside it, and the sum is told."""
    page = Page(write_report([make_run(tmp_path / "run", gain=0.02)]))
    number = {"−": -1, "+": 1}
    outcomes = []
    for left, right, change in zip(
        page.find("span", data_value="left"),
        page.find("span", data_value="right"),
        page.find("span", data_change=True),
        strict=True,
    ):
        before, after = (float(side["text"].replace("−", "-")) for side in (left, right))
        found = number.get(change["text"][0], 0) * float(change["text"].lstrip("+−"))
        assert found == pytest.approx(after - before, abs=1e-9)
        outcomes.append("better" if found > 0 else "worse" if found < 0 else "the same")
        assert change["data-outcome"] == outcomes[-1]
    assert {"better", "worse"} <= set(outcomes)
    counted = [f"{outcomes.count(name)} {name}" for name in ("better", "worse", "the same")]
    assert f"By shapes-verifier: {counted[0]}, {counted[1]} and {counted[2]}." in page.text


def test_what_is_shown_first_is_there_in_full_size_and_other_epochs_smaller(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", done=10, side=512, shown=2)
    page = Page(write_report([run]))
    pictures = page.find("img", class_="left") + page.find("img", class_="right")
    assert {size_of(picture["src"]) for picture in pictures} == {(512, 512)}
    assert {size_of(image["src"]) for image in page.find("img") if "sample" in image["alt"]} == {(512, 512), (256, 256)}
    stored = json.loads(page.find("script", data_snapshots=True)[0]["text"])["snapshots"]
    assert [[size_of(tile) for tile in one["tiles"]] for one in stored] == [[], [(256, 256)] * 2, []]
    assert "To keep the file small" not in page.text
    monkeypatch.setattr(gallery, "FULL_PIXELS", 4 * 384**2)
    page = Page(write_report([run]))
    assert {size_of(image["src"]) for image in page.find("img", class_="left")} == {(384, 384)}
    assert "stored with 384 × 384 of 512 × 512 pixels" in page.text


def size_of(uri):
    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).size


def test_whole_pictures_stand_side_by_side_without_a_script(run, page):
    (shown,) = page.find("div", data_gallery=True)
    assert "beside" in shown["class"].split()
    assert [choice["value"] for choice in page.find("input", name="view") if "checked" in choice] == ["beside"]
    sides = [image["class"] for image in page.find("img") if image.get("class")]
    titles = json.loads((run / "samples" / "epoch-0000020.json").read_text())["titles"]
    assert sides == ["left", "right"] * len(titles)
    values = [words(element["text"]) for element in page.find("span", class_="values")]
    assert all(re.fullmatch(r"before −?[\d.]+ after −?[\d.]+ [+−]?[\d.]+", value) for value in values)
    assert len(values) == len(titles)


def test_a_single_picture_takes_the_whole_place(tmp_path):
    page = Page(write_report([make_run(tmp_path / "run", done=0)]))
    assert "beside" not in page.find("div", data_gallery=True)[0]["class"]
    assert {image["class"] for image in page.find("img") if image.get("class")} == {"right"}


def test_large_tiles_are_scaled_down_and_small_ones_are_exact():
    rng = np.random.default_rng(0)
    small, large = (Image.fromarray(rng.integers(0, 256, (n, n, 3), dtype=np.uint8)) for n in (32, 512))
    encoded = gallery.data_uri(small, 256)
    decoded = Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2])))
    assert (np.asarray(decoded) == np.asarray(small)).all()
    encoded = gallery.data_uri(large, 256)
    assert Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2]))).size == (256, 256)
    assert len(encoded) < 100_000  # of pure noise; photographs take a fifth


def test_the_file_stays_small(run, page, tmp_path, monkeypatch):
    assert (run / "report.html").stat().st_size < 500_000
    small, large = (Grid(0, 8, (n, n), ["a"] * 24) for n in (32, 512))
    assert gallery.room_for(small, 24, gallery.MAX_PIXELS, gallery.MAX_EPOCHS) == gallery.MAX_EPOCHS
    assert gallery.room_for(large, 24, gallery.MAX_PIXELS, gallery.MAX_EPOCHS) == 8
    monkeypatch.setattr(gallery, "MAX_PIXELS", 2 * 24 * 32 * 32)
    narrow = Page(write_report([run], tmp_path / "narrow.html"))
    labels = [
        [one["label"] for one in json.loads(of.find("script", data_snapshots=True)[0]["text"])["snapshots"]]
        for of in (page, narrow)
    ]
    assert len(labels[0]) == 5
    assert labels[0][0] == labels[1][0] == "epoch 0 (before training)"
    assert "latest" in labels[0][-1] and labels[1][-1] == labels[0][-1]
    assert len(labels[1]) <= 3  # one more for the best
    assert "left out to keep the file small" in narrow.text


# ---- curves ----


def test_the_band_of_a_held_out_curve_is_that_of_its_paired_change(run):
    record = read_run(run)
    found = curves.curves([record], decimals.of_runs([record]))
    assert found.bands == ["paired", "level"]
    drawn = {chart.band: chart for chart in found.primary if chart.title == "Held-out shapes-verifier"}
    difference = scores_of(run, 20, "reward") - scores_of(run, 0, "reward")
    half = 1.96 * difference.std(ddof=1) / len(difference) ** 0.5  # the bootstrap's limit for many prompts
    text = drawn["paired"].lines[0].last[2].replace("−", "-")
    level, gain, low, high = map(float, re.findall(r"[+-]?[\d.]+", text))
    assert level == pytest.approx(scores_of(run, 20, "reward").mean(), abs=0.0051)
    assert gain == pytest.approx(difference.mean(), abs=0.0051)
    assert (low, high) == pytest.approx((difference.mean() - half, difference.mean() + half), abs=0.2 * half + 0.005)
    widths = {band: _widths(chart) for band, chart in drawn.items()}
    assert widths["paired"][0] == 0 and widths["level"][0] > 0
    start = scores_of(run, 0, "reward")
    assert widths["level"][0] == pytest.approx(2 * 1.96 * start.std(ddof=1) / len(start) ** 0.5, rel=0.2)
    assert widths["paired"][-1] == pytest.approx(2 * half, rel=0.2)


def _widths(chart):
    """Height of a chart's band at every point, in the unit of its values."""
    (low, first), (high, second) = [(float(label.replace("−", "-")), y) for y, label in chart.y_ticks[:2]]
    corners = [tuple(map(float, mark)) for mark in re.findall(r"([\d.-]+) ([\d.-]+)", chart.lines[0].band)]
    count = len(corners) // 2
    edges = zip(corners[:count], reversed(corners[count:]), strict=True)
    return [(below - above) * (high - low) / (first - second) for (_, above), (_, below) in edges]


def test_one_band_is_shown_at_a_time_and_none_can_be_chosen_before_there_is_a_change(page, tmp_path):
    bands = [(chart["data-band"], "hidden" in chart) for chart in page.find("figure", data_band=True)]
    assert set(bands) == {("paired", False), ("level", True)}
    assert [choice["value"] for choice in page.find("input", name="band")] == ["paired", "level"]
    fresh = Page(write_report([make_run(tmp_path / "run", done=0)]))
    assert {(chart["data-band"], "hidden" in chart) for chart in fresh.find("figure", data_band=True)} == {
        ("level", False)
    }
    assert not fresh.find("input", name="band")


# ---- several runs ----


def test_several_runs_side_by_side(run, tmp_path):
    other = make_run(tmp_path / "slower", gain=0.1, overrides=["optim.lr=3e-5"])
    output = write_report([run, other], tmp_path / "both.html")
    page = Page(output)
    assert output == tmp_path / "both.html"
    assert "00003-fdfo-shapes" in page.text and "slower" in page.text
    assert re.search(r"optim\.lr\s*0\.0002\s*3e-05", page.text)
    exact = [float(element["value"]) for element in page.find("data")]
    between = scores_of(other, 20, "reward") - scores_of(run, 20, "reward")
    assert min(abs(value - between.mean()) for value in exact) < 1e-12
    assert [part.get("data-axis") for part in page.find("div", data_axis=True)] == ["epoch", "images", "time"]
    assert len(page.find("p", class_="headline")) == 2


def test_differing_scores_are_named_and_have_charts_of_their_own(run, tmp_path):
    mixed = ["reward=[shapes-verifier, {name: jpeg, weight: 0.1, standardize: true}]", "eval.rewards=[]"]
    page = Page(write_report([run, make_run(tmp_path / "mixed", overrides=mixed)], tmp_path / "both.html"))
    formula = "1 × shapes-verifier + 0.1 × jpeg"
    rows = {words(row["text"]) for row in page.find("tr")}
    assert f"rewardshapes-verifier{formula}" in rows
    assert not [row for row in rows if "standardize" in row]  # of a score that only one run has
    assert not [row for row in rows if "{" in row]
    charts = [words(title["text"]) for title in page.find("h3") if title["text"].startswith("Training reward")]
    assert charts == ["Training reward: shapes-verifier", f"Training reward: {formula}"] * 3  # axes


def test_options_of_a_score_that_both_runs_have_are_compared(run, tmp_path):
    other = make_run(tmp_path / "other", overrides=["reward=[{name: shapes-verifier, standardize: true}]"])
    page = Page(write_report([run, other], tmp_path / "both.html"))
    assert "reward[shapes-verifier].standardizefalsetrue" in {words(row["text"]) for row in page.find("tr")}


def test_every_cell_of_a_comparison_names_its_run_where_the_table_is_stacked(run, tmp_path):
    other = make_run(tmp_path / "other", done=5, overrides=["optim.lr=3e-5"])
    page = Page(write_report([run, other], tmp_path / "both.html"))
    assert len(page.find("table", class_="stacked")) == 2
    names = [cell.get("data-label") for cell in page.find("td")]
    assert names and names == [run.name, "other"] * (len(names) // 2)


def test_a_score_is_compared_with_itself_where_one_run_trains_on_it_and_another_does_not(run, tmp_path):
    swapped = ["reward=[shapes-contrastive]", "eval.rewards=[shapes-verifier]"]
    other = make_run(tmp_path / "swapped", overrides=swapped)
    for path in (other / "evaluations").glob("*.json"):
        content = json.loads(path.read_text())
        scores = content["scores"]
        scores["shapes-verifier"], scores["reward"] = scores["reward"], scores["shapes-contrastive"]
        path.write_text(json.dumps(content))
    page = Page(write_report([run, other], tmp_path / "both.html"))
    rows = [row for row in page.find("tr") if words(row["text"]).startswith("shapes-verifier")]
    assert "trained" in rows[0]["text"] and "unseen" in rows[0]["text"]
    between = scores_of(other, 20, "shapes-verifier") - scores_of(run, 20, "reward")
    assert min(abs(float(element["value"]) - between.mean()) for element in page.find("data")) < 1e-12
    assert re.search(r"Held-out shapes-verifier\s*trained or unseen", page.text)
    assert "Held-out reward" not in page.text


def test_runs_on_other_prompts_are_not_compared_pair_by_pair(run, tmp_path):
    other = make_run(tmp_path / "other", prompts=36)
    page = Page(write_report([run, other], tmp_path / "both.html"))
    assert "to the first run:" not in page.text
    assert "Without other, judged on other prompts." in page.text
    first, last = (page.find("img", class_=side)[0]["alt"] for side in ("left", "right"))
    assert "epoch 0" in first and "epoch 20" in last


def test_settings_that_only_some_runs_have_come_last_and_folded(run):
    first = read_run(run)
    method = {"name": "ddpo", "steps": 4, "noise_level": 1.0}
    second = replace(first, config={**first.config, "method": method})
    found = {one.key: one for one in setup.differences([first, second])}
    assert found["method.name"].values == ["fdfo", "ddpo"] and not found["method.name"].is_of_some
    assert found["method.noise_level"].values == ["–", "1.0"] and found["method.noise_level"].is_of_some
    html = render([first, second])
    shared, folded = html[html.index('id="differences"') :].split("<details", 1)
    assert "method.name" in shared and "method.noise_level" not in shared
    assert f"{sum(one.is_of_some for one in found.values())} settings that only some of them have" in folded


def test_figures_come_before_settings(run, tmp_path):
    other = make_run(tmp_path / "other", done=5, overrides=["optim.lr=3e-5"])
    page = Page(write_report([run, other], tmp_path / "both.html"))
    names = [section["id"] for section in page.find("section")]
    assert names == ["curves", "pictures", "results", "alarms", "cost", "differences", "setup"]


def test_runs_of_one_name_are_told_apart_and_the_default_is_the_current_folder(run, tmp_path, monkeypatch):
    twin = make_run(tmp_path / run.name, done=0)
    monkeypatch.chdir(tmp_path)
    assert write_report([run, twin]).resolve() == tmp_path / "report.html"
    assert f"{run.name} (2)" in Page(tmp_path / "report.html").text
