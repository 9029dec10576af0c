"""What goes with an exported adapter: its model card, pictures, the configuration, and a workflow for ComfyUI."""

from pathlib import Path
from shutil import copyfile

from fdfo import __version__
from fdfo.commands.licence import NOT_KNOWN, NOT_STATED, licence_of
from fdfo.config.run_folder import CONFIG, load_run_config
from fdfo.evaluation.card import SHEET, Use, model_card
from fdfo.files import write_atomically
from fdfo.models.source import ModelSource

CARD = "README.md"


def write_card(run: Path, folder: Path, checkpoint: str, use: Use, licence: str | None) -> None:
    """Write the card, its pictures and the configuration beside the exported weights."""
    config = load_run_config(run)
    found = licence or licence_of(ModelSource.find(config.policy.name, config.policy.revision).location)
    stated = None if found in (NOT_STATED, NOT_KNOWN) else found
    epoch = int(checkpoint.rpartition("-")[2])
    card, sheet = model_card(run, config, epoch, use, licence=stated, version=__version__)
    write_atomically(folder / CARD, str(card) + "\n")
    copyfile(run / CONFIG, folder / CONFIG)
    if sheet is not None:
        write_atomically(folder / SHEET, sheet)
