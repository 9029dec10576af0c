"""The page of an evaluation: base against adapters, with the pictures that are shown."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image

from fdfo.evaluation.heldout import Evaluation
from fdfo.evaluation.report import decimals as places
from fdfo.evaluation.report.gallery import LOSSLESS_SIDE, MAX_SIDE, Gallery, Snapshot, data_uri, full_side, stored
from fdfo.evaluation.report.page import fill
from fdfo.evaluation.report.results import Kind, compare
from fdfo.evaluation.summary import BASE, summary

Pictures = Mapping[str, Mapping[int, Path]]
"""By weights, the PNG files of the first image of the prompts shown, by the prompt's number."""


def evaluation_page(
    title: str, results: Mapping[str, Evaluation], pictures: Pictures, facts: Sequence[tuple[str, str]]
) -> str:
    """The page as text; `results` by weights, `base` first, all of the same prompts."""
    base, decimals = results[BASE], places.of_results(results)
    scores: list[tuple[str, str, Kind]] = [(name, name, "score") for name in base.scores]
    adapters = {name: result for name, result in results.items() if name != BASE}
    return fill(
        "evaluation.html",
        {
            "title": title,
            "comparisons": [(name, compare(base, result, scores, decimals)) for name, result in adapters.items()],
            "means": summary(results),
            "gallery": _gallery(results, pictures, decimals),
            "decimals": decimals,
            "facts": facts,
            "prompts": len(base.prompts),
            "images": base.images_per_prompt,
            "steps": base.steps,
            "runs": [],
        },
    )


def _gallery(results: Mapping[str, Evaluation], pictures: Pictures, decimals: places.Decimals) -> Gallery | None:
    numbers = sorted(set.intersection(*(set(files) for files in pictures.values())))
    if not numbers:
        return None
    snapshots: list[Snapshot] = []
    with Image.open(pictures[BASE][numbers[0]]) as image:
        width, height = image.size
    side = full_side((height, width), 2 * len(numbers))
    for i, (weights, result) in enumerate(results.items()):
        rows = [number * result.images_per_prompt for number in numbers]
        values = {name: [round(found[row], decimals[name]) for row in rows] for name, found in result.scores.items()}
        tiles = []
        for number in numbers:
            with Image.open(pictures[weights][number]) as image:
                tiles.append(data_uri(image, side if i in (0, len(results) - 1) else MAX_SIDE))
        snapshots.append(Snapshot(weights, 0, weights, tiles, values))
    return Gallery(
        titles=[results[BASE].prompts[number] for number in numbers],
        snapshots=snapshots,
        left=0,
        right=len(snapshots) - 1,
        is_pixelated=max(width, height) <= LOSSLESS_SIDE,
        aspect=f"{width} / {height}",
        decimals={name: decimals[name] for name in results[BASE].scores},
        stored=stored((height, width), side),
        num_left_out=0,
        other_prompts=[],
    )
