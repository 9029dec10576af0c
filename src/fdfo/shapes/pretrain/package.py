"""Writing the trained models as the folders that ship."""

import shutil
from pathlib import Path

from diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3 import StableDiffusion3Pipeline
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPProcessor

from fdfo.shapes.pretrain.tokenizer import clip_tokenizer
from fdfo.shapes.scene import IMAGE_SIZE


def save_pipeline(pipeline: StableDiffusion3Pipeline, folder: Path, readme: str) -> None:
    """Write the pipeline: transformer and autoencoder in float16, the small text encoders in float32.

    Transformers loads a model in the dtype it was saved in while diffusers converts to float32, so text encoders in
    float16 would make a pipeline of mixed dtypes.
    """
    temporary = _fresh(folder)
    pipeline.transformer.half()
    pipeline.vae.half()
    pipeline.save_pretrained(temporary)
    pipeline.transformer.float()
    pipeline.vae.float()
    _finish(temporary, folder, readme)


def save_contrastive(model: CLIPModel, folder: Path, readme: str) -> None:
    """Write the contrastive model in float16 with its processor."""
    temporary = _fresh(folder)
    model.half().save_pretrained(temporary)
    model.float()
    images = CLIPImageProcessorPil(
        size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        do_center_crop=False,
        crop_size={"height": IMAGE_SIZE, "width": IMAGE_SIZE},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    CLIPProcessor(image_processor=images, tokenizer=clip_tokenizer()).save_pretrained(temporary)
    _finish(temporary, folder, readme)


def _fresh(folder: Path) -> Path:
    temporary = folder.with_name(folder.name + ".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    return temporary


def _finish(temporary: Path, folder: Path, readme: str) -> None:
    (temporary / "README.md").write_text(readme, encoding="utf-8")
    for path in temporary.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.replace(folder)
