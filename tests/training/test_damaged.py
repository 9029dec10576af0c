"""A run goes on over whatever happened to its folder: what is damaged is named, and nothing of it is used."""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from fdfo.config.load import load_config
from fdfo.errors import CheckpointError
from fdfo.evaluation.report import write_report
from fdfo.evaluation.runs import read_evaluations, read_events
from fdfo.files import file_digest
from fdfo.models.lora_files import ADAPTER_FILE
from fdfo.models.weights import EMA_FILE
from fdfo.training.checkpoint import (
    CARRIED_FILE,
    COMPLETE,
    OPTIMIZER_FILE,
    STATE_FILE,
    Progress,
    checkpoint_files,
    chosen_checkpoint,
    load_latest,
    not_finite,
    save_checkpoint,
)
from fdfo.training.console import Console
from fdfo.training.distributed import this_team
from fdfo.training.folder import RunFolder
from fdfo.training.interrupt import StopRequest
from fdfo.training.setup import build_engine
from fdfo.training.state import put_back, state_of
from tests.training.runs import TINY, adapter, run

SETTINGS = ("eval.every=1", "train.checkpoint_every=1", "train.keep=3", "optim.ema=0.5")
STANDARDIZED = "reward=[{name: shapes-contrastive, standardize: true}]"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of three epochs, and itself when it had two."""
    root = tmp_path_factory.mktemp("whole")
    run(root / "two", "train.epochs=2", *SETTINGS, STANDARDIZED)
    shutil.copytree(root / "two", root / "three")
    run(root / "three", "train.epochs=3", *SETTINGS, STANDARDIZED)
    return root


def same(first, second):
    a, b = adapter(first, 3), adapter(second, 3)
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def cut(path):
    path.write_bytes(path.read_bytes()[:-40])


@pytest.mark.slow
def test_a_damaged_folder_ends_in_the_same_weights(whole, tmp_path, capsys):
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    checkpoints = folder / "checkpoints"
    shutil.copytree(checkpoints / "epoch-0000002", checkpoints / "epoch-0000004.bak")
    (checkpoints / "epoch-foo").mkdir()
    (checkpoints / "latest").write_text("../../../..\n")
    for path in list(checkpoints.glob("epoch-000000?")):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        shutil.move(path, tmp_path / "elsewhere" / path.name)
        path.symlink_to(tmp_path / "elsewhere" / path.name)
    evaluations = folder / "evaluations"
    shutil.copy(evaluations / "epoch-0000001.json", evaluations / "epoch-0000004 (copy).json")
    cut(evaluations / "epoch-0000001.json")
    cut(folder / "samples" / "epoch-0000002.png")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('null\n[1]\n{"event": "rollout", "epoch": 2}\n{"event": "upd')

    run(folder, "train.epochs=3", *SETTINGS, STANDARDIZED, "train.keep=1")  # which also prunes the links

    assert same(folder, whole / "three")
    told = capsys.readouterr().out
    assert "continuing after epoch 2" in told
    assert "epoch-0000001.json is damaged" in told and "set aside as epoch-0000001.json.damaged" in told
    lines = (folder / "metrics.jsonl.damaged").read_text().count("\n")
    assert f"metrics.jsonl is damaged (in lines {lines - 2}, {lines - 1}, {lines})" in told
    assert [past.epoch for past in read_evaluations(folder)] == [0, 2, 3]
    assert [event["epoch"] for event in read_events(folder) if event["event"] == "rollout"] == [1, 2, 3]
    assert "Left out, as damaged:</strong> samples/epoch-0000002.png (" in (folder / "report.html").read_text()
    best = {path.read_text().strip() for path in checkpoints.glob("best")}
    kept = {"latest", "epoch-0000003", "epoch-0000004.bak", "epoch-foo"}
    assert {path.name for path in checkpoints.iterdir()} - {"best", *best} == kept - best
    assert all((tmp_path / "elsewhere" / f"epoch-000000{epoch}" / COMPLETE).is_file() for epoch in (1, 2))


def test_an_evaluation_of_the_weights_of_now_is_computed_again(whole, tmp_path):
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    latest = folder / "evaluations" / "epoch-0000002.json"
    before = latest.read_text()
    latest.write_text(before.replace('"epoch": 2', '"epoch": 7'))
    run(folder, "train.epochs=2", *SETTINGS, STANDARDIZED)
    assert latest.read_text() == before


def test_a_report_leaves_out_what_is_damaged_with_a_note(whole, tmp_path, caplog):
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    (folder / "environment.json").write_text('{"libraries": 3}')
    for path in (folder / "samples").glob("*.json"):
        path.write_text("[]")
    (folder / "evaluations" / "epoch-0000000.json").write_text("{}")
    content = json.loads((folder / "evaluations" / "epoch-0000001.json").read_text())
    content["scores"]["reward"].pop()
    (folder / "evaluations" / "epoch-0000001.json").write_text(json.dumps(content))
    page = write_report([folder], tmp_path / "page.html").read_text()
    _, _, note = page.partition("Left out, as damaged:")
    for damaged in (
        "environment.json (libraries: ",
        "evaluations/epoch-0000000.json (no 'scores'",
        "evaluations/epoch-0000001.json (its lists have different lengths",
        "samples/epoch-0000002.png (",
    ):
        assert damaged.replace("'", "&#39;") in note.partition("</p>")[0], note[:1000]
    write_report([folder, whole / "three"], tmp_path / "both.html")
    for text in ("- a", "policy: {name: shapes}", "\x00"):
        (folder / "config.yaml").write_text(text)
        with pytest.raises(CheckpointError, match=r"is not a run folder: cannot read config\.yaml"):
            write_report([folder])


IN_THE_WAY = (
    "environment.json",
    "metrics.jsonl",
    "report.html",
    "checkpoints/latest",
    "checkpoints/best",
    "samples/epoch-0000000.png",
    "samples/pairs-0000003.json",
)


def test_what_is_no_file_or_folder_is_set_aside_where_one_belongs(tmp_path, caplog):
    config = load_config("shapes-smoke", TINY)
    folder = RunFolder(tmp_path / "run")
    folder.prepare(config)
    folder.begin()
    for name in IN_THE_WAY:
        path = folder.path / name
        path.unlink(missing_ok=True)
        os.mkfifo(path) if name == "report.html" else (path / "more").mkdir(parents=True)
    (folder.path / "checkpoints/latest").rename(folder.path / "latest")
    (folder.path / "checkpoints/latest").symlink_to("nowhere/at/all")
    folder.evaluations.rmdir()
    folder.evaluations.write_text("x")
    folder.prepare(config)
    folder.begin()
    for name in (*IN_THE_WAY, "evaluations"):
        aside = folder.path / f"{name}.damaged"
        assert os.path.lexists(aside), name
        assert f"{folder.path / name} is damaged (not a f" in caplog.text
        assert not os.path.lexists(folder.path / name) or name in ("environment.json", "metrics.jsonl", "evaluations")
    folder.log("rollout", 1, {})
    assert folder.evaluations.is_dir()


# ---- complete.json ----


def sealed(folder, change):
    """The newest checkpoint of a copy of a run after a change, with digests that fit."""
    newest = folder / "checkpoints" / "epoch-0000002"
    change(newest)
    digests = {path.name: file_digest(path) for path in newest.iterdir() if path.name != COMPLETE}
    (newest / COMPLETE).write_text(json.dumps(digests))


def changed_tensors(name: str, change: Callable[[dict[str, torch.Tensor]], object]) -> Callable[[Path], object]:
    def apply(folder):
        tensors = load_file(folder / name)
        change(tensors)
        save_file(tensors, folder / name)

    return apply


def entry(name, value):
    """Change one entry of complete.json; None removes it."""

    def apply(folder):
        content = json.loads((folder / COMPLETE).read_text())
        content |= {name: value}
        (folder / COMPLETE).write_text(json.dumps({key: one for key, one in content.items() if one is not None}))

    return apply


def to_device(folder):
    (folder / ADAPTER_FILE).unlink()
    (folder / ADAPTER_FILE).symlink_to("/dev/zero")


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (entry(EMA_FILE, None), "complete.json was changed"),
        (entry("../../../../../../dev/zero", "0" * 64), "complete.json was changed"),
        (entry("notes.txt", "0" * 64), "complete.json was changed"),
        (entry(EMA_FILE, ["0"]), "ema.safetensors changed"),
        (to_device, "adapter_model.safetensors changed"),
        (lambda folder: (folder / EMA_FILE).unlink(), "ema.safetensors changed"),
        (lambda folder: (folder / COMPLETE).write_text("[]"), "complete.json was changed"),
        (lambda folder: (folder / COMPLETE).write_bytes(b"\xff"), "unreadable"),
    ],
)
def test_complete_json_is_not_trusted(whole, tmp_path, damage, told):
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    damage(folder / "checkpoints" / "epoch-0000002")
    names = checkpoint_files(load_config("shapes-smoke", [*TINY, *SETTINGS, STANDARDIZED]))
    found, complaints = load_latest(folder / "checkpoints", names, lambda path: path.name)
    assert found == "epoch-0000001"
    assert f"epoch-0000002 is not sound ({told}" in complaints[0]
    assert chosen_checkpoint(folder).name == "epoch-0000001"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / STATE_FILE).write_text("[]"), "unreadable: "),
        (lambda folder: (folder / STATE_FILE).write_text('{"epoch": "x"}'), "unreadable: epoch: "),
        (lambda folder: (folder / STATE_FILE).write_text('{"epoch": 7}'), "state.json is of epoch 7"),
        (lambda folder: cut(folder / OPTIMIZER_FILE), "unreadable: "),
        (lambda folder: (folder / EMA_FILE).write_bytes(b""), "unreadable: "),
    ],
)
def test_files_that_fit_their_digests_and_cannot_be_read_are_unsound(whole, tmp_path, change, told):
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    sealed(folder, change)
    assert chosen_checkpoint(folder).name == "epoch-0000001"
    names = checkpoint_files(load_config("shapes-smoke", [*TINY, *SETTINGS, STANDARDIZED]))
    assert told in load_latest(folder / "checkpoints", names, str)[1][0]


def test_the_files_of_a_checkpoint_follow_from_the_configuration():
    def names(*overrides):
        return checkpoint_files(load_config("shapes-smoke", overrides))

    always = {"adapter_model.safetensors", "adapter_config.json", OPTIMIZER_FILE, STATE_FILE}
    assert names("optim.ema=null") == always
    assert names("optim.ema=0.5") == always | {EMA_FILE}
    for carrying in (STANDARDIZED, "method={name: nft}", "method={name: ddpo}"):
        assert names("optim.ema=null", carrying, "optim.updates_per_epoch=1") == always | {CARRIED_FILE}
    assert names("optim.ema=null", "policy.adapter.kind=full") == {
        "transformer.safetensors",
        OPTIMIZER_FILE,
        STATE_FILE,
    }


def test_a_checkpoint_with_weights_that_are_not_finite_is_passed_over(whole, tmp_path, capsys):
    """As such runs were saved before it was looked at."""
    folder = shutil.copytree(whole / "two", tmp_path / "run")
    sealed(folder, changed_tensors(ADAPTER_FILE, lambda tensors: next(iter(tensors.values())).fill_(float("nan"))))
    run(folder, "train.epochs=3", *SETTINGS, STANDARDIZED)
    told = capsys.readouterr().out
    assert "epoch-0000002 is not sound (unreadable: weights/" in told and "is not finite" in told
    assert same(folder, whole / "three")
    assert (folder / "checkpoints" / "unsound-epoch-0000002").is_dir()


@pytest.fixture(scope="module")
def engine(whole):
    """That of the run, which has taken no step, and the state of its second epoch."""
    config = load_config("shapes-smoke", [*TINY, *SETTINGS, STANDARDIZED])
    return build_engine(config, this_team(), StopRequest(), Console(True, 1))


def test_a_state_of_another_run_changes_nothing(engine):
    before = state_of(engine, Progress())
    first, *_ = before.weights
    of_optimizer = {f"{name}/step": torch.tensor(1.0) for name in before.weights}
    missing = dict(list(before.weights.items())[1:])
    more = torch.zeros(3)
    assert before.ema is not None
    for changes, told in (
        ({"weights": missing}, "weights: .* is missing"),
        ({"weights": {**before.weights, "more": more}}, "weights: more is unknown"),
        ({"weights": {**before.weights, first: before.weights[first][:1]}}, "has shape"),
        ({"ema": None}, "average: .* is missing"),
        ({"ema": {**before.ema, first: more}}, "average: .* has shape"),
        ({"carried": {}}, "carried: reward/shapes-contrastive is missing"),
        ({"optimizer": {**of_optimizer, "more/step": more}}, "optimizer: more/step is unknown"),
        ({"optimizer": {f"{first}/step": more}}, "optimizer: some entries are missing"),
        ({"optimizer": {f"{name}/exp_avg": more for name in before.weights}}, "optimizer: .*exp_avg has shape"),
    ):
        moved = {name: value + 1 for name, value in before.weights.items()}
        with pytest.raises(ValueError, match=told):
            put_back(engine, replace(before, **{"weights": moved, **changes}))
        after = state_of(engine, Progress())
        assert all(torch.equal(before.weights[name], after.weights[name]) for name in after.weights)
        assert after.optimizer == {}


def test_a_state_that_is_not_finite_is_not_saved(engine, tmp_path):
    state = state_of(engine, Progress(epoch=1))
    assert not_finite(state) is None
    first, *_ = state.weights
    bad = torch.tensor([0.0, float("inf")])
    assert state.ema is not None
    for changes, told in (
        ({"weights": {**state.weights, first: bad}}, f"weights/{first}"),
        ({"ema": {**state.ema, first: bad}}, f"average/{first}"),
        ({"optimizer": {f"{first}/exp_avg": bad}}, f"optimizer/{first}/exp_avg"),
        ({"carried": {"memory/x": bad, "memory/n": torch.tensor(3)}}, "memory/x"),
    ):
        broken = replace(state, **changes)
        assert not_finite(broken) == told
        with pytest.raises(CheckpointError, match="is not finite; earlier checkpoints are untouched"):
            save_checkpoint(tmp_path, frozenset(), broken, engine.policy.weights)
    assert list(tmp_path.iterdir()) == []
