"""The table of docs/methods.md: a reader finds each method's files by its name, and what compares it."""

import re
from pathlib import Path

import pytest

import fdfo
from fdfo.comparison.reading import load_plan
from fdfo.config.load import load_typed
from fdfo.plugins import BUILT_IN

ROOT = Path(__file__).parents[2]
ROWS = {
    found[1]: found[0].strip().strip("|").split("|")
    for found in re.finditer(r"^\| `(\w+)`.*\|$", (ROOT / "docs" / "methods.md").read_text(encoding="utf-8"), re.M)
}


@pytest.fixture(scope="module")
def compared():
    """Plans by method, from what their cells start from."""
    found = {}
    for path in sorted((ROOT / "plans").glob("*.yaml")):
        plan = load_plan([str(path)])
        for recipe in {cell.recipe or plan.recipe for cell in plan.cells.values()}:
            found.setdefault(load_typed(recipe).method.name, set()).add(path.stem)
    return found


@pytest.mark.parametrize("name", BUILT_IN["methods"])
def test_a_method_is_found_by_its_name(name, compared):
    package = Path(fdfo.__file__).parent / "methods"
    assert (package / f"{name}.py").is_file() and (package / "settings" / f"{name}.py").is_file()
    plans = ROWS[name][-1]
    assert set(re.findall(r"\[([\w-]+)\]\(\.\./plans/\1\.yaml\)", plans)) == compared.get(name, set())
