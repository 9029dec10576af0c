"""`fdfo export`: trained weights for use elsewhere."""

from pathlib import Path

import torch

from fdfo.errors import CheckpointError, ConfigError
from fdfo.evaluation.runs import load_run_config
from fdfo.models.load import load_policy
from fdfo.training.checkpoint import chosen_checkpoint

FORMATS = ("diffusers", "merged")


def run_export(run: Path, to: str, checkpoint: str, output: Path | None) -> None:
    """Write a LoRA file for diffusers and ComfyUI, or a whole pipeline with the trained weights inside."""
    problems = []
    if to not in FORMATS:
        problems.append(f"--to {to}: expected one of {', '.join(FORMATS)}")
    if checkpoint not in ("best", "latest"):
        problems.append(f"--checkpoint {checkpoint}: expected best or latest")
    if problems:
        raise ConfigError("the command line", problems)
    config = load_run_config(run)
    source = chosen_checkpoint(run, checkpoint)
    folder = output or run / "export"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        policy = load_policy(
            config.policy.name,
            adapter=source,
            device="cpu",
            dtype=getattr(torch, config.policy.dtype),
            text_tokens=config.policy.text_tokens,
            resolution=config.policy.resolution,
            revision=config.policy.revision,
            t5=config.policy.t5 and to == "merged",  # a LoRA file needs no text encoder
        )
        if to == "merged":
            policy.save_merged(folder)
        elif policy.weights.kind == "full":
            raise ConfigError("the command line", ["--to diffusers: this run trained all weights; use --to merged"])
        else:
            policy.save_lora(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror}; give another --output") from error
    print(f"wrote {folder} from checkpoint {source.name}")
