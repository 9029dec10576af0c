"""The site's own parts: the first page, buttons of the tutorials, and the notebooks that they open."""

import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import jupytext
import markdown
import nbclient
import pytest
import torch
import yaml

import fdfo
from docs.hooks import commands, figures, keys, notebooks, site
from tests.test_tutorials import SMALLER
from tests.training.runs import TINY

ROOT = Path(__file__).parents[1]
PAGES = sorted(notebooks.PAGES.glob("*.md"))


def markdown_of(path, text, repository=""):
    """What the hook makes of a page of the site that knows no other pages."""
    files = SimpleNamespace(get_file_from_path=lambda path: None)
    page = SimpleNamespace(file=SimpleNamespace(src_uri=path))
    return site.on_page_markdown(text, page, SimpleNamespace(repo_url=repository), files)


def test_the_first_page_is_the_readme_with_links_that_hold_there():
    links = re.findall(r"\]\(([^)#]+)|src=\"([^\"]+)", site.home())
    local = [one or other for one, other in links if "://" not in one]
    assert len(local) > 20
    assert [link for link in local if not (ROOT / "docs" / link).exists()] == []


@pytest.mark.parametrize("repository", ["https://github.com/a/b", "https://github.com/a/b/"])
def test_a_tutorial_has_a_button_that_opens_its_notebook(repository):
    made = markdown_of("tutorials/scores.md", "# Scores\n\nText.\n", repository)
    place = "https://colab.research.google.com/github/a/b/blob/main/notebooks/scores.ipynb"
    assert made == f"# Scores\n\n[Open as a notebook]({place}){{ .md-button }}\n\nText.\n"
    assert "colab" not in markdown_of("tutorials/scores.md", "# Scores\n\nText.\n")
    assert "notebook" not in markdown_of("memory.md", "# Memory\n\nText.\n", repository)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_its_page(page):
    """Where it is not: `python -m docs.hooks.notebooks`."""
    assert (notebooks.NOTEBOOKS / f"{page.stem}.ipynb").read_text(encoding="utf-8") == notebooks.written(page)


def test_every_tutorial_has_a_notebook_and_no_other_is_there():
    assert len(PAGES) >= 3
    assert {path.stem for path in notebooks.NOTEBOOKS.iterdir()} == {page.stem for page in PAGES}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_notebook_runs(page, tmp_path, monkeypatch):
    """Every cell of the file that is shipped, in a kernel of its own; its runs are made small."""
    made = jupytext.read(notebooks.NOTEBOOKS / f"{page.stem}.ipynb")
    small = " ".join(f"'{one}'" for one in (*TINY, *SMALLER))
    for cell in made.cells:
        cell.source = re.sub(r"^(fdfo train \S+(?! --dry-run).*?)( --run)", rf"\1 {small}\2", cell.source, flags=re.M)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")  # an environment that was not activated
    nbclient.NotebookClient(made, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in made.cells if "Image.open" in cell.source for output in cell.outputs]
    assert shown and all("image/png" in output.data for output in shown)


def test_one_version_is_named_everywhere():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    (newest, *_) = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)
    assert newest == citation["version"] == fdfo.__version__


@pytest.mark.parametrize("name", figures.FIGURES)
def test_a_figure_is_what_the_code_draws(name):
    """To a pixel's fifth, whatever rounds. Where it is not: `python -m docs.hooks.figures`."""
    shown, made = ((figures.IMAGES / name).read_text(encoding="utf-8"), figures.FIGURES[name]())
    number = r"-?\d+\.\d+"
    assert re.sub(number, "", shown) == re.sub(number, "", made)
    pairs = zip(re.findall(number, shown), re.findall(number, made), strict=True)
    assert max(abs(float(one) - float(other)) for one, other in pairs) < 0.2


def test_the_flow_of_the_figures_carries_noise_to_its_data():
    assert torch.equal(figures.velocity(torch.tensor([0.5, -2.0]), 1.0), torch.tensor([0.5, -2.0]))  # data's mean is 0
    x = torch.linspace(-2.5, 2.5, 101, dtype=torch.float64)
    grid = torch.linspace(1, 0, 201).tolist()
    for t, s in pairwise(grid):
        x = x + (s - t) * figures.velocity(x, t)
    middle = x[(x.abs() - 1).abs() > 4 * figures.SPREAD]
    assert len(middle) < 5 and abs(float(x.mean())) < 1e-6  # symmetric; nearly all within four deviations of -1 or 1


@pytest.mark.parametrize(("slope", "best"), [(1.0, 1.03), (-1.0, 0.97)])
def test_the_losses_of_the_figures_are_least_at_the_edge_of_the_trust_region(slope, best):
    (_, at, _), *losses = figures.loss_panel("", slope).lines
    assert at[0][0] == pytest.approx(best)
    for _, points, _ in losses:
        assert min(points, key=lambda point: point[1])[0] == pytest.approx(best, abs=0.003)


def test_what_is_looked_up_by_another_word_is_a_key_there():
    keys = (ROOT / "docs" / "reference" / "find.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:policy|optim|prompts|train|eval|log|method)\.[a-z0-9_.]+)", keys)
    config = fdfo.load_config("shapes")
    assert len(named) > 20
    assert [name for name in named if not _has(config, name.split("."))] == []


def test_the_search_splits_keys_into_their_words():
    (separator,) = re.findall(r"separator: '(.*?)'\}", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    words = [word for word in re.split(separator, "`optim.max_grad_norm`=1.5, [eval.at] (a-b)") if word]
    assert words == ["optim", "max", "grad", "norm", "1.5", "eval", "at", "a", "b"]


def test_every_key_has_an_anchor_of_its_own():
    anchors = re.findall(r"^###+ `([a-z0-9_.\[\]]+)` \{ #(\S+) \}$", keys.page(), re.M)
    assert len(anchors) > 150 and len({anchor for _, anchor in anchors}) == len(anchors)
    assert {"policy.dtype", "policy.adapter.rank", "reward.name", "eval.stop_when.metric", "fdfo.method.strength"} <= {
        anchor for _, anchor in anchors
    }
    assert all(anchor.endswith(key.replace("[]", "")) for key, anchor in anchors)


@pytest.mark.parametrize("page", [commands, keys], ids=["commands", "keys"])
def test_a_page_from_the_code_shows_each_word_of_it(page, monkeypatch):
    """Nothing that looks like a tag vanishes."""
    texts = []
    for name in ("cell", "escaped", "paragraph"):
        if hasattr(page, name):
            made = getattr(page, name)
            monkeypatch.setattr(page, name, lambda text, made=made: texts.append(text) or made(text))
    shown = markdown.markdown(page.page(), extensions=["tables", "fenced_code", "attr_list"])
    shown = " ".join(unescape(re.sub(r"</?[a-z0-9]+( [^>]*)?>", "", shown)).split())
    assert len(texts) > 100
    for text in texts:
        plain = text.replace("\\b", "").replace("`", "").replace("\\[", "[")  # typer before .21 has a backslash there
        assert " ".join(plain.split()) in shown


def _has(section, names):
    """Whether a chain of fields is there."""
    for name in names:
        if not hasattr(section, name):
            return False
        section = getattr(section, name)
    return True
