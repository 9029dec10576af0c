"""Every family is its own pipeline: same images, gradients that are derivatives, LoRA files that diffusers reads.

The oracle is `pipeline.__call__`, one prompt at a time, on a tiny pipeline with random weights (builders.py).
"""

import inspect

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close

from fdfo.config.tree import AdapterConfig
from fdfo.flow.solve import integrate
from fdfo.hub import quiet_loading
from fdfo.models import load_policy
from fdfo.models.families import FAMILIES
from fdfo.models.policy import LORA_FILE
from fdfo.records import Conditioning
from tests.models.families.builders import CASES
from tests.models.families.more import MORE

ALL = CASES | MORE
PROMPTS = ["a red circle", "three blue squares above a green one"]
SIZE = (64, 32)
"""Height and width."""
STEPS, GUIDANCE, RANK = 3, 2.5, 4


class World:
    """A family's pipeline, its folder, and policies of it."""

    def __init__(self, name, folder):
        self.name, self.case, self.folder = name, ALL[name], folder
        torch.manual_seed(0)
        with quiet_loading():
            self.pipeline = self.case.build()
            self.pipeline.save_pretrained(folder)
        self.pipeline.set_progress_bar_config(disable=True)
        for component in self.pipeline.components.values():
            if isinstance(component, torch.nn.Module):
                component.eval()  # as from_pretrained leaves it
        self.family = FAMILIES[name]
        self.policies = {}

    def policy(self, guidance):
        if guidance not in self.policies:
            self.policies[guidance] = self.load(guidance, adapter=AdapterConfig(rank=RANK, alpha=2 * RANK))
        return self.policies[guidance]

    def load(self, guidance, **options):
        negative = {} if guidance == 1 else {"negative_prompt": self.case.negative}
        own = {"resolution": SIZE, "guidance": guidance, "text_tokens": self.case.tokens, "device": "cpu"}
        return load_policy(self.folder, **own, **negative, **options)

    def drawn(self, prompt, guidance, pipeline=None, steps=STEPS):
        """Its start in the layout of the loop, its image [1, 3, H, W], and its times, by the pipeline alone."""
        pipeline = pipeline or self.pipeline
        starts, scheduler = [], pipeline.scheduler
        step = type(scheduler).step

        def noting(v, t, sample, *rest, **options):
            starts.append(sample)
            return step(scheduler, v, t, sample, *rest, **options)

        options = {} if self.family.scale is None else {self.family.scale: self.family.off + guidance - 1}
        if guidance != 1 and self.case.negative:
            options["negative_prompt"] = self.case.negative
        if self.case.tokens is not None:
            options["max_sequence_length"] = self.case.tokens
        scheduler.step = noting
        try:
            with quiet_loading():
                images = pipeline(
                    prompt=prompt,
                    height=SIZE[0],
                    width=SIZE[1],
                    num_inference_steps=steps,
                    output_type="latent" if pipeline is not self.pipeline else "pt",
                    generator=torch.Generator().manual_seed(len(prompt)),
                    return_dict=False,
                    **dict(self.family.options),
                    **options,
                )[0]
        finally:
            del scheduler.step
        return starts[0], images, scheduler.sigmas


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    return World(request.param, tmp_path_factory.mktemp(request.param))


def pytest_generate_tests(metafunc):
    """With guidance and without, where a family has any."""
    if "guidance" in metafunc.fixturenames:
        both = [(name, guidance) for name, case in ALL.items() for guidance in (1.0, GUIDANCE)[: 1 + case.guided]]
        ids = [f"{name}-{'plain' if guidance == 1 else 'guided'}" for name, guidance in both]
        metafunc.parametrize(("world", "guidance"), both, ids=ids, indirect=["world"], scope="module")
    else:
        metafunc.parametrize("world", ALL, indirect=True, scope="module")


def states(policy, count):
    return torch.randn(count, *policy.latent_shape, generator=torch.Generator().manual_seed(1))


def test_images_are_those_of_the_pipeline(world, guidance):
    policy = world.policy(guidance)
    starts, expected, sigmas = zip(*(world.drawn(prompt, guidance) for prompt in PROMPTS), strict=True)
    assert_close(policy.grid(STEPS), sigmas[0].cpu(), rtol=0, atol=1e-6)
    x = policy.family.layout.unpack(torch.cat(starts), policy.latent_shape)
    cond = policy.encode(PROMPTS)
    with torch.no_grad():
        images = policy.decode(integrate(lambda x, t: policy.velocity(x, t, cond), x, policy.grid(STEPS).tolist()))
    assert images.shape[-2:] == SIZE
    assert images.std() > 1e-3
    assert_close(images, torch.cat(expected), rtol=0, atol=1e-5)


def test_prompts_are_told_apart(world, guidance):
    """Else guidance would be tested on nothing: a template may fill what the network reads."""
    policy = world.policy(guidance)
    a, b = policy.encode(PROMPTS).rows
    assert any(a[name].shape != b[name].shape or not a[name].equal(b[name]) for name in a if name.startswith("0."))
    if guidance != 1:
        pairs = [(a[name], a["1" + name[1:]]) for name in a if name.startswith("0.")]
        assert any(p.shape != n.shape or not p.equal(n) for p, n in pairs)
    x = states(policy, 1)
    with torch.no_grad():
        first, second = (policy.velocity(x, 0.5, policy.encode([prompt])) for prompt in PROMPTS)
    assert (first - second).abs().max() > 1e-4


def test_rows_at_two_times_are_each_what_they_are_alone(world, guidance):
    policy = world.policy(guidance)
    x, t = states(policy, 3), torch.tensor([0.9, 0.4, 0.7])
    cond = policy.encode([*PROMPTS, PROMPTS[0]])
    with torch.no_grad():
        alone = [policy.velocity(x[i : i + 1], t[i : i + 1], cond[[i]]) for i in range(3)]
        for together in (True, False):
            policy.branches_together = together
            assert_close(policy.velocity(x, t, cond), torch.cat(alone), rtol=1e-4, atol=1e-5)
    policy.branches_together = True


def test_gradients_are_derivatives(world):
    policy = world.load(1.0, adapter=AdapterConfig(rank=RANK))
    cond = policy.encode(PROMPTS[:1])
    doubled = [{name: t.double() if t.is_floating_point() else t for name, t in row.items()} for row in cond.rows]
    cond, policy.mixed, policy.dtype = Conditioning(tuple(doubled)), False, torch.float64
    policy.weights.network.double()
    generator = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 1, *policy.latent_shape, generator=generator, dtype=torch.float64)
    for parameter in policy.trainable():
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)

    def value():
        return (policy.velocity(x, 0.6, cond).double() * weight).sum()

    moved = [[x.requires_grad_()], policy.trainable()]
    value().backward()
    for leaves in moved:
        directions = [torch.randn(leaf.shape, generator=generator).to(leaf) for leaf in leaves]
        scale = (x.numel() / sum(d.square().sum() for d in directions)).sqrt()
        directions = [scale * direction for direction in directions]
        pairs = zip(leaves, directions, strict=True)
        told = sum((leaf.grad * d).sum() for leaf, d in pairs if leaf.grad is not None)  # the last text goes nowhere
        assert_close(told, slope(value, leaves, directions), rtol=1e-3, atol=3e-5)
        assert told.abs() > 1e-3


def slope(value, leaves, directions, step=2e-3):
    """The derivative of `value()` as leaves move along directions, each a number's own size: a five-point stencil.

    Velocities are float32 (rounded by 1e-7, so the slope by 1e-4 of its size); a plain difference would need a smaller
    step, and double that.
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


def test_a_lora_file_is_read_back_by_a_fresh_pipeline(world, tmp_path):
    policy = world.policy(1.0)
    values = policy.weights.copy()
    for parameter in policy.trainable():
        torch.nn.init.normal_(parameter)
    policy.save_lora(tmp_path)
    policy.weights.set(values)
    with quiet_loading():
        fresh = type(world.pipeline).from_pretrained(world.folder)
        if hasattr(type(fresh), "load_lora_weights"):
            fresh.load_lora_weights(tmp_path)
        else:
            fresh.transformer.load_lora_adapter(tmp_path, prefix="transformer", weight_name=LORA_FILE)
    loaded = {name: p for name, p in fresh.transformer.named_parameters() if "lora_" in name}
    saved = load_file(tmp_path / LORA_FILE)
    assert len(saved) == len(loaded) == len(policy.trainable())
    for name, value in saved.items():
        assert torch.equal(loaded[name.removeprefix("transformer.").replace(".weight", ".default_0.weight")], value)


def test_a_later_run_reads_its_prompts_from_the_cache(world, tmp_path, monkeypatch):
    guidance = GUIDANCE if world.case.guided else 1.0
    first = world.load(guidance, prompt_cache=tmp_path).encode(PROMPTS)
    again = world.load(guidance, prompt_cache=tmp_path)
    monkeypatch.setattr(again, "_encode_one", lambda text: pytest.fail(f"{text!r} was to be encoded again"))
    assert_close(again.encode(PROMPTS).rows, first.rows, rtol=0, atol=0)


def test_the_network_is_told_the_same_time_in_bfloat16(world, monkeypatch):
    """Pipelines round the time where the latent is rounded: 0.996 and 0.99 may then be one."""
    policy, told = world.load(1.0, dtype=torch.bfloat16), []
    policy.encode(PROMPTS[:1])
    name = policy._recorder.learnt.time
    network, steps = policy.pipeline.transformer, 8
    forward = type(network).forward

    def noting(self, *arguments, **named):
        told.append(inspect.signature(forward).bind(self, *arguments, **named).arguments[name])
        return forward(self, *arguments, **named)

    monkeypatch.setattr(type(network), "forward", noting)
    world.drawn(PROMPTS[0], 1.0, policy.pipeline, steps)
    expected = torch.cat([time[:1] for time in told])
    ours = policy._recorder.learnt.told(policy.grid(steps)[:-1])
    assert_close(ours, expected, rtol=0, atol=0 if ours.dtype == torch.bfloat16 else 1e-7)
