"""Pictures as a data set on disk, which `datasets.load_dataset("imagefolder", data_dir=...)` reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from fdfo.errors import ConfigError
from fdfo.evaluation.heldout import Evaluation
from fdfo.files import finite, shown_names, write_atomically, write_json
from fdfo.pictures import png, tile

METADATA, SETTINGS = "metadata.jsonl", "settings.json"


def refuse_foreign(folder: Path) -> None:
    """Raise ConfigError where a folder holds something else than `write_dataset` wrote."""
    if shown_names(folder) and not all((folder / name).is_file() for name in (METADATA, SETTINGS)):
        raise ConfigError("the command line", [f"--output {folder}: not a folder of pictures of ours; give a new one"])


def write_dataset(
    folder: Path, pictures: Mapping[str, Tensor], prompts: Sequence[str], settings: Mapping[str, Any]
) -> None:
    """Write pictures uint8 [P, S, 3, H, W] by the weights that drew them: a PNG file each, below the weights' name."""
    rows = []
    for index, (weights, drawn) in enumerate(pictures.items()):
        place = folder / f"{index}-{''.join(c if c.isalnum() else '-' for c in weights)}"
        place.mkdir(parents=True, exist_ok=True)
        for prompt, images, number in zip(prompts, drawn, range(len(prompts)), strict=True):
            for seed, image in enumerate(images):
                path = place / f"{number:05d}-{seed}.png"
                write_atomically(path, png(tile(image[None], 1)))
                name = path.relative_to(folder).as_posix()
                rows.append({"file_name": name, "text": prompt, "weights": weights, "seed": seed})
    write_metadata(folder, rows)
    write_json(folder / SETTINGS, settings)


def image_rows(results: Mapping[str, Evaluation], numbers: Sequence[int]) -> Iterator[dict[str, Any]]:
    """Columns of the images of evaluations, which a ledger keeps below the weights' names, by the prompts' numbers."""
    for weights, found in results.items():
        each = found.images_per_prompt
        for place, (number, prompt) in enumerate(zip(numbers, found.prompts, strict=True)):
            for image in range(each):
                scores = {name: values[place * each + image] for name, values in found.scores.items()}
                described = {"text": prompt, "category": found.categories[place], "weights": weights}
                yield {"file_name": f"{weights}/{number:05d}-{image}.png", **described, **scores}


def write_metadata(folder: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Columns of the pictures in a folder, one JSON line each: `file_name` and what is known of it."""
    write_atomically(folder / METADATA, "".join(json.dumps(finite(dict(row))) + "\n" for row in rows))
