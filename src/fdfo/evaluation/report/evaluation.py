"""The page of an evaluation: base against adapters, with the pictures that are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report.gallery import LOSSLESS_SIDE, Gallery, Snapshot, data_uri
from fdfo.evaluation.report.page import fill
from fdfo.evaluation.report.results import Kind, compare
from fdfo.evaluation.report.text import fixed, places_of_spread
from fdfo.evaluation.summary import BASE, summary

Pictures = Mapping[str, Mapping[int, Path]]
"""By weights, the PNG files of the first image of the prompts shown, by the prompt's number."""


def evaluation_page(
    title: str, results: Mapping[str, Evaluation], pictures: Pictures, facts: Sequence[tuple[str, str]]
) -> str:
    """The page as text; `results` by weights, `base` first, all of the same prompts."""
    base = results[BASE]
    scores: list[tuple[str, str, Kind]] = [(name, name, "score") for name in base.scores]
    adapters = {name: result for name, result in results.items() if name != BASE}
    return fill(
        "evaluation.html",
        {
            "title": title,
            "comparisons": [(name, compare(base, result, scores)) for name, result in adapters.items()],
            "means": summary(results),
            "gallery": _gallery(results, pictures),
            "facts": facts,
            "prompts": len(base.prompts),
            "images": base.images_per_prompt,
            "steps": base.steps,
            "runs": [],
        },
    )


def _gallery(results: Mapping[str, Evaluation], pictures: Pictures) -> Gallery | None:
    numbers = sorted(set.intersection(*(set(files) for files in pictures.values())))
    if not numbers:
        return None
    places = {name: places_of_spread(values) for name, values in results[BASE].scores.items()}
    snapshots = []
    with Image.open(pictures[BASE][numbers[0]]) as image:
        width, height = image.size
    for weights, result in results.items():
        rows = [number * result.images_per_prompt for number in numbers]
        values = {name: [fixed(found[row], places[name]) for row in rows] for name, found in result.scores.items()}
        tiles = []
        for number in numbers:
            with Image.open(pictures[weights][number]) as image:
                tiles.append(data_uri(image))
        snapshots.append(Snapshot(weights, 0, weights, tiles, values))
    return Gallery(
        titles=[results[BASE].prompts[number] for number in numbers],
        snapshots=snapshots,
        left=0,
        right=len(snapshots) - 1,
        is_pixelated=max(width, height) <= LOSSLESS_SIDE,
        aspect=f"{width} / {height}",
        score_labels=list(results[BASE].scores),
        num_left_out=0,
        other_prompts=[],
    )
