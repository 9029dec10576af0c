"""Every family is its own pipeline: same images, gradients that are derivatives, LoRA files that diffusers reads.

The oracle is `pipeline.__call__`, one prompt at a time, on a tiny pipeline with random weights (builders.py).
"""

import inspect
from functools import wraps

import pytest
import torch
from torch.testing import assert_close

from fdfo.config.tree import PolicyConfig
from fdfo.errors import ModelError
from fdfo.hub import quiet_loading
from fdfo.models.prompt_cache import PromptCache
from fdfo.models.reading import reading_notes
from tests.models.families.measures import gradient_error, image_error, loader, lora_error, row_error, states
from tests.models.families.world import ALL, PROMPTS, STEPS, World
from tests.nightly import by_day


@pytest.fixture(scope="module")
def world(request, tmp_path_factory):
    return World(request.param, tmp_path_factory.mktemp(request.param))


DAILY = (
    *("StableDiffusion3Pipeline", "FluxPipeline", "Flux2KleinPipeline", "ZImagePipeline", "QwenImagePipeline"),
    *("SanaPipeline", "CogView4Pipeline", "OvisImagePipeline"),
)
"""One of each layout, guidance and encoder, and those that most people train; the rest at night."""


def pytest_generate_tests(metafunc):
    metafunc.parametrize("world", by_day(DAILY, ALL), indirect=True, scope="module")


def test_images_are_those_of_the_pipeline(world):
    for guidance in world.guidances:
        assert image_error(world, guidance) < 1e-5


def test_prompts_are_told_apart(world):
    """Else guidance would be tested on nothing: a template may fill what the network reads."""
    policy = world.policy(world.guidances[-1])
    a, b = policy.encode(PROMPTS).rows
    assert any(a[name].shape != b[name].shape or not a[name].equal(b[name]) for name in a if name.startswith("0."))
    if world.case.guided:
        pairs = [(a[name], a["1" + name[1:]]) for name in a if name.startswith("0.")]
        assert any(p.shape != n.shape or not p.equal(n) for p, n in pairs)
    x = states(policy, 1)
    with torch.no_grad():
        first, second = (policy.velocity(x, 0.5, policy.encode([prompt])) for prompt in PROMPTS)
    assert (first - second).abs().max() > 1e-4


def test_rows_at_two_times_are_each_what_they_are_alone(world):
    for guidance in world.guidances:
        assert row_error(world, guidance) < 2e-5


def test_gradients_are_derivatives(world):
    assert gradient_error(world) < 1e-3


def test_a_lora_file_is_read_back_by_a_fresh_pipeline(world, tmp_path):
    if loader(world) is not None:
        assert lora_error(world, tmp_path) == 0
        return
    with pytest.raises(ModelError, match="no loader of LoRA"):
        world.policy(1.0).save_lora(tmp_path)


def test_a_call_takes_latents_as_the_page_says(world, monkeypatch):
    """docs/how-to/use-the-lora.md: packed, but for those of FLUX.2 and FLUX.3, which pack them."""

    class Begun(Exception):
        pass

    def stop(_, v, t, sample, *rest, **named):
        raise Begun(sample)

    policy = world.policy(1.0)
    x = states(policy, 1)
    packed = policy.family.layout.pack(x)
    given = x if world.name.startswith(("Flux2", "Flux3")) else packed
    monkeypatch.setattr(type(world.pipeline.scheduler), "step", stop)
    with quiet_loading(), pytest.raises(Begun) as begun:
        world.case.call(world.pipeline, prompt=PROMPTS[0], latents=given, **policy.own_call(STEPS))
    assert_close(begun.value.args[0], packed, rtol=0, atol=0)


def test_a_later_run_reads_its_prompts_from_the_cache(world, tmp_path):
    rows = dict(zip(PROMPTS, world.policy(world.guidances[-1]).encode(PROMPTS).rows, strict=True))
    PromptCache(tmp_path, "this", 1.0).fill(PROMPTS, rows.__getitem__)
    later = PromptCache(tmp_path, "this", 1.0)
    assert not later.missing(PROMPTS)
    assert_close([later[prompt] for prompt in PROMPTS], list(rows.values()), rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # of torch, in Krea 2's norm
def test_the_network_is_told_the_same_time_in_bfloat16(world, monkeypatch):
    """Pipelines round the time where the latent is rounded: 0.996 and 0.99 may then be one."""
    policy, told = world.policy(1.0, torch.bfloat16), []
    policy.encode(PROMPTS[:1])
    name = policy._recorder.learnt.time
    network, steps = policy.pipeline.transformer, 8
    forward = type(network).forward

    @wraps(forward)  # the signature is looked at
    def noting(self, *arguments, **named):
        told.append(inspect.signature(forward).bind(self, *arguments, **named).arguments[name])
        return forward(self, *arguments, **named)

    monkeypatch.setattr(type(network), "forward", noting)
    world.drawn(PROMPTS[0], 1.0, policy.pipeline, steps)
    expected = torch.cat([time[:1] for time in told])
    ours = policy._recorder.learnt.told(policy.grid(steps)[:-1])
    tolerance = {"rtol": 0, "atol": 0} if ours.dtype == torch.bfloat16 else {"rtol": 2e-7, "atol": 1e-7}
    assert_close(ours, expected, **tolerance)


def test_what_no_encoder_reads_is_counted(world):
    """Two prompts that differ beyond what is read are one to the network; a short one is not counted."""
    texts = ["x " * 700 + "red", "x " * 700 + "blue", "a red circle"]
    first, second, _ = world.policy(1.0).encode(texts).rows
    if not world.case.cuts:
        assert any(first[name].shape != second[name].shape or not first[name].equal(second[name]) for name in first)
        assert not reading_notes(PolicyConfig(name=str(world.folder)), texts)
        return
    assert all(torch.equal(first[name], second[name]) for name in first)
    (line,) = reading_notes(PolicyConfig(name=str(world.folder), text_tokens=world.case.tokens), texts)
    assert line.startswith("2 of 3 prompts have more than")
