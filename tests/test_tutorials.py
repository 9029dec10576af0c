"""Tutorials and how-tos are true: their commands are the command line's, and their pages run from top to bottom."""

import re
import shlex
from pathlib import Path

import pytest
import typer
import yaml

from fdfo import cli
from fdfo.config.load import load_config, recipe_names
from tests.test_cli import fdfo
from tests.training.runs import TINY

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted([*(DOCS / "tutorials").glob("*.md"), *(DOCS / "how-to").glob("*.md")])
SMALLER = ("train.epochs=1", "eval.every=1", "prompts.pairs_per_epoch=2", "optim.updates_per_epoch=1")


def blocks(page):
    """Language, title and content of every block that is not marked as needing what is not here."""
    text = page.read_text(encoding="utf-8")
    for needs, head, content in re.findall(r"(<!-- needs: (?:gpu|hub) -->\n)?^```(.*?)\n(.*?)^```", text, re.M | re.S):
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
def test_every_command_is_one_of_the_command_line(page):
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
            if (
                name == "train"
                and given["arguments"][0] in recipe_names()
                and ".py:" not in " ".join(given["arguments"])
            ):
                load_config(given["arguments"][0], given["arguments"][1:])


@pytest.mark.slow
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
            code, _, error = fdfo(monkeypatch, capsys, *arguments)
            assert code == 0, f"{arguments}: {error}"
