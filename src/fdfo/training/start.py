"""Finds weights by a name (an adapter, or the best checkpoint of a run), and those from which a run starts."""

import os
from pathlib import Path

from fdfo.config.tree import PolicyConfig
from fdfo.evaluation.runs import CHECKPOINTS
from fdfo.models.adapters import find_adapter
from fdfo.training.checkpoint import chosen_checkpoint


def weights_place(name: str) -> Path:
    """The file or folder of weights that a name means: a run's best checkpoint, or what `find_adapter` finds.

    Raises ModelError or CheckpointError.
    """
    if os.path.isdir(Path(name) / CHECKPOINTS):  # Path.is_dir raises where a name is too long
        return chosen_checkpoint(Path(name), "best")
    return find_adapter(name)


def start_of(config: PolicyConfig) -> Path | None:
    """The file or folder of the weights from which a run starts, or None. Raises as `weights_place`."""
    return None if config.adapter.start is None else weights_place(config.adapter.start)
