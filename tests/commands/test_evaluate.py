"""`fdfo eval`: what may change between two calls, what must not, and what is told."""

import filecmp
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from fdfo.commands import evaluate
from fdfo.config.load import load_config
from fdfo.config.tree import AdapterConfig
from fdfo.drawing import BATCH
from fdfo.evaluation.summary import BASE
from fdfo.models import load_policy
from fdfo.rewards.weighted import WeightedSum
from tests.evaluation.parsed import Page, words
from tests.test_cli import fdfo
from tests.training.forks import forked

TASK = ("--model", "shapes", "--prompts", "shapes-test", "--count", 5, "--steps", 2, "--output", "judged")


def save_adapter(folder, seed):
    """An adapter of rank 2 with random weights."""
    weights = load_policy("shapes", adapter=AdapterConfig(rank=2)).weights
    rng = torch.Generator().manual_seed(seed)
    folder.mkdir(exist_ok=True)
    weights.save(folder, {name: 0.1 * torch.randn(p.shape, generator=rng) for name, p in weights.named().items()})


@pytest.fixture
def command(monkeypatch, capsys, tmp_path):
    """`fdfo eval` of an adapter, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    save_adapter(tmp_path / "adapter", seed=0)

    def command(*arguments):
        return fdfo(monkeypatch, capsys, "eval", *TASK, "--adapter", "adapter", *arguments)

    return command


def test_scores_are_written_as_in_a_configuration(command, monkeypatch):
    rewards = "[{name: shapes-verifier, strict: true, label: perfect}, jpeg]"
    monkeypatch.setenv("FORCE_COLOR", "1")  # as notebooks do
    code, out, err = command("--rewards", rewards)
    assert (code, err.strip()) == (0, "")  # rich 13 leaves blank lines where its progress stood
    assert "perfect" in out and "jpeg" in out
    facts = Page(Path("judged/report.html")).find("dl", class_="facts")[0]
    assert "Adapter adapter" in words(facts["text"])  # which weights were judged
    code, _, err = command("--rewards", "[{name: jpeg, quallity: 3}]")
    assert code == 2
    assert "--rewards" in err and "did you mean 'quality'?" in err
    code, _, err = command("--rewards", "[jpeg")
    assert code == 2
    assert "--rewards" in err and "cannot be read as a list" in err


def test_an_evaluation_goes_on_with_scores_computed_elsewhere_or_in_other_batches(command):
    assert command("--rewards", "shapes-contrastive")[0] == 0
    for again in (
        "[{name: shapes-contrastive, batch_size: 1, device: cpu}]",
        "[{name: shapes-contrastive, offload: true}]",
    ):
        code, _, err = command("--rewards", again)
        assert code == 0, err
    code, _, err = command("--rewards", "[{name: shapes-contrastive, label: other}]")
    assert code == 2
    assert "which differs in scores" in err


def test_other_weights_or_other_code_of_a_score_are_another_evaluation(command, tmp_path):
    score = tmp_path / "own.py"
    score.write_text("def f(images, prompts, metadata):\n    return images.mean((1, 2, 3))\n")
    assert command("--rewards", "own.py:f")[0] == 0
    score.write_text("def f(images, prompts, metadata):\n    return images.amax((1, 2, 3))\n")
    code, _, err = command("--rewards", "own.py:f")
    assert code == 2
    assert "which differs in code of scores" in err
    score.write_text("def f(images, prompts, metadata):\n    return images.mean((1, 2, 3))\n")
    save_adapter(tmp_path / "adapter", seed=1)
    code, _, err = command("--rewards", "own.py:f")
    assert code == 2
    assert "which differs in weights" in err


def test_failed_scores_are_told(command, tmp_path):
    (tmp_path / "own.py").write_text(
        "def f(images, prompts, metadata):\n    scores = images.mean((1, 2, 3))\n"
        "    scores[0] = float('nan')\n    return scores\n"
    )
    code, out, err = command("--rewards", "own.py:f", "--images", 2)
    assert code == 0, err
    for weights in ("base", "adapter"):
        assert f"own.py:f failed on 1 image of {weights}: its mean is over 4 of 5 prompts" in out
    assert "| own.py:f | base | 4 |" in (tmp_path / "judged" / "summary.md").read_text()


@pytest.mark.slow
def test_scores_take_turns(command, monkeypatch, tmp_path):
    monkeypatch.setitem(BATCH, "cpu", 2)
    assert command("--rewards", "jpeg,shapes-contrastive")[0] == 0
    (tmp_path / "judged").rename(tmp_path / "together")
    seen = []
    components = WeightedSum.components

    def counted(self, images, *rest, **options):
        seen.append(len(images))
        return components(self, images, *rest, **options)

    monkeypatch.setattr(WeightedSum, "components", counted)
    code, _, err = command("--rewards", "jpeg,shapes-contrastive", "--offload")
    assert code == 0, err
    assert seen == [5, 5]  # all images at once, of base and adapter
    tables = [(tmp_path / name / "scores.csv").read_text().splitlines() for name in ("together", "judged")]
    for line, other in zip(*tables, strict=True):
        *texts, jpeg, contrastive = line.rsplit(",", 2)
        *also, same, near = other.rsplit(",", 2)
        assert (texts, jpeg) == (also, same)
        assert contrastive == near or float(contrastive) == pytest.approx(float(near), abs=1e-4)


@pytest.mark.slow
def test_two_processes_give_the_numbers_of_one(command, monkeypatch, tmp_path):
    monkeypatch.setitem(BATCH, "cpu", 2)
    assert command("--rewards", "shapes-verifier,shapes-contrastive")[0] == 0
    (tmp_path / "judged").rename(tmp_path / "alone")
    assert forked(2, lambda rank: command("--rewards", "shapes-verifier,shapes-contrastive")[0] and exit(1)) == [0, 0]
    for name in ("scores.csv", "summary.json", "manifest.json"):
        assert filecmp.cmp(tmp_path / "alone" / name, tmp_path / "judged" / name, shallow=False), name


def test_what_is_damaged_is_measured_again(command, tmp_path, caplog):
    arguments = ("--rewards", "shapes-verifier", "--keep-images")
    assert command(*arguments)[0] == 0
    judged = tmp_path / "judged"
    scores, manifest, rows = ((judged / name).read_bytes() for name in ("scores.csv", "manifest.json", "base.0.jsonl"))
    (judged / "base.0.jsonl").write_bytes(b"null\n" + b"".join(rows.splitlines(keepends=True)[1:]))
    picture = judged / "images" / "adapter" / "00003-0.png"
    picture.write_bytes(picture.read_bytes()[:-20])
    for name in ("shown/base/00001-0 (copy).png", "shown/base/x-0.png", "images/adapter/00003-0 (copy).png"):
        (judged / name).write_bytes(b"")
    shown = judged / "shown" / "adapter" / "00002-0.png"
    shown.write_bytes(b"")
    caplog.clear()
    code, _, err = command(*arguments)
    err += caplog.text
    assert code == 0, err
    assert "base.0.jsonl is damaged (in line 1)" in err and "00003-0.png is damaged" in err
    assert "00002-0.png is damaged" not in err  # drawn again with its batch
    assert (judged / "scores.csv").read_bytes() == scores
    assert (judged / "base.0.jsonl.damaged").read_bytes().startswith(b"null\n")
    shown.write_bytes(b"")
    caplog.clear()
    code, _, err = command(*arguments)
    err += caplog.text
    assert (code, "00002-0.png is damaged" in err) == (0, True), err
    (judged / "manifest.json").write_bytes(manifest[:-30])
    caplog.clear()
    code, _, err = command(*arguments)
    err += caplog.text
    assert code == 0, err
    assert "manifest.json is damaged" in err and "set aside as base.0.jsonl.damaged" in err
    assert (judged / "scores.csv").read_bytes() == scores
    assert (judged / "manifest.json").read_bytes() == manifest


def test_a_score_for_some_prompts_has_rows_for_these_alone(command):
    """Of five prompts of five kinds, one is of the kind; nothing has failed."""
    watched = "{name: shapes-neatness, label: neat, when: {category: %s}}"
    code, out, err = command("--rewards", f"[shapes-verifier, {watched % 'counting'}]")
    assert code == 0, err
    assert "failed" not in out
    rows = [line.split("|")[1:4] for line in Path("judged/summary.md").read_text().splitlines()]
    of_neat = {(name.strip(), prompts.strip()) for name, _, prompts in rows if "neat" in name}
    assert of_neat == {("neat", "1"), ("neat, counting", "1")}
    assert "that failed" not in words(Page(Path("judged/report.html")).find("main")[0]["text"])
    code, _, err = command("--rewards", f"[{watched % 'countng'}]", "--output", "other")
    assert code == 2
    assert "when {category: countng} fits none of the 5 prompts, which have category single" in err


def test_the_page_tells_what_differs_from_training():
    """Of a run that is trained at one size and judged at another, on fewer steps."""
    settings = ["eval.resolution=[64,32]", "method.steps=8", "eval.steps=4", "policy.guidance=1"]
    run = load_config("shapes", settings)
    task, choice = SimpleNamespace(steps=None, prompts=None, seed=0), SimpleNamespace(settings=lambda config: judged)
    judged = run.evaluated_policy
    facts = dict(evaluate._facts(task, {BASE: choice}, run))
    assert facts["Trained on"] == "shapes, 32 × 32 px, guidance 1, 8 steps"
    assert facts["Evaluated on"] == "shapes, 64 × 32 px, guidance 1, 4 steps"
    judged = run.policy
    assert "Trained on" not in dict(evaluate._facts(SimpleNamespace(**vars(task) | {"steps": 8}), {BASE: choice}, run))
