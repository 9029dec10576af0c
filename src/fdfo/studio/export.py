"""Choices as a data set of preferences, in the columns of Pick-a-Pic (arXiv:2305.01569): one row a choice.

`label_0` and `label_1` are 1 for the picture that was chosen, 0 for the other, 1/2 each for no preference; picture 0 is
the one that was at the left. `jpg_0` and `jpg_1` hold the files, which are PNG here, without loss. Departures: no
addresses of pictures; `seconds` is more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from fdfo.studio.choices import Choice, Journal
from fdfo.studio.pairs import pictures_of

ROWS_AT_A_TIME = 64


@dataclass(frozen=True)
class Exported:
    """What became of the choices."""

    rows: int
    skipped: int
    repeats: int
    missing: int
    """Choices whose pictures are gone."""


def export(runs: Sequence[Path], output: Path) -> Exported:
    """Write a parquet file of the choices of run folders. Raises OSError; `output` is there only as a whole."""
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    text, number, data = pa.string(), pa.float32(), pa.binary()
    fields = {"caption": text, "jpg_0": data, "jpg_1": data, "label_0": number, "label_1": number}
    fields |= {"best_image_uid": text, "image_0_uid": text, "image_1_uid": text, "model_0": text, "model_1": text}
    fields |= {"has_label": pa.bool_(), "are_different": pa.bool_(), "ranking_id": pa.int64(), "user_id": pa.int64()}
    fields |= {"created_at": pa.timestamp("ms", tz="UTC"), "num_example_per_prompt": pa.int64(), "seconds": number}
    schema = pa.schema(list(fields.items()))
    every = [(run, choice) for run in runs for choice in Journal(run).choices()]
    kept = [(run, choice) for run, choice in every if not choice.repeat and choice.chosen != "skip"]
    there = [(run, choice) for run, choice in kept if _has_pictures(run, choice)]
    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with ParquetWriter(temporary, schema) as writer:
            for start in range(0, len(there), ROWS_AT_A_TIME):
                rows = list(_rows(there, start))
                writer.write_table(pa.Table.from_pylist(rows, schema))
        temporary.replace(output)
    finally:
        temporary.unlink(missing_ok=True)
    repeats = sum(choice.repeat for _, choice in every)
    skipped = len(every) - repeats - len(kept)
    return Exported(len(there), skipped, repeats, len(kept) - len(there))


def _has_pictures(run: Path, choice: Choice) -> bool:
    return all((pictures_of(run) / f"{name}.png").is_file() for name in (choice.first, choice.second))


def _rows(choices: Sequence[tuple[Path, Choice]], start: int) -> Iterator[dict[str, Any]]:
    """Some of the rows, with their pictures in memory."""
    people = {who: number for number, who in enumerate(sorted({choice.who for _, choice in choices}))}
    of_prompt: dict[str, int] = {}
    for _, choice in choices:
        of_prompt[choice.prompt] = of_prompt.get(choice.prompt, 0) + 1
    for number, (run, choice) in enumerate(choices[start : start + ROWS_AT_A_TIME], start):
        left, right = choice.first, choice.second
        if choice.left == "second":
            left, right = right, left
        label = 0.5 if choice.chosen == "tie" else float(choice.chosen == choice.left)
        yield {
            "caption": choice.prompt,
            "jpg_0": (pictures_of(run) / f"{left}.png").read_bytes(),
            "jpg_1": (pictures_of(run) / f"{right}.png").read_bytes(),
            "label_0": label,
            "label_1": 1 - label,
            "best_image_uid": "tie" if label == 0.5 else left if label else right,
            "image_0_uid": left,
            "image_1_uid": right,
            "model_0": run.name,
            "model_1": run.name,
            "has_label": True,
            "are_different": True,
            "ranking_id": number,
            "user_id": people[choice.who],
            "created_at": datetime.fromisoformat(choice.when),
            "num_example_per_prompt": of_prompt[choice.prompt],
            "seconds": choice.seconds,
        }
