"""`fdfo export`: trained weights for use elsewhere."""

from pathlib import Path

from fdfo.commands.tell import say
from fdfo.errors import CheckpointError, ConfigError

FORMATS = ("diffusers", "merged")


def run_export(run: Path, to: str, checkpoint: str | None, output: Path | None) -> None:
    """Write a LoRA file for diffusers and ComfyUI, or a whole pipeline with the trained weights inside."""
    problems = []
    if to not in FORMATS:
        problems.append(f"--to {to}: expected one of {', '.join(FORMATS)}")
    if problems:
        raise ConfigError("the command line", problems)
    from fdfo.evaluation.runs import load_run_config

    settings = load_run_config(run).policy
    if to == "diffusers" and settings.adapter.kind == "full":
        raise ConfigError("the command line", ["--to diffusers: this run trained all weights; use --to merged"])
    from fdfo.locks import one_writer
    from fdfo.models.load import configured_policy

    source = _chosen(run, checkpoint)
    if to == "merged" and not settings.t5:  # diffusers loads no folder without it
        settings = settings.model_copy(update={"t5": True})
        say("the run left T5 out: give diffusers text_encoder_3=None and tokenizer_3=None to draw as it did")
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


def _chosen(run: Path, wanted: str | None) -> Path:
    """The checkpoint of this name, or `best` or `latest`; the best where none is named. Raises CheckpointError."""
    from fdfo.training.checkpoint import COMPLETE, chosen_checkpoint

    folder = run / "checkpoints"
    there = sorted(path.parent.name for path in folder.glob(f"*/{COMPLETE}"))
    pointers = [name for name in ("best", "latest") if (folder / name).is_file()]
    if wanted is None and there and "best" not in pointers:
        say("no checkpoint is marked as the best one: taking the latest")
    if wanted in (None, "latest", *pointers):
        return chosen_checkpoint(run, wanted or "best")
    if wanted not in there:
        names = ", ".join([*pointers, *there]) or "none"
        raise CheckpointError(f"--checkpoint {wanted}: no such checkpoint in {folder}; there are: {names}")
    return folder / wanted
