"""What a message suggests: a misspelling's right name, and nothing that only looks like it."""

import subprocess
import sys
from pathlib import Path
from shlex import split

import pytest

from fdfo.errors import OTHER_NAMES, ConfigError, install_advice, nearest, shown
from fdfo.plugins import BUILT_IN

METHODS = list(BUILT_IN["methods"])


@pytest.mark.parametrize(
    ("name", "valid", "meant"),
    [
        ("fdfoo", METHODS, "fdfo"),
        ("grpo", METHODS, "flow_grpo"),
        ("flow-grpo", METHODS, "flow_grpo"),
        ("Draft", METHODS, "draft"),
        ("jpge", BUILT_IN["rewards"], "jpeg"),
        ("pickskore", BUILT_IN["rewards"], "pickscore"),
        ("imagereward", BUILT_IN["rewards"], "image-reward"),
        ("clip_rage", ["clip_range", "strength"], "clip_range"),
        ("rnk", ["rank", "alpha"], "rank"),
        ("24gb", ["sd35-medium-24gb", "sd35-medium-48gb"], "sd35-medium-24gb"),
    ],
)
def test_a_misspelling_or_a_part_of_one_name_is_understood(name, valid, meant):
    assert nearest(name, valid) == f"did you mean {meant!r}?"


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("raft", METHODS),
        ("dpo", METHODS),
        ("d3po", METHODS),
        ("ppo", METHODS),
        ("StableDiffusionXLPipeline", ["StableDiffusion3Pipeline"]),
        ("FluxPipeline", ["StableDiffusion3Pipeline"]),
        ("sd35-medium-40gb", ["sd35-medium-24gb", "sd35-medium-48gb"]),
        ("shape", METHODS),
        ("", METHODS),
    ],
)
def test_what_means_something_else_is_answered_with_all_that_is_valid(name, valid):
    assert nearest(name, valid) == f"valid: {', '.join(sorted(valid))}"


def test_no_name_of_ours_is_listed_as_foreign():
    assert not OTHER_NAMES & {name for table in BUILT_IN.values() for name in table}


def test_the_advice_to_install_is_a_command_of_this_environment():
    command = split(install_advice("pip").removeprefix("install it: "))
    assert command == [sys.executable, "-m", "pip", "install", "pip"]
    assert subprocess.run([*command[:3], "--version"], capture_output=True).returncode == 0


def test_long_values_are_cut_and_huge_numbers_named():
    assert shown("x" * 100) == "'" + "x" * 79 + "..."
    assert shown(10**5000) == "a number of thousands of digits"
    assert shown([1, "a"]) == "[1, 'a']"


def test_no_page_or_message_installs_the_project_from_where_it_is_not():
    """There is a clone, and no package of an index: `pip install -e '.[extra]'` works."""
    root = Path(__file__).parents[1]
    pages = [root / "README.md", *(root / "docs").rglob("*.md"), *(root / "src").rglob("*.py")]
    results = root / "docs" / "results"  # what was said when they were measured
    named = [page for page in pages if "fdfo[" in page.read_text(encoding="utf-8") and results not in page.parents]
    assert not named


def test_all_problems_are_counted_and_an_advice_is_none_of_them():
    error = ConfigError("my.yaml", ["a: wrong", "b: wrong", "c: wrong"], advice="mend them", most=2)
    assert str(error).splitlines() == [
        "3 problems in my.yaml",
        "  - a: wrong",
        "  - b: wrong",
        "  - and 1 more like these",
        "  mend them",
    ]
    assert error.problems == ["a: wrong", "b: wrong", "c: wrong"]
