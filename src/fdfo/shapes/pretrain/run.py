"""The whole pre-training: pictures, three stages, measurements, folders."""

from pathlib import Path

import torch

from fdfo.shapes.pretrain.card import Cost, contrastive_card, pipeline_card
from fdfo.shapes.pretrain.components import build_pipeline
from fdfo.shapes.pretrain.data import make_pictures
from fdfo.shapes.pretrain.measure import (
    contrastive_accuracy,
    score_pipeline,
    score_reconstructions,
)
from fdfo.shapes.pretrain.package import save_contrastive, save_pipeline
from fdfo.shapes.pretrain.progress import Progress
from fdfo.shapes.pretrain.settings import Settings
from fdfo.shapes.pretrain.stages import train_contrastive, train_flow, train_vae

CARD_STEPS = 10
CARD_GUIDANCES = (1.0, 2.0, 4.0)
_CARD_SEED = 0


def pretrain(settings: Settings, out: Path, work: Path, device: torch.device, progress: Progress) -> None:
    """Train everything and write `out`/pipeline and, for pictures of one pixel a unit, `out`/contrastive.

    Interrupted at any moment, the same call continues from `work` and ends with the same weights.
    """
    threads = torch.get_num_threads()
    cores = "1 CPU core" if threads == 1 else f"{threads} CPU cores"
    hardware = cores if device.type == "cpu" else "one GPU"
    pictures, picture_seconds = make_pictures(settings, work, progress)
    vae, vae_seconds = train_vae(settings, pictures, work, device, progress)
    net, flow_seconds = train_flow(settings, pictures, vae, work, device, progress)
    seconds = {"pictures": picture_seconds, "autoencoder": vae_seconds, "flow": flow_seconds}
    pipeline = build_pipeline(net, vae, settings.size.shift)
    pipeline.set_progress_bar_config(disable=True)
    measured = {"pictures": settings.card_pictures, "split": "validation", "seed": _CARD_SEED}
    scores = {
        "true pictures through the autoencoder": score_reconstructions(
            vae, **measured, magnification=settings.size.magnification
        )
    }
    for guidance in CARD_GUIDANCES:
        what = "no guidance" if guidance == 1 else f"guidance {guidance:g}"
        scores[what] = score_pipeline(pipeline, guidance=guidance, steps=CARD_STEPS, **measured)
        progress.say(f"{what}: graded {scores[what].graded['all']:.3f}, strict {scores[what].passed['all']:.3f}")
    card = pipeline_card(settings, Cost(seconds=seconds, hardware=hardware), scores, CARD_STEPS)
    save_pipeline(pipeline, out / "pipeline", card)
    if settings.size.magnification > 1:
        return  # the contrastive model of the small world looks at reduced pictures
    model, model_seconds = train_contrastive(settings, work, device, progress)
    accuracy = contrastive_accuracy(model, **measured)
    progress.say(f"contrastive: {accuracy['all']:.3f} of true captions preferred")
    cost = Cost(seconds={"contrastive": model_seconds}, hardware=hardware)
    save_contrastive(model, out / "contrastive", contrastive_card(settings, cost, accuracy))
