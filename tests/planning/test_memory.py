"""The plan against what was allocated: exactly on small models, and within 15 % of the peaks of a real card."""

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchmarks.speed.timing import peak_bytes
from fdfo.config.load import load_config
from fdfo.config.tree import RewardConfig
from fdfo.flow.noise import NoiseStreams
from fdfo.models import load_policy
from fdfo.models.load import policy_from_config
from fdfo.models.sizes import policy_sizes
from fdfo.planning import batches
from fdfo.planning.batches import planner
from fdfo.planning.describe import USABLE_SHARE
from fdfo.planning.memory import GIB, Batches, largest_batches, memory_plan, peak, trained_bytes
from fdfo.planning.scores import score_bytes
from fdfo.plugins import find
from fdfo.records import Prompt, Scores
from tests.nightly import at_night

DATA = Path(__file__).parents[2] / "docs" / "results" / "data"

HOW = {"compile": False, "gradient_checkpointing": False}
"""How a policy is computed is no part of its sizes."""

counted = cache(policy_sizes)


def sizes_of(policy, row=None):
    """Its sizes; each policy is counted once for all tests, for a network of full depth takes seconds."""
    assert row is None, "all of these are in the table"
    return counted(policy.model_copy(update=HOW))


@pytest.fixture(autouse=True)
def planners_that_count_once(monkeypatch):
    monkeypatch.setattr(batches, "policy_sizes", sizes_of)


def test_how_a_policy_is_computed_is_no_part_of_its_sizes():
    policy = load_config("shapes", ["policy.compile=true", "policy.gradient_checkpointing=true"]).policy
    assert policy_sizes(policy) == sizes_of(policy)


def plan_of(config, batches):
    method = find("methods", config.method.name)(config.method)
    return memory_plan(config, method, sizes_of(config.policy), {}, batches)


def kept(policy, forward):
    """Bytes of distinct storages, beside parameters, that a real forward pass keeps for the backward pass."""
    modules = (policy.weights.network, policy.pipeline.vae)
    parameters = {p.untyped_storage().data_ptr() for module in modules for p in module.parameters()}
    seen = {}

    def note(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in parameters:
            seen[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = forward()
    assert output.requires_grad
    return sum(size for size, _ in seen.values())


def kept_by_a_row(policy, forward):
    """What forward(rows) keeps of one of them."""
    return (kept(policy, lambda: forward(6)) - kept(policy, lambda: forward(2))) / 4


@pytest.mark.parametrize("adapter", ["lora", at_night("full")])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("guidance", [at_night(1.0), 2.0])
def test_what_a_row_keeps(adapter, checkpointing, guidance):
    overrides = [f"policy.adapter.kind={adapter}", f"policy.gradient_checkpointing={str(checkpointing).lower()}"]
    config = load_config("shapes", [*overrides, f"policy.guidance={guidance}"])
    policy = policy_from_config(config.policy, seed=0, device="cpu")
    policy.encode([""])  # what guidance leads away from is encoded once, without gradient

    def forward(rows):
        return policy.velocity(torch.randn(rows, *policy.latent_shape), 0.5, policy.encode(["a red circle"] * rows))

    sizes = sizes_of(config.policy)
    planned = (sizes.saved_inputs if checkpointing else sizes.saved) * (1 if guidance == 1 else 2)
    assert planned == pytest.approx(kept_by_a_row(policy, forward), rel=0.15)


@pytest.mark.parametrize(
    ("recipe", "changes", "evaluations"),
    [
        ("shapes-refl", [], 1),
        ("shapes-draft", ["method.last_steps=1"], 1),
        ("shapes-draft", ["method.last_steps=3", "method.checkpointing=false"], 3),
        ("shapes-draft", ["method.last_steps=3", "method.checkpointing=true"], 0),  # until the backward pass
    ],
)
def test_what_a_row_keeps_whose_score_is_differentiated(recipe, changes, evaluations):
    config = load_config(recipe, ["method.steps=4", *changes])
    policy, sizes = policy_from_config(config.policy, seed=0, device="cpu"), sizes_of(config.policy)
    method = find("methods", config.method.name)(config.method)
    assert method.kept_evaluations == max(1, evaluations)

    def forward(rows):
        prompts = [Prompt(text="a red circle", number=number) for number in range(rows)]
        scores = Scores(total=torch.ones(rows), components={}, batch=torch.ones(rows))
        items = method.credit(method.rollout(policy, prompts, NoiseStreams(0, 0)), scores)
        part = items.rows(torch.arange(rows), torch.zeros(rows, dtype=torch.int64))
        return method.loss(policy, part, lambda images, prompts, metadata: images.mean((1, 2, 3))).losses

    planned = evaluations * sizes.saved + sizes.decoder_saved
    assert planned == pytest.approx(kept_by_a_row(policy, forward), rel=0.15)


def test_tiles_that_overlap_keep_more_for_the_gradient():
    config = load_config("shapes", ["policy.vae_tile=16"])
    whole = sizes_of(load_config("shapes", []).policy).decoder_saved
    policy = policy_from_config(config.policy, seed=0, device="cpu")

    def forward(rows):
        return policy.decode(torch.randn(rows, *policy.latent_shape).requires_grad_())

    planned = sizes_of(config.policy).decoder_saved
    assert planned == pytest.approx(1.25**2 * whole, rel=1e-6)
    assert planned == pytest.approx(kept_by_a_row(policy, forward), rel=0.15)


@pytest.mark.parametrize("recipe", ["sd35-draft", "sd35-refl"])
def test_rows_whose_score_is_differentiated_are_fewer(recipe):
    """The compiled network keeps 1.5 GiB of a row, its image 2.8 in the decoder and more while it is decoded."""
    config = load_config(recipe, [])
    assert sizes_of(config.policy).decoder_saved / GIB == pytest.approx(2.78, abs=0.01)
    batches, plan = planner(config, torch.device("cuda"))(round(USABLE_SHARE * 80 * GIB))
    assert batches.micro_batch == 8
    trained = plan.phases["train"]
    assert trained["decoding with gradient"] > 8 * 2.78 * GIB
    assert trained["scores with gradient (estimate)"] == pytest.approx(8 * 0.2 * 4 * 986_109_441)


def test_images_whose_score_gradient_is_copied_are_decoded_all_at_a_time():
    config = load_config("sd35-medium-paper", ["reward=[pickscore]", "method.direction=score_gradient"])
    batches, plan = planner(config, torch.device("cuda"))(round(USABLE_SHARE * 80 * GIB))
    assert batches.sample_batch == 4
    assert plan.phases["decode"]["activations"] > 8 * 2.78 * GIB
    assert plan.resident("score") > plan.resident("decode")
    assert "decoding with gradient" not in plan.phases["train"]


@pytest.mark.parametrize("adapter", ["lora", "full"])
def test_weights_are_counted_exactly(adapter):
    config = load_config("shapes", [f"policy.adapter.kind={adapter}"])
    policy = policy_from_config(config.policy, seed=0, device="cpu")
    sizes = sizes_of(config.policy)
    trained = sum(parameter.nbytes for parameter in policy.trainable())
    in_all = sum(parameter.nbytes for parameter in policy.weights.network.parameters())
    base = sum(value.nbytes for value in policy.weights.snapshots.get("base", {}).values())
    assert sizes.trained == trained
    tables = sum(buffer.nbytes for buffer in policy.weights.network.buffers())
    assert tables > 0, "of positions"
    assert sizes.frozen == in_all - trained + base + tables
    plain = load_policy("shapes", device="cpu").pipeline
    assert sizes.decoder == sum(parameter.nbytes for parameter in plain.vae.parameters())
    encoders = (plain.text_encoder, plain.text_encoder_2, plain.text_encoder_3)
    assert sizes.text_encoders == sum(p.nbytes for encoder in encoders for p in encoder.parameters())


@pytest.mark.parametrize(
    "overrides",
    [
        ["policy.adapter.kind=lora"],
        ["policy.adapter.kind=full"],
        ["policy.gradient_checkpointing=true"],
    ],
    ids=lambda overrides: overrides[0].partition(".")[2],
)
def test_peaks_of_whole_phases_on_a_cpu(overrides):
    """The factors are those of a card's kernels; what a CPU's need is less, and at most 15 % beyond the plan."""
    config, rows = load_config("shapes", overrides), 64
    policy = policy_from_config(config.policy, seed=0, device="cpu")
    x, cond = torch.randn(rows, *policy.latent_shape), policy.encode(["a red circle"] * rows)

    def train():
        policy.velocity(x, 0.5, cond).square().mean().backward()

    def without_gradient(work):
        with torch.no_grad():
            return peak_bytes(work, x.device)

    without_gradient(lambda: policy.velocity(x, 0.5, cond))  # joins the conditioning of the rows, which then stays
    phases = plan_of(config, Batches(rows, rows // 2)).phases
    planned = {phase: phases[phase]["activations"] for phase in ("sample", "decode", "train")}
    planned["train"] += phases["train"]["gradients"]
    measured = {
        "sample": without_gradient(lambda: policy.velocity(x, 0.5, cond)),
        "decode": without_gradient(lambda: policy.decode(x)),
        "train": peak_bytes(train, x.device),
    }
    for phase, peak_of_phase in measured.items():
        assert 0.55 < peak_of_phase / planned[phase] < 1.15, phase


@pytest.fixture(scope="module")
def medium():
    config = load_config("sd35-medium-paper", ["policy.compile=true"])
    return config, sizes_of(config.policy)


@pytest.mark.parametrize(("file", "count"), [("scale-h200.json", 12), ("scale-h200-cap.json", 6)])
def test_peaks_of_a_real_card(medium, file, count):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    measured = {row["name"]: row for row in json.loads((DATA / file).read_text())["measured"]}

    def planned(name, rows):
        """GiB; the benchmark had an optimizer in one case only, and recorded nothing."""
        policy = {"compile": "eager" not in name, "gradient_checkpointing": "checkpointing" in name}
        own = config.model_copy(update={"policy": config.policy.model_copy(update=policy)})
        phase = name.split(",")[0].split()[0]
        parts = memory_plan(own, method, sizes, {}, Batches(rows, rows // 2)).phases[phase]
        absent = {"recorded states", "images", *(() if "after a step" in name else ("optimizer",))}
        return sum(size for part, size in parts.items() if part not in absent) / GIB

    names = [name for name in measured if name.startswith(("sample", "train", "decode"))]
    assert len(names) == count
    for name in names:
        row = measured[name]
        assert planned(name, row["rows"]) == pytest.approx(row["peak_gib"], rel=0.15), name


@pytest.mark.parametrize(
    ("entry", "row"), [("pickscore", "score, CLIP-H float32"), ("vlm-alignment", "score, Qwen2.5-VL-7B")]
)
def test_peaks_of_scores_on_a_real_card(medium, entry, row):
    """Without a policy beside them, as they were measured."""
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    weights = score_bytes(load_config("sd35-medium-paper", {"reward": [entry]}).reward[0])
    phase = memory_plan(config, method, sizes, {"it": weights}, Batches(1, 1), ["it"]).phases["score"]
    measured = {one["name"]: one["peak_gib"] for one in json.loads((DATA / "scale-h200.json").read_text())["measured"]}
    planned = phase["largest offloaded score"] + phase["activations"]
    assert planned / GIB == pytest.approx(measured[row], rel=0.15)


def rehearsed():
    recipes = json.loads((DATA / "memory-virtual.json").read_text())["recipes"]
    kinds = [pytest.param, *[at_night] * (len(recipes) - 1)]
    named = [(one, f"{one['recipe']} {one['card_gib']:.0f} {one['changes'][-1]}") for one in recipes]
    return [kind(one, id=name) for kind, (one, name) in zip(kinds, named, strict=True)]


@pytest.mark.parametrize("one", rehearsed())
def test_peaks_of_full_size_recipes_on_virtual_cards(one):
    """The plan alone has what kernels need beside their results (of the decoder's convolutions, a fifth), and an upper
    estimate of what a score keeps for its gradient."""
    plan_on = planner(load_config(one["recipe"], one["changes"]), torch.device("cuda"))
    batches, plan = plan_on(round(one["card_gib"] * USABLE_SHARE * GIB))
    assert (batches.micro_batch, batches.sample_batch) == (one["micro_batch"], one["sample_batch"])
    assert one["halved"] == []
    for phase in ("sample", "decode", "score", "train"):
        beyond = 0.2 if phase == "decode" or "scores with gradient (estimate)" in plan.phases[phase] else 0.15
        counted, planned = one["counted_gib"][phase], plan.resident(phase) / GIB
        assert (1 - beyond) * planned < counted < 1.07 * planned, phase  # a tenth is reserved
    standing = plan.phases["sample"].items()
    network = sum(size for part, size in standing if part not in ("activations", "recorded states"))
    there = max(plan.resident("encode"), network) / GIB  # it leaves for the text encoders, and comes back
    assert one["counted_gib"]["encode"] == pytest.approx(there, rel=0.15)


@pytest.mark.parametrize("size", [24, 48, 80])
@pytest.mark.parametrize("preset", ["sd35-medium-{}gb", "sd35-medium-fast"])
def test_presets_fit_the_cards_they_name(preset, size):
    usable = round(USABLE_SHARE * size * GIB)
    _, plan = planner(load_config(preset.format(size), []), torch.device("cuda"))(usable)
    assert peak(plan) <= usable
    assert plan.unknown_scores == ()


def test_a_card_without_a_reserve_still_samples_many_prompts_at_a_time():
    """On 24 GB the 7B model beside the policy takes the reserve whatever is sampled; images are little beside it."""
    config = load_config("sd35-medium-fast", [])
    batches, plan = planner(config, torch.device("cuda"))(round(USABLE_SHARE * 24 * GIB))
    assert plan.resident("score") > 0.9 * USABLE_SHARE * 24 * GIB
    assert (batches.micro_batch, batches.sample_batch) == (8, 16)
    assert planner(config, torch.device("cuda"))(20 * GIB)[0].sample_batch == 1  # it does not fit at all


def test_a_score_in_a_folder_without_weights_is_of_unknown_size(tmp_path):
    entry = RewardConfig(name="pickscore", model=str(tmp_path))
    assert score_bytes(entry) is None
    save_file({"a": torch.zeros(10)}, tmp_path / "model.safetensors")
    assert score_bytes(entry) == 40


@pytest.mark.parametrize(
    ("device", "own", "counts"),
    [("cuda", "cuda:1", True), ("cuda:0", "cuda", True), ("cuda:1", "cuda", False), ("cpu", "cuda", False)],
)
def test_a_score_counts_where_it_shares_the_device(device, own, counts):
    config = load_config("sd35-medium-paper", {"reward": [{"name": "pickscore", "device": device}]})
    _, plan = planner(config, torch.device(own))(80 * GIB)
    assert all(("score pickscore" in parts) == counts for parts in plan.phases.values())


def test_the_largest_batches_that_fit(medium):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)

    def plan(batches):
        return memory_plan(config, method, sizes, {}, batches)

    found = largest_batches(plan, 24 * GIB, 2)
    assert 1 < found.micro_batch < 64
    assert plan(found).resident("train") <= 24 * GIB < plan(Batches(2 * found.micro_batch, 1)).resident("train") * 1.2
    assert largest_batches(plan, GIB, 2) == Batches(1, 1, branches_together=False)
    assert largest_batches(plan, 10**15, 2) == Batches(64, 16)


def test_the_network_is_not_there_while_prompts_are_encoded(medium):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    phases = memory_plan(config, method, sizes, {"a": GIB}, Batches(1, 1)).phases
    assert phases["encode"]["text encoders"] == sizes.text_encoders
    assert {"transformer", "adapter"} <= phases["train"].keys() - phases["encode"].keys()
    assert phases["encode"]["score a"] == phases["train"]["score a"] == GIB


def test_host_memory_of_the_smallest_preset():
    plan = planner(load_config("sd35-medium-24gb", []), torch.device("cuda"))(round(USABLE_SHARE * 24 * GIB))[1]
    sizes = sizes_of(load_config("sd35-medium-24gb", []).policy)
    assert plan.host["text encoders"] == sizes.text_encoders
    assert plan.host["transformer while they are encoded"] == sizes.frozen + sizes.trained
    clip_h, clip_l, hpsv2, vlm = (
        986_109_441,
        427_616_513,
        986_109_441,
        8_292_166_656,
    )  # parameters; the CLIPs in float32
    assert plan.host["scores that take turns"] == pytest.approx(4 * (clip_h + clip_l + hpsv2) + 2 * vlm, rel=1e-3)


def test_images_wait_for_scores_that_take_turns():
    plans = [planner(load_config(f"sd35-medium-{size}gb", []), torch.device("cuda"))(80 * GIB)[1] for size in (24, 48)]
    assert [plan.waiting for plan in plans] == [864 * 3 * 512 * 512 * 4, 2 * 384 * 3 * 512 * 512 * 4]
    assert planner(load_config("sd35-medium-80gb", []), torch.device("cuda"))(80 * GIB)[1].waiting == 0


def test_what_no_plan_knows_is_told():
    config = load_config("sd35-medium-paper", ["eval.diversity=dreamsim"])
    assert "dreamsim" in planner(config, torch.device("cuda"))(80 * GIB)[1].unknown_scores[0]


def test_recorded_states_count_until_they_leave(medium):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    together, unseen, apart = (
        memory_plan(config, method, sizes, {"pickscore": GIB, "unseen": GIB}, Batches(1, 4), offloaded)
        for offloaded in ((), ["unseen"], ["pickscore"])
    )
    recorded = together.trajectories * 4 // config.prompts.pairs_per_epoch
    for phase in ("sample", "decode", "score"):
        assert together.phases[phase]["recorded states"] == recorded
    assert unseen.phases["score"]["recorded states"] == recorded
    assert "recorded states" not in apart.phases["score"]
    assert together.phases["score"]["images"] == 8 * 3 * 512 * 512 * 4


def test_sharded_weights_stay_for_the_text_encoders(medium):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    phases = memory_plan(config, method, sizes, {}, Batches(1, 1), shards=4).phases
    assert phases["encode"]["transformer"] == phases["train"]["transformer"] == sizes.frozen // 4


def test_many_images_of_a_prompt_are_sampled_with_fewer_prompts(medium):
    config, sizes = medium
    method = find("methods", config.method.name)(config.method)
    given = [largest_batches(lambda b: memory_plan(config, method, sizes, {}, b), 10**15, n) for n in (1, 2, 24, 64)]
    assert [batches.sample_batch for batches in given] == [16, 16, 1, 1]


def test_checkpointing_and_compilation_keep_less(medium):
    config, sizes = medium

    def with_policy(**changes):
        return config.model_copy(update={"policy": config.policy.model_copy(update=changes)})

    row = Batches(1, 1)
    plain = trained_bytes(with_policy(compile=False), sizes, row)
    assert trained_bytes(config, sizes, row) < plain
    assert trained_bytes(with_policy(gradient_checkpointing=True), sizes, row) < plain / 5


def test_branches_of_guidance_part_where_they_do_not_fit_together():
    config = load_config("sd35-medium-paper", ["policy.guidance=4.5", "policy.gradient_checkpointing=true"])
    method, sizes = find("methods", config.method.name)(config.method), sizes_of(config.policy)

    def plan(batches):
        return memory_plan(config, method, sizes, {}, batches)

    apart = Batches(1, 1, branches_together=False)
    needed = {at_a_time: plan(at_a_time).resident("train") for at_a_time in (Batches(1, 1), apart)}
    assert needed[apart] < needed[Batches(1, 1)]
    between = round(sum(needed.values()) / 2 / 0.9)  # less the reserve
    assert not largest_batches(plan, between, 2).branches_together
    assert largest_batches(plan, 24 * GIB, 2).branches_together


def test_tiles_take_less_memory_to_decode():
    def decoding(*overrides):
        return plan_of(load_config("shapes", list(overrides)), Batches(1, 4)).phases["decode"]["activations"]

    assert decoding("policy.vae_tile=16") == pytest.approx(decoding() / 4)
    assert decoding("policy.vae_tile=64") == decoding()
