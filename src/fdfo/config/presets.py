"""Names that stand for one score with chosen options, or for several scores with weights."""

from collections.abc import Mapping
from typing import Any

from fdfo.plugins import named

PRESETS: dict[str, tuple[dict[str, Any], ...]] = {
    "clip-h14": ({"name": "clip", "model": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"},),
    "clip-l14": ({"name": "clip", "model": "openai/clip-vit-large-patch14"},),
    "hpsv2.1": ({"name": "hpsv2", "model": "xswu/HPSv2"},),
    "vlm-alignment": ({"name": "vlm", "questions": ["alignment"]},),
    "vlm-quality": ({"name": "vlm", "questions": ["quality"]},),
    "vlm-photorealistic": ({"name": "vlm", "questions": ["photorealistic"]},),
    "soft-tifa": (
        {
            "name": "vlm",
            "model": "Qwen/Qwen3-VL-8B-Instruct",
            "questions_from": "questions",
            "mean": "geometric",
        },
    ),
    "combined": ({"name": "pickscore"}, {"name": "vlm-alignment", "weight": 0.1}),
    "quality": ({"name": "hpsv2"}, {"name": "vlm-quality", "weight": 0.1}),
}
"""Entries of each preset. A single entry takes further options, and is labelled with the preset's name.

combined is the paper's (arXiv:2603.12893): PickScore + 0.1 VLM; soft-tifa is GenEval 2's (arXiv:2512.16853); quality
is ours.
"""


def expanded(entries: Any) -> Any:
    """The entries of `reward` or `eval.rewards` as sections, presets replaced by what they stand for.

    A preset's weight multiplies the weights inside. What is no list is returned as it is. Raises ValueError for options
    of a preset that is several scores.
    """
    if not isinstance(entries, list | tuple):
        return entries
    return [part for entry in entries for part in _expand(_section(entry))]


def _section(entry: Any) -> Any:
    """An entry as a section; a function or class of this program is found by the name that it gets."""
    if isinstance(entry, str) or callable(entry):
        entry = {"name": entry}
    return {**entry, "name": named("rewards", entry["name"])} if isinstance(entry, dict) and "name" in entry else entry


def _expand(entry: Any) -> list[Any]:
    name = entry.get("name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str) or name not in PRESETS:
        return [entry]
    parts, given = PRESETS[name], {key: value for key, value in entry.items() if key != "name"}
    weight = given.pop("weight", 1.0)
    if len(parts) == 1:
        return _expand({"label": name, **parts[0], **given, "weight": _times(parts[0], weight)})
    if given:
        raise ValueError(
            f"{name!r} is several scores and takes no {', '.join(given)}; write them out: "
            + ", ".join(str(part) for part in parts)
        )
    return [entry for part in parts for entry in _expand({**part, "weight": _times(part, weight)})]


def _times(part: Mapping[str, Any], weight: Any) -> Any:
    """The weight of a part in a preset of this weight; what is no number is left for the schema to report."""
    return part.get("weight", 1.0) * weight if isinstance(weight, int | float) else weight
