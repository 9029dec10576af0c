"""Every plan in the repository, and the example of the documentation, can be run as it stands."""

from pathlib import Path

import pytest

from fdfo.comparison.cells import Configurations, final_runs, tuning_runs
from fdfo.comparison.plan import load_plan
from fdfo.comparison.refusals import refuse_unsound

ROOT = Path(__file__).parents[2]
PLANS = sorted((ROOT / "plans").glob("*.yaml"))


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_shipped_plans_are_sound(path):
    plan = load_plan([str(path)])
    assert plan.name == path.stem
    refuse_unsound(Configurations(plan))


def test_the_example_of_the_documentation_is_sound(tmp_path):
    text = (ROOT / "docs" / "comparison.md").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(text.partition("```yaml\n")[2].partition("```")[0])
    refuse_unsound(Configurations(load_plan([str(path)])))


def test_the_quick_plan_takes_twenty_minutes():
    plan = load_plan([str(next(path for path in PLANS if path.stem == "quick"))])
    chosen = {(score, cell): 0 for cell in plan.cells for score in plan.scores_of(cell)}
    runs = len(tuning_runs(plan)) + len(final_runs(plan, chosen))
    assert runs * 90 / 2 <= 20 * 60  # seconds of one core a run, two at a time
