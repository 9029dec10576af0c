"""`fdfo export`: trained weights for use elsewhere."""

import json
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import cast

from fdfo.commands.terminal import say
from fdfo.config.tree import Config
from fdfo.errors import CheckpointError, ConfigError
from fdfo.guard.files import is_file_name

FORMATS = ("diffusers", "comfyui", "kohya", "merged")
DTYPES = ("float32", "bfloat16", "float16")


def run_export(
    run: Path,
    to: str,
    checkpoint: str | None,
    output: Path | None,
    dtype: str | None = None,
    *,
    card: bool = False,
    licence: str | None = None,
) -> None:
    """Write a LoRA file in a layout that others read, or a whole pipeline with the trained weights inside.

    With `card`, also a model card, pictures, the configuration and a workflow for ComfyUI.
    """
    folder = output or run / "export"
    chosen = export_to(run, to, checkpoint, folder, dtype, card_for=str(folder) if card else None, licence=licence)
    say(f"wrote {folder} from checkpoint {chosen}")


def export_to(
    run: Path,
    to: str,
    checkpoint: str | None,
    folder: Path,
    dtype: str | None = None,
    *,
    card_for: str | None,
    licence: str | None,
) -> str:
    """Write into a folder, with a card for a repository of this name if there is one; the checkpoint's name.

    Raises ConfigError, CheckpointError or ModelError.
    """
    problems = [] if dtype in (None, *DTYPES) else [f"--dtype {dtype}: expected one of {', '.join(DTYPES)}"]
    if to not in FORMATS:
        problems.append(f"--to {to}: expected one of {', '.join(FORMATS)}")
    if card_for is not None and to != "diffusers":
        problems.append("--card describes a LoRA for diffusers; leave it out, or use --to diffusers")
    from fdfo.config.run_folder import load_run_config, owner_of

    if owner := owner_of(folder):
        problems.append(f"--output {folder}: it belongs to the run in {owner}; give another folder")
    if problems:
        raise ConfigError("the command line", problems)

    config = load_run_config(run)
    settings = config.policy
    if card_for is not None and is_file_name(settings.name):
        raise ConfigError("the command line", ["--card describes a pipeline of diffusers; a policy of a file has none"])
    if to != "merged" and settings.adapter.kind == "full":
        raise ConfigError("the command line", [f"--to {to}: this run trained all weights; use --to merged"])
    import torch

    if to == "merged" and settings.quantize is not None:
        problem = (
            f"--to merged: the run kept its network in few bits (policy.quantize={settings.quantize}), into which "
        )
        raise ConfigError("the command line", [problem + "nothing is merged; use --to diffusers"])
    from fdfo.locks import one_writer
    from fdfo.models.load import configured_policy
    from fdfo.models.lora_layouts import LoraLayout
    from fdfo.models.source import ModelSource

    source = _chosen(run, checkpoint)
    if to == "merged" and not settings.t5:
        # As large as the model was: diffusers loads no folder that lacks it without being told.
        base = ModelSource.find(settings.name, settings.revision)
        settings = settings.model_copy(update={"t5": base.has("text_encoder_3") and base.has("tokenizer_3")})
        say("the run left T5 out: give diffusers text_encoder_3=None and tokenizer_3=None to draw as it did")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with one_writer(folder, "wait until it has ended, or give another --output"):
            # A LoRA file needs no text encoder.
            policy = configured_policy(settings, adapter=source, device="cpu", reads_text=to == "merged")
            precision = None if dtype is None else getattr(torch, dtype)
            if to == "merged":
                policy.save_merged(folder, precision)
            else:
                policy.save_lora(folder, cast(LoraLayout, to), precision, facts(config, source.name))
            if card_for is not None:
                from fdfo.commands.card import write_card
                from fdfo.evaluation.card import Use
                from fdfo.models.comfy import write_workflow
                from fdfo.models.policy import of_pipeline
                from fdfo.models.usage import base_name, diffusers_code, is_on_hub

                drawn = of_pipeline(policy)
                code = diffusers_code(drawn, settings, card_for, config.eval.steps)
                use = Use(card_for, base_name(settings), is_on_hub(settings), code, drawn.resolution)
                write_card(run, folder, source.name, use, licence)
                write_workflow(folder, drawn, settings, config.eval.steps)
    except OSError as error:
        raise CheckpointError(f"cannot write {folder}: {error.strerror}; give another --output") from error
    return source.name


def facts(config: Config, checkpoint: str) -> dict[str, str]:
    """What a LoRA file says of itself in its header: what it is for, how to draw with it, and where it comes from."""
    from fdfo.models.usage import base_name

    policy = config.policy
    base = base_name(policy)
    content = config.model_dump(mode="json")
    found = {
        "base_model": base if policy.revision is None else f"{base}@{policy.revision}",
        "resolution": policy.resolution and "x".join(map(str, reversed(policy.resolution))),
        "guidance": policy.guidance,
        "embedded_guidance": policy.embedded_guidance,
        "text_tokens": policy.text_tokens,
        "steps": config.eval.steps,
        "score": ", ".join(f"{entry.weight:g} {entry.title}" for entry in config.reward),
        "method": content["method"]["name"],
        "checkpoint": checkpoint,
        "run_sha256": sha256(json.dumps(content, sort_keys=True).encode()).hexdigest(),
        "fdfo": version("fdfo"),
    }
    return {"format": "pt"} | {f"fdfo.{key}": str(value) for key, value in found.items() if value is not None}


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
