"""Tutorials and how-tos are true: their commands are the command line's, and their pages run from top to bottom."""

import re
import shlex
import tomllib
from importlib.metadata import EntryPoint, EntryPoints
from pathlib import Path

import pytest
import torch
import typer
import yaml
from transformers import ViTConfig, ViTForImageClassification

import fdfo
from fdfo import cli
from fdfo.config.load import load_config, recipe_names
from fdfo.evaluation.runs import read_evaluations
from fdfo.models.families import JOINT_ATTENTION, Family
from fdfo.plugins import entry_points_of, find
from fdfo.shapes import PIPELINE
from tests.test_cli import fdfo as command_line
from tests.training.runs import TINY

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted([*(DOCS / "tutorials").glob("*.md"), *(DOCS / "how-to").glob("*.md")])
NEEDS = "<!-- needs: (?:gpu|hub|a second terminal) -->"
SMALLER = ("train.epochs=1", "eval.every=1", "prompts.pairs_per_epoch=2", "optim.updates_per_epoch=1")


def blocks(page):
    """Language, title and content of every block that is not marked as needing what is not here."""
    text = page.read_text(encoding="utf-8")
    for needs, head, content in re.findall(rf"({NEEDS}\n)?^```(.*?)\n(.*?)^```", text, re.M | re.S):
        language, _, title = head.partition(' title="')
        if not needs:
            yield language, title.rstrip('"'), content


def commands(content):
    """Arguments of each line."""
    return [shlex.split(line, comments=True) for line in content.replace("\\\n", "").splitlines() if line.strip()]


def below(command, name, arguments):
    """The command below that the arguments choose, and the rest of them."""
    return command.resolve_command(command.make_context(name, [], resilient_parsing=True), list(arguments))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_is_one_of_the_command_line(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = typer.main.get_command(cli.app)
    for language, _, content in blocks(page):
        if language == "yaml":
            assert yaml.safe_load(content)
        for program, *arguments in commands(content) if language == "bash" else ():
            assert program == "fdfo", f"{program} is not run by a test: say what it needs"
            name, command, rest = below(root, "fdfo", arguments)
            while hasattr(command, "commands"):
                name, command, rest = below(command, name, rest)
            given = command.make_context(name, rest).params  # raises for what it does not know
            if name == "export" and given["output"]:
                Path(given["output"]).symlink_to(PIPELINE)  # a model that later commands train
            if (
                name == "train"
                and given["arguments"][0] in recipe_names()
                and ".py:" not in " ".join(given["arguments"])
            ):
                load_config(given["arguments"][0], given["arguments"][1:])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pictures are shown, and not closed
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_page_runs_from_top_to_bottom(page, tmp_path, monkeypatch, capsys):
    """With runs made small: what they learn is not told here."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, title, content in blocks(page):
        if title:
            (tmp_path / title).write_text(content)
        elif language == "python":
            exec(content, names)
        for _, *arguments in commands(content) if language == "bash" else ():
            is_run = arguments[0] == "train" and "--dry-run" not in arguments
            if is_run:
                arguments[2:2] = (
                    [*TINY, *SMALLER] if arguments[1] in recipe_names() else ["train.epochs=1", "eval.every=1"]
                )
            code, _, error = command_line(monkeypatch, capsys, *arguments)
            assert code == 0, f"{arguments}: {error}"


@pytest.mark.slow
def test_the_run_of_your_own_learns_what_its_page_says(tmp_path, monkeypatch, capsys):
    """In the page's words: warmth from .01 to about .45, and half the diversity."""
    monkeypatch.chdir(tmp_path)
    for language, title, content in blocks(DOCS / "tutorials" / "your-own.md"):
        if title:
            Path(title).write_text(content)
        for _, *arguments in commands(content) if language == "bash" and not Path("runs").exists() else ():
            if arguments[0] in ("init", "train") and "--dry-run" not in arguments:
                code, _, error = command_line(monkeypatch, capsys, *arguments)
                assert code == 0, error
    first, *_, last = read_evaluations(Path("runs/mine"))
    assert abs(first.interval("warmth.py:warmth").mean - 0.01) < 0.05
    assert 0.3 < last.interval("warmth.py:warmth").mean < 0.6
    assert 0.3 < last.interval("diversity").mean / first.interval("diversity").mean < 0.75


def of_page(page, title):
    """The content of a titled block."""
    return next(content for _, found, content in blocks(DOCS / page) if found == title)


def test_the_score_by_a_model_of_transformers_is_its_log_probability(tmp_path):
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    network = ViTForImageClassification(ViTConfig(**sizes, image_size=8, patch_size=4, num_labels=3)).eval()
    network.save_pretrained(tmp_path / "vit")
    (tmp_path / "classified.py").write_text(of_page("how-to/your-own-parts.md", "classified.py"))
    entry = {"name": f"{tmp_path}/classified.py:Classified", "model": str(tmp_path / "vit"), "kind": 2}
    images = torch.rand(2, 3, 8, 8, requires_grad=True)  # of its own size: nothing is resized
    scores = fdfo.rewards.load(entry)(images, ["a", "b"]).float()
    logits = network(pixel_values=2 * images - 1).logits
    torch.testing.assert_close(scores, logits[:, 2] - logits.logsumexp(1))
    assert torch.autograd.grad(scores.sum(), images)[0].abs().max() > 0


def test_a_family_of_a_package_is_found_by_its_entry_point(tmp_path, monkeypatch):
    page = DOCS / "how-to/your-own-parts.md"
    (tmp_path / "my_families.py").write_text(of_page(page, "my_families.py"))
    monkeypatch.syspath_prepend(tmp_path)
    (told,) = (tomllib.loads(content) for language, _, content in blocks(page) if language == "toml")
    ((group, named),) = told["project"]["entry-points"].items()
    points = EntryPoints(EntryPoint(name, value, group) for name, value in named.items())
    monkeypatch.setattr("fdfo.plugins.entry_points", lambda group: points.select(group=group))
    entry_points_of.cache_clear()
    try:
        assert find("families", "MyPipeline") == Family(JOINT_ATTENTION)
    finally:
        entry_points_of.cache_clear()
