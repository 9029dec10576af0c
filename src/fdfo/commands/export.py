"""`fdfo export`: trained weights for use elsewhere."""

from pathlib import Path

from fdfo.commands.tell import say
from fdfo.errors import CheckpointError, ConfigError

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
    from fdfo.evaluation.runs import load_run_config

    settings = load_run_config(run).policy
    if to == "diffusers" and settings.adapter.kind == "full":
        raise ConfigError("the command line", ["--to diffusers: this run trained all weights; use --to merged"])
    from fdfo.locks import one_writer
    from fdfo.models.load import configured_policy
    from fdfo.training.checkpoint import chosen_checkpoint

    source = chosen_checkpoint(run, checkpoint)
    folder = output or run / "export"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder, "wait until it has ended, or give another --output"):
            # A LoRA file needs no text encoder.
            policy = configured_policy(settings, adapter=source, device="cpu", reads_text=to == "merged")
            (policy.save_merged if to == "merged" else policy.save_lora)(folder)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror}; give another --output") from error
    say(f"wrote {folder} from checkpoint {source.name}")
