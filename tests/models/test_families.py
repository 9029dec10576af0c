"""What a family's line decides, what asking finds out, and what is refused."""

import inspect
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import diffusers
import pytest
import torch
from torch.testing import assert_close

from fdfo import plugins
from fdfo.config.tree import PolicyConfig
from fdfo.errors import ModelError
from fdfo.flow.guidance import renormed_down
from fdfo.models import load_policy, outline
from fdfo.models.decoding import decode, on_white
from fdfo.models.families import JOINT_ATTENTION, KANDINSKY_SIZES, REFUSED, Family, with_mask
from fdfo.models.load import policy_notes, policy_problems


class HousePipeline(diffusers.StableDiffusion3Pipeline):
    """Of a package of somebody else."""


@pytest.fixture
def variant(folder, tmp_path):
    """Makes a copy of the embedded pipeline with changed values in some of its small files, by path."""

    def make(**changes):
        for path in Path(folder).rglob("*"):
            copy = tmp_path / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            name = str(path.relative_to(folder))
            if name in changes:
                copy.write_text(json.dumps(json.loads(path.read_text()) | changes[name]))
            elif path.is_file():
                copy.symlink_to(path)
        return str(tmp_path)

    return make


def problems(name, **settings):
    return "; ".join(policy_problems(PolicyConfig(name=name, **settings)))


def test_a_folder_without_t5_is_told_how_to_go_on(variant):
    name = variant(**{"model_index.json": {"text_encoder_3": [None, None], "tokenizer_3": [None, None]}})
    told = "the folder has no text_encoder_3, tokenizer_3, which its pipeline needs; add policy.t5=false"
    assert problems(name) == told
    assert problems(name, t5=False) == ""
    with pytest.raises(ModelError, match=told):
        load_policy(name, text_tokens=1)
    load_policy(name, text_tokens=1, t5=False)


def test_an_index_that_names_t5_is_not_enough(variant):
    name = variant()
    for part in ("text_encoder_3", "tokenizer_3"):
        shutil.rmtree(Path(name) / part)
    assert "has no text_encoder_3, tokenizer_3" in problems(name)
    assert problems(name, t5=False) == ""


def test_what_no_setting_replaces_is_told_and_what_diffusers_can_do_without_is_not(variant):
    index = {"tokenizer_2": [None, None], "image_encoder": [None, None], "feature_extractor": [None, None]}
    told = problems(variant(**{"model_index.json": index}))
    assert told == "the folder has no tokenizer_2, which its pipeline needs; give a whole pipeline folder"


def test_a_package_adds_a_family_in_one_line(variant, monkeypatch, policy):
    line = Family(JOINT_ATTENTION, pipeline=HousePipeline)
    point = SimpleNamespace(name="HousePipeline", value="house:line", load=lambda: line)
    monkeypatch.setattr(plugins, "entry_points_of", lambda kind: [point] if kind == "families" else [])
    theirs = load_policy(variant(**{"model_index.json": {"_class_name": "HousePipeline"}}), text_tokens=1)
    assert type(theirs.pipeline) is HousePipeline
    x = torch.randn(1, *policy.latent_shape)
    with torch.no_grad():
        ours, other = (p.velocity(x, 0.5, p.encode(["a red circle"])) for p in (policy, theirs))
    assert_close(other, ours)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("UnheardPipeline", "a UnheardPipeline, which is not among .*FluxPipeline.*add a line for its family"),
        *(
            (name, f"a {name} cannot be trained here: {re.escape(reason)}; use another")
            for name, reason in REFUSED.items()
        ),
        ("FluxKontextPipeline", "an image is a part of its prompt"),
    ],
)
def test_what_is_not_supported_is_told_with_the_reason(variant, kind, said):
    with pytest.raises(ModelError, match=said):
        policy_problems(PolicyConfig(name=variant(**{"model_index.json": {"_class_name": kind}})))


@pytest.mark.parametrize(
    ("changes", "settings", "said"),
    [
        ({}, {"embedded_guidance": 3.5}, "policy.embedded_guidance: this model's network reads no guidance"),
        ({"transformer/config.json": {"use_meanflow": True}}, {}, "a flow map between two times"),
        (
            {"model_index.json": {"transformer_2": ["diffusers", "WanTransformer3DModel"]}},
            {},
            "its network is two, one for each part of the path",
        ),
        ({"model_index.json": {"is_distilled": True}}, {"guidance": 3}, "policy.guidance=3: this model is distilled"),
        ({"scheduler/scheduler_config.json": {"stochastic_sampling": True}}, {}, "has stochastic_sampling: true"),
        ({"scheduler/scheduler_config.json": {"invert_sigmas": True}}, {}, "has invert_sigmas: true"),
        (
            {"model_index.json": {"scheduler": ["diffusers", "DDIMScheduler"]}},
            {},
            "DDIMScheduler, has no path of flow",
        ),
        ({"model_index.json": {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}}, {"shift": 2}, "policy.shift"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_cannot_be_honoured_is_refused_before_loading(variant, changes, settings, said):
    assert said in problems(variant(**changes), **settings)


def test_a_pipeline_with_a_list_of_sizes_draws_those_alone(variant):
    """It would draw the nearest shape of its list for any other."""
    index, network = {"_class_name": "Kandinsky5T2IPipeline"}, {"pos_embed_max_size": None}
    name = variant(**{"model_index.json": index, "transformer/config.json": network})
    assert "[512, 768] is none of the sizes that its pipeline draws" in problems(name, resolution=[512, 768])
    assert "use [768, 1280]" in problems(name, resolution=[512, 768])
    own = inspect.getsource(diffusers.Kandinsky5T2IPipeline.__init__)
    assert f"self.resolutions = {[(w, h) for h, w in KANDINSKY_SIZES]}" in own


def test_a_package_that_the_pipeline_needs_is_named_before_loading(variant, monkeypatch):
    name = variant(**{"model_index.json": {"_class_name": "PRXPipeline"}})
    assert problems(name) == ""
    monkeypatch.setattr(outline, "find_spec", lambda package: None)
    assert re.search(r"its pipeline needs ftfy, not installed here; install it: .* -m pip install ftfy", problems(name))


def test_a_mask_of_text_is_there_even_where_all_is_let_through():
    text = torch.zeros(2, 8, 16)
    found = with_mask({"hidden_states": text, "encoder_hidden_states": text})
    assert [*found] == ["hidden_states", "encoder_hidden_states", "encoder_hidden_states_mask"]
    assert_close(found["encoder_hidden_states_mask"], torch.ones(2, 8, dtype=torch.long))
    mask = torch.tensor([[1, 0]])
    assert with_mask({"encoder_hidden_states": text, "encoder_hidden_states_mask": mask})[
        "encoder_hidden_states_mask"
    ].equal(mask)


def test_an_image_with_opacity_is_seen_on_white():
    """Half-transparent black is grey; what is not there is white, whatever its colour."""
    black, red = [0.0, 0.0, 0.0, 0.5], [1.0, 0.0, 0.0, 0.0]
    image = torch.tensor([black, red]).T.reshape(1, 4, 1, 2)
    assert_close(on_white(image)[0, :, 0].T, torch.tensor([[0.5] * 3, [1.0] * 3]))


def test_guidance_may_shorten_a_velocity_and_not_lengthen_it():
    """By hand: 0 + 2 ((3, 4) - 0) = (6, 8) is cut to (3, 4); (4, 5) + 2 ((3, 4) - (4, 5)) = (2, 3) is short enough."""
    positive = torch.tensor([[[3.0, 4.0], [3.0, 4.0]]])
    negative = torch.tensor([[[0.0, 0.0], [4.0, 5.0]]])
    v = renormed_down(negative, positive, 2.0)
    assert_close(v, torch.tensor([[[3.0, 4.0], [2.0, 3.0]]]))


def test_another_scheduler_of_a_flow_is_swapped_and_told(variant):
    flow = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    index = {"scheduler": ["diffusers", "UniPCMultistepScheduler"]}
    name = variant(**{"model_index.json": index, "scheduler/scheduler_config.json": flow})
    assert problems(name) == ""
    (note,) = policy_notes(PolicyConfig(name=name))
    assert "a UniPCMultistepScheduler: Euler steps between the same times take its place" in note
    assert policy_notes(PolicyConfig()) == []
    own = diffusers.UniPCMultistepScheduler(**flow)
    own.set_timesteps(5)
    grid = load_policy(name, text_tokens=1).grid(5)
    assert_close(grid[1:], own.sigmas[1:], rtol=0, atol=1e-6)
    assert grid[0] == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"shift": 3.0},
        {"use_dynamic_shifting": True},
        {"use_dynamic_shifting": True, "time_shift_type": "linear"},
        {"shift": 2.0, "shift_terminal": 0.02},
        {"use_karras_sigmas": True},
        {"use_exponential_sigmas": True},
        {"use_beta_sigmas": True},
    ],
    ids=str,
)
def test_every_setting_of_the_scheduler_is_in_the_grid(policy, settings):
    pipeline = policy.pipeline
    pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(**settings)
    grid = policy.grid(6)
    height, width = policy.resolution
    pipeline("a", height=height, width=width, num_inference_steps=6, max_sequence_length=1, output_type="latent")
    assert_close(grid, pipeline.scheduler.sigmas, rtol=0, atol=1e-6)


def test_a_shift_of_ones_own_takes_the_place_of_the_schedulers():
    expected = diffusers.FlowMatchEulerDiscreteScheduler(shift=2.5)
    expected.set_timesteps(4)
    policy = load_policy("shapes", shift=2.5)
    policy.pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    assert_close(policy.grid(4), expected.sigmas, rtol=0, atol=1e-6)


def test_a_grid_that_does_not_start_at_noise_is_refused(policy):
    policy.pipeline.scheduler = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=10)
    policy.pipeline.scheduler.set_timesteps(3)
    policy._recorder._asking.times = lambda *_, **__: (torch.tensor([0.5, 0.2, 0.0]), torch.tensor([5.0, 2.0]))
    with pytest.raises(ModelError, match=r"2 steps go \[0.5, 0.2.*\], not down from 1 to 0"):
        policy.grid(2)


def test_times_that_are_told_otherwise_than_by_a_shift_are_refused():
    """A shift of 3 of the times 0.75, 0.5, 0.25 makes 0.9, 0.75, 0.5 of them; 0.8 is none of it."""
    policy, told = load_policy("shapes"), torch.tensor([1000.0, 750, 500, 250])
    for odd, expected in ((0.75, 3.0), (0.8, None)):
        sigmas = torch.tensor([1.0, 0.9, odd, 0.5, 0.0])
        policy._recorder._asking.times = lambda *_, sigmas=sigmas, **__: (sigmas, told)
        if expected:
            policy._recorder.learn(policy.pipeline.transformer, policy.device, policy.dtype)
            assert_close(policy._recorder.learnt.told(sigmas[:-1]), told, rtol=1e-6, atol=0)
        else:
            with pytest.raises(ModelError, match="which no shift explains; set another scheduler"):
                policy._recorder.learn(policy.pipeline.transformer, policy.device, policy.dtype)


def test_a_model_that_draws_another_size_is_refused(policy):
    policy._recorder.state_shape = (8, 4, 4)
    with pytest.raises(ModelError, match=r"it draws another size"):
        policy.encode(["a"])


def test_a_prompt_with_another_structure_is_refused(policy):
    policy.encode(["a"])
    encode = policy._recorder._asking.record

    def odd(*arguments, **options):
        asked = encode(*arguments, **options)
        asked.calls[0]["joint_attention_kwargs"] = {"scale": 2}
        return asked

    policy._recorder._asking.record = odd
    with pytest.raises(ModelError, match=r"the prompt 'b' changes more than tensors.*leave it out"):
        policy.encode(["b"])


class Neighbourly(torch.nn.Module):
    """A decoder of 8 x 8 pixels an element, in whose images the others of a batch show, as on CPUs."""

    config: ClassVar = {"block_out_channels": [1] * 4, "scaling_factor": 1.0}
    dtype = torch.float32

    def decode(self, x, return_dict):
        image = (x + 1e-3 * (x - x.mean(0))).repeat_interleave(8, -1).repeat_interleave(8, -2)
        return (image[:, :3],)


@pytest.mark.parametrize(("height", "alone"), [(32, True), (31, False)])
def test_large_images_are_decoded_one_by_one_on_a_cpu(height, alone):
    x = torch.rand(2, 4, height, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
    images = decode(Neighbourly(), x, {})
    assert torch.equal(images, torch.cat([decode(Neighbourly(), one, {}) for one in x.split(1)])) is alone
    assert images.shape == (2, 3, 8 * height, 256) and images.requires_grad
