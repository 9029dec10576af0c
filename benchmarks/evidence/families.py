"""Every family against its own pipeline, on tiny random pipelines: `python -m benchmarks.evidence.families [CASE ...]`.

The pipelines and measures are those of the tests (tests/models/families), so what the table says is what they assert.
Writes docs/results/data/families.json; benchmarks.evidence.families_page makes the page of it.
"""

import json
import sys
import tempfile
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

from benchmarks.evidence.families_page import write_page
from fdfo.config.tree import PolicyConfig
from fdfo.errors import ModelError
from fdfo.models.sizes import policy_sizes
from tests.models.families.measures import gradient_error, image_error, loader, lora_error, row_error
from tests.models.families.world import ALL, PROMPTS, World

DATA = Path("docs/results/data/families.json")
LIBRARIES = ("diffusers", "transformers", "peft", "torch")


@dataclass(frozen=True)
class Measured:
    """Errors of one case; see tests/models/families/measures.py."""

    case: str
    pipeline: str
    images: float
    guided_images: float | None
    """None: the family has no classifier-free guidance."""
    rows: float
    gradients: float
    lora: float | None
    loader: str | None
    """None: diffusers has none."""
    seconds: float
    date: str
    is_plannable: bool
    """Whether its memory can be counted once a prompt was encoded: its network does not look at what it is given."""


def measure(case: str) -> Measured:
    started = perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        world = World(case, Path(folder) / "pipeline")
        images = [image_error(world, guidance) for guidance in world.guidances]
        return Measured(
            case,
            type(world.pipeline).__name__,
            images[0],
            images[1] if len(images) > 1 else None,
            max(row_error(world, guidance) for guidance in world.guidances),
            gradient_error(world),
            lora_error(world, Path(folder)),
            loader(world),
            perf_counter() - started,
            f"{date.today()}",
            is_plannable(world),
        )


def is_plannable(world: World) -> bool:
    settings = PolicyConfig(name=str(world.folder), resolution=world.size, dtype="float32")
    try:
        policy_sizes(settings, world.policy(1.0).row(PROMPTS[0]))
    except ModelError:
        return False
    return True


def main(cases: Collection[str], data: Path = DATA) -> None:
    """Measure these cases; what is known of the others stays, if it was measured with the same libraries."""
    versions = {name: version(name) for name in LIBRARIES}
    before = json.loads(data.read_text(encoding="utf-8")) if cases else {"versions": versions, "families": []}
    if before["versions"] != versions:
        raise SystemExit(f"{data} has {before['versions']}, here are {versions}: measure all families")
    known = {one["case"]: one for one in before["families"]}
    known |= {case: asdict(measure(case)) for case in cases or ALL}
    found = {"versions": versions, "families": [known[case] for case in ALL if case in known]}
    data.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    write_page(data)


if __name__ == "__main__":
    main(sys.argv[1:])
