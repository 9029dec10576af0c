"""Every plan in the repository, and the example of the documentation, can be run as it stands."""

import re
from pathlib import Path

import pytest

from fdfo.comparison.cells import Configurations
from fdfo.comparison.estimate import estimate
from fdfo.comparison.reading import load_plan
from fdfo.comparison.refusals import refuse_unsound
from tests.nightly import by_day

ROOT = Path(__file__).parents[2]
PLANS = sorted(path.stem for path in (ROOT / "plans").glob("*.yaml"))


@pytest.mark.parametrize("name", by_day({"main", "quick"}, PLANS))
def test_shipped_plans_are_sound_and_say_how_long_they_take(name):
    """In their first line, as `fdfo compare PLAN --dry-run` estimates it, without extensions: to a fifth."""
    path = ROOT / "plans" / f"{name}.yaml"
    plan = load_plan([str(path)])
    assert plan.name == name
    configurations = Configurations(plan)
    refuse_unsound(configurations)
    if plan.name != "gradient":  # for `fdfo probe`
        text = path.read_text(encoding="utf-8")
        said = re.match(r"# .*: about (\d+(?:\.\d)?) (hours|minutes) on one core", text)
        assert said is not None
        seconds = float(said[1]) * (3600 if said[2] == "hours" else 60)
        assert seconds == pytest.approx(sum(one.seconds for one in estimate(plan, configurations, [])), rel=0.2)


def test_the_example_of_the_documentation_is_sound(tmp_path):
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    refuse_unsound(Configurations(load_plan([str(path)])))
