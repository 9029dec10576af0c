"""The policy is the diffusers pipeline: same text, same velocity, same images."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from diffusers import FlowMatchEulerDiscreteScheduler
from torch._dynamo.testing import CompileCounter
from torch.testing import assert_close

from fdfo import offload
from fdfo.config.tree import AdapterConfig, PolicyConfig
from fdfo.errors import ModelError
from fdfo.evaluation.heldout import judge_prompts
from fdfo.flow.solve import integrate
from fdfo.models import load_policy
from fdfo.models.load import latent_shape, policy_problems
from fdfo.models.recording import PROBE
from fdfo.models.source import EMBEDDED_TEXT_TOKENS, ModelSource
from fdfo.records import Prompt
from fdfo.shapes.pretrain.components import T5_TOKENS
from tests.nightly import at_night

PROMPTS = ["a red circle", "three blue squares"]


def sample(policy, prompts, x, steps):
    cond = policy.encode(prompts)
    with torch.no_grad():
        x0 = integrate(lambda x, t: policy.velocity(x, t, cond), x, policy.grid(steps).tolist())
        return x0, policy.decode(x0)


@pytest.mark.parametrize("guidance", [1.0, 3.5])
def test_sampling_equals_the_pipeline(pipeline, guidance):
    policy = load_policy("shapes", guidance=guidance)
    x = torch.randn(2, *policy.latent_shape)
    options = {
        "prompt": PROMPTS,
        "latents": x.clone(),
        "num_inference_steps": 6,
        "guidance_scale": guidance,
        "max_sequence_length": EMBEDDED_TEXT_TOKENS,
    }
    latents = pipeline(**options, output_type="latent").images
    images = pipeline(**options, output_type="pt").images
    ours = sample(policy, PROMPTS, x, 6)
    assert_close(ours[0], latents, rtol=0, atol=1e-5)
    assert_close(ours[1], images, rtol=0, atol=1e-5)


def test_grid_is_that_of_the_pipeline(policy):
    scheduler = FlowMatchEulerDiscreteScheduler.from_config(policy.pipeline.scheduler.config)
    scheduler.set_timesteps(10)
    assert_close(policy.grid(10), scheduler.sigmas, rtol=1e-5, atol=1e-6)


def test_text_length_is_that_of_pre_training():
    assert EMBEDDED_TEXT_TOKENS == T5_TOKENS


def test_every_text_is_encoded_once(policy, monkeypatch):
    calls = []
    encode = policy.pipeline.encode_prompt
    monkeypatch.setattr(policy.pipeline, "encode_prompt", lambda **kw: calls.append(kw["prompt"]) or encode(**kw))
    first = policy.encode(["a", "b", "a"])
    again = policy.encode(["b", "c"])
    assert calls == [PROBE, PROBE, "a", "b", "c"]  # and the structure of its calls learnt
    assert first.rows[0] is first.rows[2]
    assert_close(first.rows[1], again.rows[0], rtol=0, atol=0)


def test_encoding_many_prompts_can_be_stopped(policy):
    asked = []

    def stop_at_the_third():
        asked.append(1)
        if len(asked) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        policy.prepare(["one", "two", "three", "four"], watch=stop_at_the_third)
    assert policy._encoded.missing(["one", "two", "three", "four"]) == ["three", "four"]


def test_an_evaluation_can_be_stopped_while_it_encodes(policy):
    texts, asked = ["one", "two", "three"], []

    def stop_at_the_second(done):
        asked.append(done)
        if len(asked) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        judge_prompts(policy, [Prompt(text=text) for text in texts], None, steps=1, seed=0, watch=stop_at_the_second)
    assert policy._encoded.missing(texts) == ["two", "three"]


def test_text_encoders_and_transformer_take_turns_on_the_device(monkeypatch):
    policy = load_policy("shapes", adapter=AdapterConfig(rank=4))
    policy.device = torch.device("cpu", 0)  # the same to compute on, and not the "cpu" of host memory
    pipeline = policy.pipeline
    encoders = [pipeline.text_encoder, pipeline.text_encoder_2, pipeline.text_encoder_3]
    where = dict.fromkeys([policy.weights.network, *encoders], "unknown")
    for module in where:
        monkeypatch.setattr(
            module,
            "to",
            lambda device, module=module: where.update({module: str(device)}) or type(module).to(module, device),
        )
    put_back = offload._put_back
    monkeypatch.setattr(offload, "_put_back", lambda *given: where.update({given[0]: "cpu"}) or put_back(*given))
    seen = []
    encode = pipeline.encode_prompt
    monkeypatch.setattr(pipeline, "encode_prompt", lambda **kw: seen.append([*where.values()]) or encode(**kw))
    policy.encode(["a", "b"])
    assert seen == [["cpu", "cpu:0", "cpu:0", "cpu:0"]] * 4
    assert [*where.values()] == ["cpu:0", "cpu", "cpu", "cpu"]

    where.update(dict.fromkeys(where, "not moved"))
    policy.encode(["b", "a"])
    assert set(where.values()) == {"not moved"}

    def fails(**_):
        raise torch.OutOfMemoryError

    monkeypatch.setattr(pipeline, "encode_prompt", fails)
    with pytest.raises(torch.OutOfMemoryError):
        policy.encode(["c"])
    assert [*where.values()] == ["cpu:0", "cpu", "cpu", "cpu"]

    policy.parks_transformer = False
    where.update(dict.fromkeys(where, "not moved"))
    monkeypatch.setattr(pipeline, "encode_prompt", encode)
    policy.encode(["d"])
    assert [*where.values()] == ["not moved", "cpu", "cpu", "cpu"]


def test_batch_does_not_matter(policy):
    x = torch.randn(5, *policy.latent_shape)
    cond = policy.encode(PROMPTS + PROMPTS + PROMPTS[:1])
    t = torch.rand(5)
    with torch.no_grad():
        together = policy.velocity(x, t, cond)
        alone = torch.cat([policy.velocity(x[i : i + 1], t[i : i + 1], cond[i : i + 1]) for i in range(5)])
    assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_bfloat16_network_returns_float32_velocity_and_trains_float32_adapters():
    policy = load_policy("shapes", adapter=AdapterConfig(rank=4), dtype=torch.bfloat16)
    exact = load_policy("shapes")
    x = torch.randn(2, *policy.latent_shape)
    v = policy.velocity(x, 0.5, policy.encode(PROMPTS))
    v.sum().backward()
    assert v.dtype == torch.float32
    assert {p.dtype for p in policy.trainable()} == {torch.float32}
    with torch.no_grad():
        reference = exact.velocity(x, 0.5, exact.encode(PROMPTS))
    assert float((v.detach() - reference).norm() / reference.norm()) < 0.05


def test_bfloat16_network_trained_whole_keeps_float32_weights():
    policy = load_policy("shapes", adapter=AdapterConfig(kind="full"), dtype=torch.bfloat16)
    policy.velocity(torch.randn(2, *policy.latent_shape), 0.5, policy.encode(PROMPTS)).sum().backward()
    assert {p.dtype for p in policy.trainable()} == {torch.float32}


def test_non_square_images(policy):
    wide = load_policy("shapes", resolution=(24, 32))
    _, images = sample(wide, PROMPTS, torch.randn(2, *wide.latent_shape), 2)
    assert wide.latent_shape == (policy.latent_shape[0], 6, 8)
    assert images.shape == (2, 3, 24, 32)


def test_decoded_images_are_differentiable_and_in_range(policy):
    x0 = torch.randn(1, *policy.latent_shape, requires_grad=True)
    images = policy.decode(x0)
    images.mean().backward()
    assert images.min() >= 0
    assert images.max() <= 1
    assert x0.grad.abs().sum() > 0


def test_tiles_decode_nearly_the_same_images(policy):
    x0, images = sample(policy, PROMPTS, torch.randn(len(PROMPTS), *policy.latent_shape), 10)
    tiled, whole = load_policy("shapes", vae_tile=16), load_policy("shapes", vae_tile=32)
    with torch.no_grad():
        assert torch.equal(whole.decode(x0), images)
        difference = (tiled.decode(x0) - images).abs()
    assert 0 < difference.mean() < 0.05
    problems = policy_problems(PolicyConfig(name="shapes", vae_tile=20))
    assert problems == ["policy.vae_tile: 20 is not a multiple of 16; use 32"]


@pytest.mark.parametrize("kernel", ["flash", "math"])
@pytest.mark.parametrize("checkpointing", [True, at_night(False)])
def test_attention_kernels_agree(monkeypatch, kernel, checkpointing):
    used = []
    attention = F.scaled_dot_product_attention

    def noted(*args, **options):
        used.append((torch.backends.cuda.flash_sdp_enabled(), torch.backends.cuda.math_sdp_enabled()))
        return attention(*args, **options)

    monkeypatch.setattr(F, "scaled_dot_product_attention", noted)
    results = []
    for chosen in ("auto", kernel):
        torch.manual_seed(1)
        policy = load_policy(
            "shapes", adapter=AdapterConfig(rank=4), attention=chosen, gradient_checkpointing=checkpointing
        )
        torch.nn.init.normal_(policy.trainable()[1], std=0.1)
        v = policy.velocity(torch.randn(2, *policy.latent_shape), 0.5, policy.encode(PROMPTS))
        used.clear()
        v.square().sum().backward()
        results.append((v, *(p.grad for p in policy.trainable() if p.grad is not None)))
    assert len(results[0]) > 4
    assert_close(results[0][0], results[1][0], atol=1e-5, rtol=1e-4)
    assert_close(results[0][1:], results[1][1:], atol=1e-4, rtol=1e-3)  # of a sum of 2048 squares
    assert set(used) == ({(kernel == "flash", kernel == "math")} if checkpointing else set())  # recomputed likewise


def test_a_kernel_that_is_not_there_is_explained():
    with pytest.raises(ModelError, match=r"policy.attention=cudnn: not for torch.float32 on cpu"):
        load_policy("shapes", attention="cudnn", device="cpu")


@pytest.mark.parametrize("trained", [False, True])
def test_branches_of_guidance_one_after_the_other(trained):
    policy = load_policy("shapes", guidance=3.0, adapter=AdapterConfig(rank=4))
    x, cond = torch.randn(3, *policy.latent_shape), policy.encode(["a red circle"] * 3)
    results = []
    for together in (True, False):
        policy.branches_together = together
        with torch.set_grad_enabled(trained):
            results.append(policy.velocity(x, 0.5, cond))
    assert_close(*results, atol=1e-5, rtol=1e-4)
    use = policy.take_use()
    assert (use.forward, use.trained) == ((0, 12) if trained else (12, 0))


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_gradient_checkpointing_does_not_change_the_gradient(kind):
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(1)
        policy = load_policy("shapes", adapter=AdapterConfig(kind=kind, rank=4), gradient_checkpointing=checkpointing)
        torch.nn.init.normal_(policy.trainable()[1], std=0.1)
        v = policy.velocity(torch.randn(2, *policy.latent_shape), 0.5, policy.encode(PROMPTS))
        v.square().sum().backward()
        gradients.append([p.grad for p in policy.trainable() if p.grad is not None])
    assert len(gradients[0]) > 4
    assert_close(*gradients)


def test_prompts_are_data(policy):
    strange = ["{prompt} %s {0}", "a\nb", '"quoted"', "word " * 2000, ""]
    cond = policy.encode(strange)
    assert all(tensor.isfinite().all() for row in cond.rows for tensor in row.values())
    assert len(cond) == 5


def test_network_use_counts_rows_and_guidance_twice():
    policy = load_policy("shapes", guidance=2.0)
    x, cond = torch.randn(3, *policy.latent_shape), policy.encode(["a"] * 3)
    policy.velocity(x, 0.5, cond)
    with torch.no_grad():
        policy.velocity(x, 0.5, cond)
    use = policy.take_use()
    assert (use.forward, use.trained) == (6, 6)
    assert (policy.take_use().forward, policy.take_use().trained) == (0, 0)


@pytest.mark.parametrize("name", ["no/such-model-here", "nonexistent folder!"])
def test_unknown_models_are_explained(name):
    with pytest.raises(ModelError, match=name):
        load_policy(name)


def test_a_folder_without_a_pipeline_is_explained(tmp_path):
    with pytest.raises(ModelError, match=r"no model_index.json"):
        ModelSource.find(str(tmp_path))


def test_resolution_is_checked_before_any_weight_is_read():
    problems = "; ".join(policy_problems(PolicyConfig(name="shapes", resolution=(30, 64))))
    assert "height 30 is not a multiple of 8; use 24 or 32" in problems
    assert "width 64 exceeds" in problems
    assert policy_problems(PolicyConfig(name="shapes")) == []


def test_shapes_of_published_models_are_known_without_a_download():
    medium = PolicyConfig(name="stabilityai/stable-diffusion-3.5-medium", resolution=(512, 768))
    assert policy_problems(medium) == []
    assert latent_shape(medium) == (16, 64, 96)
    assert latent_shape(PolicyConfig(name=medium.name)) == (16, 128, 128)


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # torch 2.13: the compiler looks at it while tracing
@pytest.mark.slow
def test_compiled_blocks_give_the_same_velocity_and_are_not_compiled_again(monkeypatch):
    counter, compile_module = CompileCounter(), torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **kw: compile_module(self, backend=counter, **kw))
    adapter = AdapterConfig(rank=4, alpha=8)
    policy, plain = load_policy("shapes", adapter=adapter, compile=True), load_policy("shapes", adapter=adapter)
    x, cond = torch.randn(2, *policy.latent_shape), policy.encode(PROMPTS)

    def all_uses(policy):
        """Velocities to sample and to train by, with the adapters and without, of a batch and of a smaller last one."""
        for rows, weights, gradient in product((2, 1), ("current", "base"), (False, True)):
            with torch.set_grad_enabled(gradient):
                v = policy.velocity(x[:rows], 0.5, cond[range(rows)], weights=weights)
            if v.requires_grad:
                v.square().sum().backward()
            yield v.detach()

    for ours, expected in zip(all_uses(policy), all_uses(plain), strict=True):
        assert_close(ours, expected, rtol=0, atol=1e-5)
    graphs = counter.frame_count
    assert graphs > 0
    for _ in range(2):
        list(all_uses(policy))
    assert counter.frame_count == graphs
