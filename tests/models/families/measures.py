"""How far a family's policy is from its pipeline, in numbers: for tests, and for benchmarks/evidence/families.py."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.testing import assert_close

from fdfo.config.tree import PolicyConfig
from fdfo.flow.solve import integrate
from fdfo.hub import quiet_loading
from fdfo.models.lora_files import LORA_FILE
from fdfo.models.lora_layouts import NO_LOADER
from fdfo.models.policy import FlowPolicy
from fdfo.models.usage import diffusers_code
from tests.models.families.world import PROMPTS, STEPS, World, double


def states(policy: FlowPolicy, count: int) -> Tensor:
    return torch.randn(count, *policy.latent_shape, generator=torch.Generator().manual_seed(1))


def image_error(world: World, guidance: float) -> float:
    """The largest difference between images of two prompts and those of the pipeline itself from the same starts."""
    policy = world.policy(guidance)
    with world.unrounded():
        starts, expected, sigmas = zip(*(world.drawn(prompt, guidance) for prompt in PROMPTS), strict=True)
    assert_close(policy.grid(STEPS), sigmas[0].cpu(), rtol=0, atol=1e-6)
    x = policy.family.layout.unpack(torch.cat(starts), policy.latent_shape)
    cond = policy.encode(PROMPTS)
    with torch.no_grad(), world.unrounded():
        x0 = integrate(lambda x, t: policy.velocity(x, t, cond), x, policy.grid(STEPS).tolist())
        images = policy.decode(x0)
    assert images.shape[-2:] == world.size
    assert images.std() > 1e-3
    return float((images - torch.cat(expected)).abs().max())


def row_error(world: World, guidance: float) -> float:
    """The largest difference between velocities of rows at three times together, and of each alone."""
    policy = world.policy(guidance)
    x, t = states(policy, 3), torch.tensor([0.9, 0.4, 0.7])
    cond = policy.encode([*PROMPTS, PROMPTS[0]])
    errors = []
    with torch.no_grad(), world.unrounded():
        alone = torch.cat([policy.velocity(x[i : i + 1], t[i : i + 1], cond[[i]]) for i in range(3)])
        for together in (False, True):
            policy.branches_together = together
            errors.append(((policy.velocity(x, t, cond) - alone) / alone.abs().clamp_min(1)).abs().max())
    return float(max(errors))


def gradient_error(world: World) -> float:
    """The largest relative difference between gradients and slopes, along a latent and along the adapter."""
    policy = world.policy(1.0)
    generator, errors = torch.Generator().manual_seed(0), []
    with world.unrounded(), double(policy, policy.encode(PROMPTS[:1])) as cond:
        x, weight = torch.randn(2, 1, *policy.latent_shape, generator=generator, dtype=torch.float64)
        for parameter in policy.trainable():
            torch.nn.init.normal_(parameter, std=0.1, generator=generator)

        def value() -> Tensor:
            return (policy.velocity(x, 0.6, cond).double() * weight).sum()

        moved = [[x.requires_grad_()], policy.trainable()]
        value().backward()
        for leaves in moved:
            directions = [torch.randn(leaf.shape, generator=generator).to(leaf) for leaf in leaves]
            scale = (x.numel() / sum(d.square().sum() for d in directions)).sqrt()
            directions = [scale * direction for direction in directions]
            pairs = zip(leaves, directions, strict=True)
            # The last block's text goes nowhere, so it has no gradient.
            told = sum((leaf.grad * d).sum() for leaf, d in pairs if leaf.grad is not None)
            expected = slope(value, leaves, directions, world.case.step)
            assert abs(told) > 1e-3
            errors.append((told - expected).abs() / (expected.abs() + 0.03))  # of slopes that happen to be small
    return float(max(errors))


def slope(value: Callable[[], Tensor], leaves: Sequence[Tensor], directions: Sequence[Tensor], step: float) -> Tensor:
    """The derivative of `value()` as leaves move along directions, each a number's own size: a five-point stencil.

    Some networks compute a part in float32, rounded by 1e-7; a plain difference would need too small a step.
    """
    starts, values = [leaf.detach().clone() for leaf in leaves], {}
    with torch.no_grad():
        for place in (-2, -1, 1, 2):
            for leaf, start, direction in zip(leaves, starts, directions, strict=True):
                leaf.copy_(start + place * step * direction)
            values[place] = value()
        for leaf, start in zip(leaves, starts, strict=True):
            leaf.copy_(start)
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * step)


def lora_error(world: World, folder: Path) -> float | None:
    """The largest difference between the trained adapter and what a fresh pipeline reads of its file; None: nobody."""
    if loader(world) is None:
        return None
    policy = world.policy(1.0)
    values = policy.weights.copy()
    for parameter in policy.trainable():
        torch.nn.init.normal_(parameter)
    policy.save_lora(folder)
    policy.weights.set(values)
    fresh = copy.deepcopy(world.pipeline)
    code = diffusers_code(policy, PolicyConfig(name=str(world.folder)), str(folder), STEPS)
    (loading,) = [line for line in code.splitlines() if line.startswith(f"pipeline.{loader(world)}(")]
    with quiet_loading():
        exec(loading, {"pipeline": fresh})  # the line that a model card shows
    loaded = {name: p for name, p in fresh.transformer.named_parameters() if "lora_" in name}
    saved = load_file(folder / LORA_FILE)
    assert len(saved) == len(loaded) == len(policy.trainable())
    name_of = {name: name.removeprefix("transformer.").replace(".weight", ".default_0.weight") for name in saved}
    return max(float((loaded[name_of[name]].detach() - value).abs().max()) for name, value in saved.items())


def loader(world: World) -> str | None:
    """The method of diffusers that reads a LoRA file of this family: of the pipeline, or else of its transformer."""
    if type(world.pipeline).__name__ in NO_LOADER:
        return None
    return "load_lora_weights" if hasattr(world.pipeline, "load_lora_weights") else "transformer.load_lora_adapter"
