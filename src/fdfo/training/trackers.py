"""Sends numbers, pictures before and after, and pairs to trackers such as TensorBoard."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pydantic import BaseModel, Field

from fdfo.config.tree import Config
from fdfo.evaluation.pictures import read_grid
from fdfo.evaluation.sheet import sheet
from fdfo.files import write_json
from fdfo.own import numbered, numbered_name, read_json, set_aside, sound
from fdfo.training.distributed import Team

FILE = "tracking.json"
SHOWN = 8
"""Number of prompts on a sheet."""
SIGNS = 6
"""Characters of a run's id behind its name, for trackers that tell runs apart by name alone."""


class Tracking(BaseModel):
    """Content of tracking.json: the id by which trackers know the run after a restart."""

    id: str = Field(pattern="^[0-9a-z]{8,32}$")


class Trackers:
    """The trackers that a run names. Every process starts and ends them; process 0 sends to them."""

    def __init__(self, config: Config, run: Path, team: Team):
        self._config, self._run, self._accelerator = config, run, team.accelerator
        self._is_used = bool(config.log.trackers) and team.is_main

    def start(self) -> None:
        """Begin, or go on under the same id and name; what they write of their own is in the run folder."""
        if not self._config.log.trackers:
            return
        log, where = self._config.log, str(self._run)
        name, key = log.name or self._run.name, self._id()
        options: dict[str, dict[str, Any]] = {
            "wandb": {"dir": where, "name": name, "tags": list(log.tags), "id": key, "resume": "allow"},
            # It finds the run to go on with by its name alone, which other folders may have as well.
            "trackio": {"name": f"{name}-{key[:SIGNS]}", "resume": "allow", "embed": False},
        }
        self._accelerator.project_configuration.set_directories(where)
        settings = flat(self._config.model_dump(mode="json"))
        self._accelerator.init_trackers(log.project, config=settings, init_kwargs=options)

    def _id(self) -> str:
        if not self._is_used:
            return ""
        path = self._run / FILE
        kept = sound(path, lambda file: Tracking.model_validate(read_json(file)), set_aside) if path.exists() else None
        if kept is None:
            kept = Tracking(id=secrets.token_hex(8))
            write_json(path, kept.model_dump())
        return kept.id

    def log(self, numbers: Mapping[str, float], epoch: int) -> None:
        """Send the numbers of an epoch."""
        for tracker in self._accelerator.trackers if self._is_used else ():
            # accelerate before 1.15 does not tell trackio the step.
            (tracker.tracker if tracker.name == "trackio" else tracker).log(dict(numbers), step=epoch)

    def show_samples(self, epoch: int) -> None:
        """Send the pictures of an evaluation below those before training."""
        if self._is_used:
            self._show("samples", before_after(self._run / "samples", epoch), epoch)

    def show_pairs(self, epoch: int) -> None:
        """Send the kept pairs, or larger groups, of an epoch, one in a row."""
        if self._is_used:
            with Image.open(self._run / "samples" / numbered_name("pairs", epoch, ".png")) as picture:
                self._show("pairs", picture.convert("RGB"), epoch)

    def _show(self, title: str, picture: Image.Image, epoch: int) -> None:
        for tracker in self._accelerator.trackers:
            if tracker.name == "tensorboard":
                tracker.tracker.add_image(title, np.asarray(picture), epoch, dataformats="HWC")
            elif tracker.name == "wandb":
                tracker.log_images({title: [picture]}, step=epoch)
            elif tracker.name == "trackio":
                import trackio

                tracker.tracker.log({title: trackio.Image(picture)}, step=epoch)

    def end(self) -> None:
        """End all trackers."""
        if self._config.log.trackers:
            self._accelerator.end_training()


def before_after(samples: Path, epoch: int) -> Image.Image:
    """A sheet of the first prompts: their pictures before training, and below each that of an epoch."""
    first = min(numbered(samples, "epoch", ".png"))
    epochs = [first] if first == epoch else [first, epoch]
    grids = [read_grid(samples / numbered_name("epoch", one, ".png")) for one in epochs]
    rows = [torch.from_numpy(np.stack([np.asarray(tile) for tile in tiles[:SHOWN]])) for _, tiles in grids]
    pictures = torch.stack(rows, 1).permute(0, 1, 4, 2, 3)[:, :, None]  # [P, W, 1, 3, H, W']
    return sheet(pictures, grids[0][0].titles[:SHOWN], [f"epoch {one}" for one in epochs], [""])


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str | int | float | bool]:
    """Nested settings as `section.key`, with values that every tracker takes."""
    settings: dict[str, str | int | float | bool] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            settings.update(flat(value, f"{prefix}{key}."))
        else:
            settings[prefix + key] = value if isinstance(value, str | int | float | bool) else str(value)
    return settings
