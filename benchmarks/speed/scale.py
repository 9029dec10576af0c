"""Real size without downloads, on a CUDA card: `python -m benchmarks.speed.scale [--model NAME] [--output FILE.json]`.

Builds the network from its published configuration with random weights and measures rows a second in sampling and
training at 512 px, with each optimisation alone and together, their share of the card's own bf16 matrix rate, peak
memory, decoding and scoring, and an epoch of the paper's setting from them.
"""

import argparse
import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, SD3Transformer2DModel, StableDiffusion3Pipeline

from benchmarks.scores.network_shapes import CLIP_H, QWEN
from benchmarks.scores.networks import random_network
from benchmarks.speed.flops import COUNTED, row_cost
from benchmarks.speed.timing import timed
from fdfo.config.tree import AdapterConfig, AttentionKernel
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.families import Wishes
from fdfo.models.outline import Outline
from fdfo.models.policy import FlowPolicy
from fdfo.models.source import ModelSource
from fdfo.objectives.surrogate import spo, velocity_log_ratio
from fdfo.records import Conditioning

MEDIUM = "stabilityai/stable-diffusion-3.5-medium"
IMAGES = 864
"""Of an epoch of the paper's setting."""
TEXT_TOKENS = 77 + 128
DEVICE = torch.device("cuda")
KERNELS: tuple[AttentionKernel, ...] = ("auto", "flash", "cudnn", "efficient")


def matrix_rate() -> float:
    """TFLOP/s of a large bf16 matrix product on random data."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    return 2 * 8192**3 / timed(lambda: a @ b, 1.0) / 1e12


def cap_memory(gib: float) -> None:
    """Let this process have no more of the card's memory than this."""
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, gib * 2**30 / total))


def random_policy(model: str, adapter: AdapterConfig, checkpointing: bool = False, guidance: float = 1.0) -> FlowPolicy:
    """A policy of the published shapes with random bf16 weights and no text encoders."""
    known = ARCHITECTURES[model]
    with torch.device(DEVICE):
        transformer = SD3Transformer2DModel.from_config(known["transformer/config.json"]).to(torch.bfloat16)
        vae = AutoencoderKL.from_config(known["vae/config.json"]).to(torch.bfloat16)
    pipeline = StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
        vae=vae,
        **dict.fromkeys(f"{part}{n}" for part in ("text_encoder", "tokenizer") for n in ("", "_2", "_3")),
    )
    outline, wishes = Outline.of(ModelSource.find(model)), Wishes(resolution=(512, 512), guidance=guidance)
    policy = FlowPolicy(pipeline, outline.family, wishes, outline.latent_shape(wishes.resolution), device=DEVICE)
    speak_randomly(policy)
    policy.weights.attach(adapter, seed=0)
    if checkpointing:
        policy.enable_checkpointing()
    return policy


def speak_randomly(policy: FlowPolicy) -> None:
    """Let the policy's pipeline, which has no text encoders, say something random of every prompt."""
    config, dtype = policy.pipeline.transformer.config, policy.dtype

    def encode_prompt(num_images_per_prompt: int = 1, **_: Any) -> tuple[torch.Tensor, ...]:
        shapes = ((TEXT_TOKENS, config.joint_attention_dim), (config.pooled_projection_dim,))
        tokens, pooled = (torch.randn(1, *shape, device=policy.device, dtype=dtype) for shape in shapes)
        copied = (tensor.repeat_interleave(num_images_per_prompt, 0) for tensor in (tokens, tokens, pooled, pooled))
        return tuple(copied)

    policy.pipeline.encode_prompt = encode_prompt


def rows_of(policy: FlowPolicy, count: int) -> tuple[torch.Tensor, torch.Tensor, Conditioning]:
    x = torch.randn(count, *policy.latent_shape, device=DEVICE)
    t = torch.linspace(0.1, 0.9, count, device=DEVICE)
    return x, t, policy.encode([f"prompt {number}" for number in range(count)])


def sampling(policy: FlowPolicy, count: int) -> Callable[[], object]:
    """One velocity without gradient."""
    x, t, cond = rows_of(policy, count)

    @torch.no_grad()
    def work() -> object:
        return policy.velocity(x, t, cond)

    return work


def training(policy: FlowPolicy, count: int) -> Callable[[], object]:
    """The loss of a micro-batch and its gradient, as FDFO computes it."""
    x, t, cond = rows_of(policy, count)
    v_ref, direction = torch.randn_like(x), torch.randn_like(x)
    slope = torch.ones(count, device=DEVICE)

    def work() -> object:
        v = policy.velocity(x, t, cond)
        spo(velocity_log_ratio(v, v_ref, direction), slope).sum().backward()
        return None

    return work


def measured(
    name: str, make: Callable[[], Callable[[], object]], count: int, tflop: float, peak: float
) -> dict[str, Any]:
    """Rows a second, TFLOP/s and memory of some work on `count` rows; what went wrong where it did not fit."""
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    start = time.monotonic()
    try:
        work = make()
        work()
        torch.cuda.synchronize()
        first = time.monotonic() - start
        seconds = timed(work)
    except torch.OutOfMemoryError:
        return report({"name": name, "rows": count, "failed": "out of memory"})
    except Exception as error:  # one cell of the table must not end the measurement
        return report({"name": name, "rows": count, "failed": f"{type(error).__name__}: {str(error)[:300]}"})
    rate = count / seconds
    return report(
        {
            "name": name,
            "rows": count,
            "first_s": round(first, 1),
            "rows_per_s": round(rate, 2),
            "tflop_per_s": round(rate * tflop, 1),
            "share": round(rate * tflop / peak, 3),
            "peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2),
        }
    )


def report(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


def decoding(policy: FlowPolicy, count: int) -> Callable[[], object]:
    x = torch.randn(count, *policy.latent_shape, device=DEVICE)

    @torch.no_grad()
    def work() -> object:
        return policy.decode(x)

    return work


def clip_h(count: int) -> Callable[[], object]:
    """PickScore's network, CLIP-H/14 (laion/CLIP-ViT-H-14-laion2B-s32B-b79K), on images of 224 pixels."""
    from transformers import CLIPConfig, CLIPModel

    model = random_network(CLIPModel, CLIPConfig(**CLIP_H), DEVICE, torch.float32)
    pixels = torch.randn(count, 3, 224, 224, device=DEVICE)
    tokens = torch.randint(1, 40_000, (count, 77), device=DEVICE)

    @torch.no_grad()
    def work() -> object:
        return model(input_ids=tokens, pixel_values=pixels).logits_per_image

    return work


def qwen(count: int) -> Callable[[], object]:
    """Qwen2.5-VL-7B asked about images of 512 pixels: 504 x 504, 36 x 36 patches, 324 image tokens, 40 of text."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    config = Qwen2_5_VLConfig(**QWEN)
    model = random_network(Qwen2_5_VLForConditionalGeneration, config, DEVICE, torch.bfloat16)
    tokens = torch.randint(1, 100_000, (count, 364), device=DEVICE)
    tokens[:, 10:334] = config.image_token_id
    inputs = {
        "input_ids": tokens,
        "attention_mask": torch.ones_like(tokens),
        "mm_token_type_ids": (tokens == config.image_token_id).int(),
        "pixel_values": torch.randn(count * 36 * 36, 1176, device=DEVICE, dtype=torch.bfloat16),
        "image_grid_thw": torch.tensor([[1, 36, 36]] * count, device=DEVICE),
    }

    @torch.no_grad()
    def work() -> object:
        return model(**inputs, logits_to_keep=1, use_cache=False).logits

    return work


def optimised(policy: FlowPolicy, mixed: bool, compiled: bool) -> FlowPolicy:
    """The policy with these optimisations on."""
    policy.mixed = mixed
    if compiled:
        policy.compile()
    return policy


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=MEDIUM, choices=sorted(COUNTED))
    parser.add_argument("--output", type=Path, default=Path("scale.json"))
    parser.add_argument("--sample-rows", type=int, default=32)
    parser.add_argument("--train-rows", type=int, default=12)
    parser.add_argument("--cap-gib", type=float, default=24.0)
    parser.add_argument("--cap-only", action="store_true", help="only what is measured under the cap")
    parser.add_argument("--attention-only", action="store_true", help="only the kernels of attention")
    options = parser.parse_args()
    start = time.monotonic()
    peak, cost = matrix_rate(), row_cost(options.model)
    rows: list[dict[str, Any]] = []
    facts = {
        "card": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
        "model": options.model,
        "matrix_tflop_per_s": round(peak, 1),
    }
    print(facts, flush=True)

    def keep(row: dict[str, Any]) -> None:
        rows.append(row)
        facts["seconds"] = round(time.monotonic() - start)
        options.output.write_text(json.dumps({**facts, "measured": rows}, indent=1))

    def both(label: str, policy: FlowPolicy, train_rows: int, sample_rows: int) -> None:
        keep(measured(f"sample, {label}", lambda: sampling(policy, sample_rows), sample_rows, cost.forward, peak))
        keep(measured(f"train, {label}", lambda: training(policy, train_rows), train_rows, cost.trained, peak))

    def uncapped() -> None:
        policy = random_policy(options.model, AdapterConfig())
        for label, mixed, compiled in (
            ("eager, float32 adapters", False, False),
            ("eager, autocast", True, False),
            ("compiled, autocast", True, True),
            ("compiled, float32 adapters", False, True),
        ):
            both(label, optimised(policy, mixed, compiled), options.train_rows, options.sample_rows)
        keep(measured("decode", lambda: decoding(policy, 8), 8, 0.0, peak))
        keep(measured("score, CLIP-H float32", lambda: clip_h(32), 32, 0.0, peak))
        keep(measured("score, Qwen2.5-VL-7B", lambda: qwen(16), 16, 0.0, peak))

    def kernels() -> None:
        policy = random_policy(options.model, AdapterConfig())
        for kernel in KERNELS:
            policy.attend_by(kernel)
            both(f"eager, autocast, {kernel} attention", policy, options.train_rows, options.sample_rows)
        policy.attend_by("cudnn")
        policy.compile()
        both("compiled, autocast, cudnn attention", policy, options.train_rows, options.sample_rows)

    if options.attention_only:
        kernels()
        return
    if not options.cap_only:
        uncapped()
    gc.collect()
    torch.cuda.empty_cache()
    cap_memory(options.cap_gib)
    cap = f"{options.cap_gib:g} GiB cap"
    capped = optimised(random_policy(options.model, AdapterConfig()), True, True)
    optimizer = torch.optim.AdamW(capped.trainable(), fused=True)
    both(f"compiled, autocast, {cap}", capped, 8, 16)
    optimizer.step()  # its state is then there, as in a run
    keep(measured(f"train after a step, {cap}", lambda: training(capped, 8), 8, cost.trained, peak))
    keep(measured(f"decode, {cap}", lambda: decoding(capped, 4), 4, 0.0, peak))
    del optimizer
    capped.enable_checkpointing()
    both(f"compiled, autocast, checkpointing, {cap}", capped, 8, 16)


if __name__ == "__main__":
    main()
