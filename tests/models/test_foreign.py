"""Adapters that other programs made: read as they mean it, with the model itself as the base; all else is refused."""

import copy
import json

import peft
import pytest
import torch
from diffusers.loaders.single_file_utils import convert_sd3_transformer_checkpoint_to_diffusers
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from fdfo.errors import ModelError
from fdfo.models.adapters import find_adapter
from fdfo.models.lora_files import LORA_FILE
from fdfo.models.weights import TrainableWeights
from tests.models.families.builders import flux, stable_diffusion_3
from tests.models.families.components import WIDTH

TARGETS = ["attn.to_q", "attn.add_v_proj"]
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""float32 in another order."""


@pytest.fixture(scope="module")
def pipeline():
    return stable_diffusion_3()


@pytest.fixture(scope="module")
def plain(pipeline):
    """Of the model without any adapter."""
    return evaluated(pipeline.transformer)


def evaluated(network):
    """What a network gives for fixed inputs."""
    generator = torch.Generator().manual_seed(0)
    shapes = (2, 4, 8, 8), (2, 3, 2 * WIDTH), (2, 2 * WIDTH)
    inputs = [torch.randn(shape, generator=generator) for shape in shapes]
    with torch.no_grad():
        return network(*inputs, torch.full((2,), 500.0), return_dict=False)[0]


def loaded(pipeline, place):
    """A network of its own with an adapter."""
    weights = TrainableWeights(copy.deepcopy(pipeline.transformer), ())
    weights.load(place, type(pipeline))
    return weights


def current(weights, which="current"):
    with torch.no_grad(), weights.use(which) as network:
        return evaluated(network)


def trained(pipeline, **options):
    """A PEFT model whose adapter was changed at random."""
    config = LoraConfig(**{"r": 4, "lora_alpha": 12, "target_modules": TARGETS, **options})
    model = peft.get_peft_model(copy.deepcopy(pipeline.transformer), config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return model


FORMS = {
    "gaussian": {"init_lora_weights": "gaussian"},
    "rslora": {"use_rslora": True},
    "patterns": {"rank_pattern": {"attn.to_q": 7}, "alpha_pattern": {"attn.add_v_proj": 3}},
    "dora": {"use_dora": True},
    "pissa": {"init_lora_weights": "pissa"},
    "olora": {"init_lora_weights": "olora"},
    "pissa with patterns": {"init_lora_weights": "pissa", "rank_pattern": {"attn.to_q": 2}},
}


@pytest.mark.parametrize("options", FORMS.values(), ids=FORMS)
def test_a_peft_adapter_is_what_it_was_trained_to_be_on_the_model_itself(pipeline, plain, tmp_path, options):
    model = trained(pipeline, **options)
    model.save_pretrained(tmp_path / "peft")
    weights = loaded(pipeline, tmp_path / "peft")
    assert_close(current(weights), evaluated(model), **CLOSE)
    assert_close(current(weights, "base"), plain)
    assert float((current(weights) - plain).abs().max()) > 1e-3

    network = copy.deepcopy(pipeline.transformer)
    network.load_lora_adapter(weights.plain_lora(), prefix=None)  # every module with its own scale
    assert_close(evaluated(network), evaluated(model), **CLOSE)


def test_trained_biases_are_put_back_for_the_base(pipeline, plain, tmp_path):
    model = trained(pipeline, bias="all")
    model.save_pretrained(tmp_path)
    weights = loaded(pipeline, tmp_path)
    assert_close(current(weights), evaluated(model), **CLOSE)
    assert_close(current(weights, "base"), plain)
    weights.strengthen("none of it", 0.0)
    assert_close(current(weights, "none of it"), plain)
    with pytest.raises(ModelError, match=r"no LoRA file holds the trained .*bias; use --to merged"):
        weights.plain_lora()


def low_rank(model, scale=1.0):
    """The matrices of a PEFT model's adapter by module."""
    layers = {name.removeprefix("base_model.model."): m for name, m in model.named_modules() if hasattr(m, "lora_A")}
    return {n: (m.lora_A["default"].weight.data, scale * m.lora_B["default"].weight.data) for n, m in layers.items()}


LAYOUTS = {
    "diffusers": ("transformer.{}.lora_A.weight", "transformer.{}.lora_B.weight", None),
    "older diffusers": ("transformer.{}.lora.down.weight", "transformer.{}.lora.up.weight", None),
    "comfyui": ("diffusion_model.{}.lora_A.weight", "diffusion_model.{}.lora_B.weight", None),
    "kohya": ("lora_unet_{_}.lora_down.weight", "lora_unet_{_}.lora_up.weight", "lora_unet_{_}.alpha"),
    "onetrainer": (
        "lora_transformer_{_}.lora_down.weight",
        "lora_transformer_{_}.lora_up.weight",
        "lora_transformer_{_}.alpha",
    ),
}


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
def test_files_of_the_usual_layouts_are_read(pipeline, plain, tmp_path, layout):
    """alpha / rank = 12 / 4 is folded into B where the layout has no alpha."""
    model, (down, up, alpha) = trained(pipeline), layout
    tensors = {}
    for name, (a, b) in low_rank(model, 1 if alpha else 3).items():
        names = {"_": name.replace(".", "_")}
        tensors |= {down.format(name, **names): a, up.format(name, **names): b}
        tensors |= {alpha.format(name, **names): torch.tensor(12.0)} if alpha else {}
    save_file(tensors, tmp_path / "own name.safetensors")
    for place in (tmp_path, tmp_path / "own name.safetensors"):
        weights = loaded(pipeline, find_adapter(str(place)))
        assert_close(current(weights), evaluated(model), **CLOSE)
    assert_close(current(weights, "base"), plain)


def test_settings_in_the_header_of_a_file_of_diffusers_count(pipeline, tmp_path):
    """There the scale is not in B."""
    model = trained(pipeline)
    pipeline.save_lora_weights(
        tmp_path,
        transformer_lora_layers=peft.get_peft_model_state_dict(model),
        transformer_lora_adapter_metadata=model.peft_config["default"].to_dict(),
    )
    file = tmp_path / "pytorch_lora_weights.safetensors"
    save_file(
        {key.replace("base_model.model.", ""): value for key, value in load_file(file).items()},
        file,
        {
            "lora_adapter_metadata": json.dumps(
                {"transformer.r": 4, "transformer.lora_alpha": 12, "transformer.target_modules": TARGETS}
            )
        },
    )
    assert_close(current(loaded(pipeline, tmp_path)), evaluated(model), **CLOSE)


def test_the_products_own_export_is_read(pipeline, tmp_path):
    trained(pipeline).save_pretrained(tmp_path / "peft")
    weights = loaded(pipeline, tmp_path / "peft")
    file = tmp_path / LORA_FILE
    save_file({f"transformer.{name}": value for name, value in weights.plain_lora().items()}, file)
    assert_close(current(loaded(pipeline, file)), current(weights), **CLOSE)


def test_a_file_of_kohyas_own_names_goes_through_the_converter_of_diffusers(tmp_path):
    """Names and fused projections of the original FLUX.1; the oracle is the pipeline that loads the same file."""
    pipe = flux()
    before = {name: value.clone() for name, value in pipe.transformer.named_parameters()}
    width = pipe.transformer.inner_dim
    tensors, generator = {}, torch.Generator().manual_seed(2)
    for name, out in {"double_blocks_0_img_attn_qkv": 3 * width, "double_blocks_0_txt_attn_proj": width}.items():
        tensors[f"lora_unet_{name}.lora_down.weight"] = torch.randn(4, width, generator=generator)
        tensors[f"lora_unet_{name}.lora_up.weight"] = torch.randn(out, 4, generator=generator)
        tensors[f"lora_unet_{name}.alpha"] = torch.tensor(2.0)
    save_file(tensors, tmp_path / "kohya.safetensors")
    weights = loaded(pipe, tmp_path / "kohya.safetensors")
    pipe.load_lora_weights(str(tmp_path / "kohya.safetensors"))
    merged = dict(weights.merged().named_parameters())
    pipe.fuse_lora()
    pipe.unload_lora_weights()
    changed = 0
    for name, value in pipe.transformer.named_parameters():
        assert_close(merged[name], value, **CLOSE)
        changed += not torch.equal(value, before[name])
    assert changed == 4  # to_q, to_k, to_v and to_add_out


D = 2 * WIDTH
SIDES = ("x", "context")
ORIGINAL_SD3 = {
    **{f"joint_blocks.{n}.{side}_block.attn.qkv": (3 * D, D) for n in (0, 1) for side in SIDES},
    **{f"joint_blocks.{n}.x_block.attn.proj": (D, D) for n in (0, 1)},
    **{f"joint_blocks.{n}.x_block.mlp.fc1": (4 * D, D) for n in (0, 1)},
    **{f"joint_blocks.{n}.x_block.mlp.fc2": (D, 4 * D) for n in (0, 1)},
    "joint_blocks.0.x_block.attn2.qkv": (3 * D, D),
    "joint_blocks.0.x_block.attn2.proj": (D, D),
    "joint_blocks.0.x_block.adaLN_modulation.1": (9 * D, D),
    "joint_blocks.1.x_block.adaLN_modulation.1": (6 * D, D),
    "joint_blocks.0.context_block.attn.proj": (D, D),
    "joint_blocks.0.context_block.mlp.fc1": (4 * D, D),
    "joint_blocks.0.context_block.mlp.fc2": (D, 4 * D),
    "joint_blocks.0.context_block.adaLN_modulation.1": (6 * D, D),
    "joint_blocks.1.context_block.adaLN_modulation.1": (2 * D, D),  # the last block: of the text, a shift and a scale
    "final_layer.linear": (16, D),
    "final_layer.adaLN_modulation.1": (2 * D, D),
    "t_embedder.mlp.0": (D, 256),
    "t_embedder.mlp.2": (D, D),
    "y_embedder.mlp.0": (D, D),
    "y_embedder.mlp.2": (D, D),
    "context_embedder": (D, D),
}
"""Modules of the original network of the tiny pipeline that may have a LoRA, and the shapes of their weights."""


class Checkpoint(dict):
    """Of the original network; what nobody adapted is zeros."""

    def pop(self, key):
        return super().pop(key, torch.zeros(2 * 3 * D))


@pytest.mark.parametrize("form", ["sd-scripts", "comfyui"])
def test_a_lora_of_the_original_stable_diffusion_3_is_what_diffusers_makes_of_its_checkpoint(pipeline, tmp_path, form):
    """The oracle: the change of the original weights, through the conversion of checkpoints of diffusers."""
    tensors, changes, generator = {}, Checkpoint(), torch.Generator().manual_seed(3)
    for name, (rows, columns) in ORIGINAL_SD3.items():
        down, up = (torch.randn(shape, generator=generator) for shape in ((2, columns), (rows, 2)))
        changes[f"{name}.weight"] = 0.5 * up @ down
        if form == "sd-scripts":
            key = f"lora_unet_{name.replace('.', '_')}"
            tensors |= {f"{key}.lora_down.weight": down, f"{key}.lora_up.weight": up, f"{key}.alpha": torch.tensor(1.0)}
        else:
            key = f"diffusion_model.{name}"
            tensors |= {f"{key}.lora_A.weight": down, f"{key}.lora_B.weight": 0.5 * up}
    save_file(tensors, tmp_path / "lora.safetensors")
    merged = dict(loaded(pipeline, tmp_path / "lora.safetensors").merged().named_parameters())
    wanted = convert_sd3_transformer_checkpoint_to_diffusers(changes)
    adapted = {name for name, change in wanted.items() if change.any()}
    assert len(adapted) == len(ORIGINAL_SD3) + 2 * sum("qkv" in name for name in ORIGINAL_SD3)
    for name, value in pipeline.transformer.named_parameters():
        expected = value + wanted[name].reshape(value.shape) if name in adapted else value
        assert_close(merged[name], expected, **CLOSE)


def test_a_part_of_the_original_stable_diffusion_3_without_a_place_is_refused(pipeline, tmp_path):
    key = "lora_unet_joint_blocks_1_context_block_mlp_fc1"  # the last block has none
    tensors = {f"{key}.lora_down.weight": torch.ones(2, D), f"{key}.lora_up.weight": torch.ones(4 * D, 2)}
    save_file(tensors, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match=r"made for another model, or no LoRA; '.*' does not fit"):
        loaded(pipeline, tmp_path / "lora.safetensors")


def saved(pipeline, folder):
    trained(pipeline).save_pretrained(folder)
    return json.loads((folder / "adapter_config.json").read_text())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"peft_type": "LOHA"}, "an adapter of peft_type 'LOHA' is not read"),
        ({"peft_type": 3}, "an adapter of peft_type 3 is not read"),
        ({"r": "many"}, "r='many'"),
        ({"r": -1}, "r=-1"),
        ({"rank_pattern": [1]}, "rank_pattern"),
        ({"target_modules": None}, "target_modules"),
        ({"target_modules": ["nothing"]}, "made for another model; "),
        ({"init_lora_weights": "corda"}, "init_lora_weights='corda'"),
        ({"init_lora_weights": "pissa_niter_4"}, "init_lora_weights='pissa_niter_4'"),
        ({"modules_to_save": ["proj_out"]}, r"modules_to_save=\['proj_out'\] is not read"),
        ({"a_new_idea": 7}, "a_new_idea=7 is not read"),
        ({"init_lora_weights": "pissa", "use_dora": True}, "DoRA made by pissa is not read"),
    ],
    ids=str,
)
def test_settings_that_are_not_read_are_named_in_one_line(pipeline, peft_folder, change, said):
    content, folder = peft_folder
    (folder / "adapter_config.json").write_text(json.dumps(content | change))
    with pytest.raises(ModelError, match=said) as refused:
        loaded(pipeline, folder)
    assert "\n" not in str(refused.value)


@pytest.fixture(scope="module")
def peft_folder(pipeline, tmp_path_factory):
    folder = tmp_path_factory.mktemp("peft")
    return saved(pipeline, folder), folder


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff", '{"r": 4, "r": 4}', "[" * 5000])
def test_a_damaged_adapter_config_is_one_line(pipeline, peft_folder, text):
    folder = peft_folder[1]
    (folder / "adapter_config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(ModelError, match=r"adapter_config.json: (cannot be read|expected an object)") as refused:
        loaded(pipeline, folder)
    assert "\n" not in str(refused.value)


A, B = torch.zeros(4, 5), torch.zeros(5, 4)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"lora_unet_x.hada_w1_a": A}, "a LoHa adapter"),
        ({"lora_unet_x.lokr_w1": A}, "a LoKr adapter"),
        ({"lora_unet_x.dora_scale": A}, "a kohya's DoRA adapter"),
        ({"lora_te1_x.lora_down.weight": A}, "it adapts a text encoder"),
        ({"transformer.nowhere.lora_A.weight": A}, "made for another model, or no LoRA; 'transformer.nowhere.lora_A"),
        ({"weight": A}, "made for another model, or no LoRA; 'weight' does not fit"),
        ({}, "made for another model, or no LoRA; 'nothing'"),
        ({"transformer_blocks.0.attn.to_q.alpha": torch.tensor(1.0)}, "no matrix of a lower rank"),
        ({"transformer_blocks.0.attn.to_q.lora_A.weight": A}, "made for another model; "),
        (
            {"transformer_blocks.0.attn.to_q.lora_A.weight": A, "transformer_blocks.0.attn.to_q.lora_B.weight": B},
            "made for another model; ",
        ),
    ],
    ids=str,
)
def test_files_that_are_no_lora_of_this_model_are_refused_in_one_line(pipeline, tmp_path, keys, said):
    save_file(keys, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match=said) as refused:
        loaded(pipeline, tmp_path / "lora.safetensors")
    assert "\n" not in str(refused.value)


def test_a_lora_that_is_not_finite_is_refused(pipeline, tmp_path):
    low = low_rank(trained(pipeline))
    tensors = {f"{name}.lora_A.weight": a for name, (a, _) in low.items()}
    tensors |= {f"{name}.lora_B.weight": b for name, (_, b) in low.items()}
    next(iter(tensors.values()))[0, 0] = float("nan")
    save_file(tensors, tmp_path / "lora.safetensors")
    with pytest.raises(ModelError, match=r"lora_A.weight is not finite"):
        loaded(pipeline, tmp_path / "lora.safetensors")


def test_a_folder_with_several_files_asks_which(pipeline, tmp_path):
    for name in ("a.safetensors", "b.safetensors"):
        save_file({"x": A}, tmp_path / name)
    with pytest.raises(ModelError, match=r"several files: name one, as .*a.safetensors"):
        loaded(pipeline, tmp_path)
