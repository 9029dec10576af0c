"""The page of supported models is the one of its measurements, and has every family."""

import json
from pathlib import Path

from benchmarks.evidence.families_page import page
from fdfo.models.families import FAMILIES
from tests.models.families.world import ALL

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_is_that_of_what_was_measured():
    found = json.loads((DOCS / "results/data/families.json").read_text(encoding="utf-8"))
    counted = json.loads((DOCS / "results/data/memory-families.json").read_text(encoding="utf-8"))["counted_gib"]
    assert (DOCS / "reference/models.md").read_text(encoding="utf-8") == page(found, counted)
    assert [one["case"] for one in found["families"]] == list(ALL)
    assert {one["pipeline"] for one in found["families"]} == set(FAMILIES)


def test_a_line_tells_how_the_models_own_guidance_counts():
    """Krea 2 adds guidance (positive - negative) to the positive, so its own number is one less."""
    lines = (DOCS / "reference/models.md").read_text(encoding="utf-8").splitlines()
    (krea,) = (line for line in lines if line.startswith("| Krea2Pipeline") and "guidance" in line)
    assert "| `guidance_scale` = `policy.guidance` - 1 | `load_lora_weights` | by nobody yet |" in krea


def test_a_line_tells_the_memory_of_published_models():
    """Qwen-Image has 20,430,401,088 weights of 2 bytes: 38.1 GiB, and takes one more for the rest."""
    lines = (DOCS / "reference/models.md").read_text(encoding="utf-8").splitlines()
    (qwen,) = (line for line in lines if line.startswith("| QwenImagePipeline | Qwen-Image |"))
    assert "| Qwen-Image 39.2 |" in qwen
    assert any("| not planned |" in line for line in lines if line.startswith("| Lumina2Pipeline"))
