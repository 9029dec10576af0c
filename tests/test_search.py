"""The site's search box: what people type leads to what they look for, by the index and the worker of the site."""

import json
import logging
import re
import subprocess
from pathlib import Path

import material
import pytest
from mkdocs.commands.build import build
from mkdocs.config import load_config
from playwright._impl._driver import compute_driver_executable

ROOT = Path(__file__).parents[1]
(WORKER,) = Path(material.__file__).parent.glob("templates/assets/javascripts/workers/search.*.min.js")

FOUND = {
    "samples-sample-images": [
        "samples",
        "sample images during training",
        "previews during training",
        "see images while training",
    ],
    "number-of-pairs": ["how many pairs", "number of pairs"],
    "checkpoint-save-every": [
        "checkpoint folder",
        "checkpoint path",
        "save checkpoint every",
        "where are checkpoints",
        "save every",
    ],
    "disk-space": ["disk space"],
    "clear-a-cache": ["clear cache"],
    "how-long": ["time estimate", "how long"],
    "text-encoder-train": ["train text encoder"],
    "seed-reproducible": ["reproducible", "reproducibility"],
    "reproduce-a-runs": ["exact same pictures in diffusers", "reproduce run pictures"],
    "prompt-file": ["csv prompts", "prompt file", "csv metadata columns"],
    "offload": ["offload cpu", "cpu offload", "offload"],
    "precision": ["float16"],
    "timeout": ["timeout", "timeout_s"],
    "wandb": ["weights and biases", "log level quiet"],
    "strength": ["strength"],
    "load-the-lora": ["reload lora diffusers", "merge lora"],
    "python-api": ["jupyter", "export python", "export from notebook"],
}
"""Beginnings of sections of find.md, and the words that must lead to them first."""

ELSEWHERE = {
    "tutorials/your-own/#rehearse": ["tiny pipeline", "own pipeline folder"],
    "how-to/when-it-goes-wrong/#noise": [
        "Could not load this library",
        "torchao warning",
        "pytree warnings",
        "stderr noise",
    ],
}
"""Of other pages, the places that lead or come second."""

RESULTS = {"operations of a row": "flops", "made to hack": "hacking", "demo on seeds": "demo"}


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """The index of the site, as `make docs` builds it."""
    site = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(site))
    config.plugins.on_startup(command="build", dirty=False)
    logging.getLogger("mkdocs").setLevel(logging.ERROR)
    build(config)
    return site / "search" / "search_index.json"


@pytest.fixture(scope="module")
def places(index):
    """For each query the places that it leads to: of the best page the best first, then of the next page."""
    node, _ = compute_driver_executable()
    queries = [*(query for group in (FOUND | ELSEWHERE).values() for query in group), *RESULTS]
    command = [node, ROOT / "tests" / "search.js", WORKER, index]
    answered = subprocess.run(command, input=json.dumps(queries), capture_output=True, text=True, check=True)
    return dict(zip(queries, json.loads(answered.stdout), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("section", "query"), [(section, query) for section, group in FOUND.items() for query in group]
)
def test_the_search_box_leads_first_to_what_is_meant(places, section, query):
    assert places[query][0][0].startswith(f"reference/find/#{section}")


@pytest.mark.slow
@pytest.mark.parametrize(("place", "query"), [(place, query) for place, group in ELSEWHERE.items() for query in group])
def test_the_search_box_leads_at_least_second_to_other_pages(places, place, query):
    assert any(page[0].startswith(place) for page in places[query][:2])


@pytest.mark.slow
def test_the_navigation_begins_with_tutorials_and_ends_with_results(index):
    home = (index.parents[1] / "index.html").read_text(encoding="utf-8")
    navigation = home[home.index("md-nav--primary") :]
    places = [
        "tutorials/ten-minutes/",
        "tutorials/your-own/",
        "tutorials/scores/",
        "how-to/use-the-lora/",
        "configuration/",
    ]
    places += ["reference/find/", "results/demo/"]
    found = [navigation.index(f'href="{place}"') for place in places]
    assert found == sorted(found)
    first = (index.parents[1] / "tutorials" / "ten-minutes" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'href="../your-own/" class="md-footer__link md-footer__link--next"', first)


@pytest.mark.slow
def test_results_stand_below_the_pages_that_say_how(places, index):
    leading = [page[0] for group in FOUND.values() for query in group for page in places[query][:2]]
    assert len(leading) > 50 and not [place for place in leading if place.startswith("results/")]
    for query, page in RESULTS.items():  # and are found all the same
        assert any(place.startswith(f"results/{page}/") for place, *_ in places[query])
    boosts = {one["location"]: one.get("boost", 1) for one in json.loads(index.read_text())["docs"]}
    assert boosts["results/demo/"] < 0.01 and boosts["memory/"] == 1
