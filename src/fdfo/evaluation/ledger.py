"""The scores of an evaluation on disk, prompt by prompt: after an interruption, what is done is not done again.

A folder with manifest.json (what is evaluated), WEIGHTS.RANK.jsonl (a line for each prompt), shown/WEIGHTS (the first
image of some prompts) and, where they are kept, images/WEIGHTS (all images).
"""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel
from torch import Tensor

from fdfo.errors import ConfigError
from fdfo.evaluation.diversity import diversity
from fdfo.evaluation.heldout import Evaluation, Judged
from fdfo.evaluation.pictures import check_picture, picture_files
from fdfo.files import finite, shown_names, write_atomically, write_json
from fdfo.own import cut_torn_line, mend_lines, read_json, set_aside, sound, sound_lines
from fdfo.pictures import png, tile
from fdfo.records import Prompt

MANIFEST = "manifest.json"


class Ledger:
    """One evaluation folder. Every process of a job writes lines of its own and reads those of all."""

    def __init__(self, folder: Path, rank: int, *, scores: Sequence[str], images_per_prompt: int):
        self.folder, self.rank = folder, rank
        self.scores, self.images_per_prompt = list(scores), images_per_prompt

    def open(self, manifest: Mapping[str, Any]) -> None:
        """Start, or go on with, the evaluation that `manifest` describes, in a folder that exists; by one process.

        Raises ConfigError where the folder holds another evaluation, or something else.
        """
        path = self.folder / MANIFEST
        self.refuse_foreign()
        if path.exists():
            self._go_on(path, manifest)
        write_json(path, manifest)

    def _go_on(self, path: Path, wanted: Mapping[str, Any]) -> None:
        """Check that the folder's evaluation is the wanted one; of which one its rows are, only the manifest tells."""

        def complain(path: Path, why: str) -> None:
            for rows in self._files(".+"):
                set_aside(rows, f"of an evaluation of which {MANIFEST} does not tell any more")
            set_aside(path, why)

        found = sound(path, _read_manifest, complain)
        if found is not None:
            self._check(found, wanted)
        for rows in self._files(".+"):
            mend_lines(rows, self._checked)

    def refuse_foreign(self) -> None:
        """Raise ConfigError where the folder holds something else than an evaluation."""
        if shown_names(self.folder) and not (self.folder / MANIFEST).is_file():
            raise ConfigError("the command line", [f"--output {self.folder}: not an evaluation folder; give a new one"])

    def _check(self, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
        wanted = json.loads(json.dumps(wanted))
        changed = [name for name in {**found, **wanted} if found.get(name) != wanted.get(name)]
        if changed:
            what = f"--output {self.folder}: holds another evaluation, which differs in {', '.join(sorted(changed))}"
            raise ConfigError("the command line", [f"{what}; give a new folder, or the same options to go on"])

    def rows(self, weights: str) -> dict[int, dict[str, Any]]:
        """What is done, by prompt number; damaged lines do not count, nor one that was cut off by a kill."""
        rows = [row for path in self._files(re.escape(weights)) for row in sound_lines(path, self._checked)]
        return {row["number"]: row for row in rows}

    def _files(self, weights: str) -> list[Path]:
        """The files of rows of weights that a pattern names; adapters may be called v1 and v1.1."""
        name = re.compile(rf"{weights}\.[0-9]+\.jsonl")
        return sorted(path for path in self.folder.iterdir() if name.fullmatch(path.name))

    def _checked(self, content: Any) -> dict[str, Any]:
        """A row as it stands in its file. Raises ValueError for one of another kind, or of another evaluation."""
        row = _Row.model_validate(content)
        lengths = {len(values) for values in (row.scores | row.signals).values()}
        if lengths != {self.images_per_prompt} or list(row.scores) != self.scores:
            raise ValueError("the scores of another evaluation")
        return content

    def add(self, weights: str, prompts: Sequence[Prompt], judged: Judged) -> None:
        """Append the judged images of some prompts."""
        k = self.images_per_prompt
        spread = diversity(judged.features, k).tolist() if judged.features.shape[1] else [None] * len(prompts)
        tables = {"scores": judged.scores, "signals": judged.signals}
        lines = []
        for i, prompt in enumerate(prompts):
            own = {
                key: {name: values[i * k : (i + 1) * k].tolist() for name, values in table.items()}
                for key, table in tables.items()
            }
            row = {"number": prompt.number, "prompt": prompt.text, **own, "diversity": spread[i]}
            lines.append(json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n")
        path = self.folder / f"{weights}.{self.rank}.jsonl"
        cut_torn_line(path)
        with path.open("a", encoding="utf-8") as file:
            file.writelines(lines)

    def save_images(self, kind: str, weights: str, prompts: Sequence[Prompt], images: Tensor) -> None:
        """Write images uint8 [B, 3, H, W] of prompts, the same number of each side by side, as NUMBER-IMAGE.png."""
        folder = self.folder / kind / weights
        folder.mkdir(parents=True, exist_ok=True)
        for prompt, group in zip(prompts, images.chunk(max(1, len(prompts))), strict=False):
            for index, image in enumerate(group):
                write_atomically(folder / f"{prompt.number:05d}-{index}.png", png(tile(image[None], 1)))

    def has_images(self, kind: str, weights: str, number: int) -> bool:
        """Whether `save_images` wrote all images of a prompt, and they are whole."""
        folder = self.folder / kind / weights
        files = [folder / f"{number:05d}-{index}.png" for index in range(self.images_per_prompt)]
        return all(path.exists() and sound(path, check_picture) for path in files)

    def shown(self, weights: str) -> dict[int, Path]:
        """The first image of the prompts that are shown, by number; damaged ones are left out."""
        found = {}
        for path in picture_files(self.folder / "shown" / weights):
            number, image = path.stem.split("-")
            if int(image) == 0 and sound(path, check_picture):
                found[int(number)] = path
        return found

    def evaluation(
        self,
        weights: str,
        prompts: Sequence[Prompt],
        *,
        steps: int,
        applied: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> Evaluation:
        """The record of all prompts, which are all done; `applied` [P] of scores for some of them only."""
        found = self.rows(weights)
        rows = [found[prompt.number] for prompt in prompts]
        spread = [row["diversity"] for row in rows]
        return Evaluation(
            epoch=0,
            prompts=[prompt.text for prompt in prompts],
            categories=[prompt.category for prompt in prompts],
            images_per_prompt=self.images_per_prompt,
            steps=steps,
            scores=_joined(row["scores"] for row in rows),
            diversity=None if None in spread else spread,
            signals=_joined(row["signals"] for row in rows),
            asked={name: asked.tolist() for name, asked in applied.items()},
        )

    def scores_csv(self, results: Mapping[str, Evaluation]) -> str:
        """A line for each image: weights, number of the prompt and of the image, prompt, scores; empty where failed."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        names = list(next(iter(results.values())).scores)
        writer.writerow(["weights", "number", "image", "prompt", *names])
        for weights, result in results.items():
            k = result.images_per_prompt
            for row, values in enumerate(zip(*(result.scores[name] for name in names), strict=True)):
                cells = ["" if value != value else repr(value) for value in values]
                writer.writerow([weights, row // k, row % k, result.prompts[row // k], *cells])
        return text.getvalue()


class _Row(BaseModel):
    """A line of a file of rows."""

    number: int
    prompt: str
    scores: dict[str, list[float | None]]
    signals: dict[str, list[float | None]]
    diversity: float | None


def _read_manifest(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise ValueError("not a manifest")
    return content


def _joined(tables: Iterable[Mapping[str, Sequence[float | None]]]) -> dict[str, list[float]]:
    """Values of all prompts in order, by name; null as NaN."""
    joined: dict[str, list[float]] = {}
    for table in tables:
        for name, values in table.items():
            joined.setdefault(name, []).extend(float("nan") if value is None else value for value in values)
    return joined
