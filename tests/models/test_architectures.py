"""Published models without a download: parameters as their weight files list them, and the rows they are given."""

import diffusers
import pytest
import torch
import transformers

from fdfo.config.load import load_config
from fdfo.hub import quiet_loading
from fdfo.models.architectures import ARCHITECTURES
from fdfo.models.architectures.further import OVIS_TEXT
from fdfo.models.architectures.parts import (
    GEMMA2_2B,
    MISTRAL_SMALL_24B,
    QWEN3_4B,
    QWEN3_8B,
    QWEN3_VL_4B,
    QWEN25_VL_7B,
)
from fdfo.models.load import policy_problems


def parameters(network):
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("black-forest-labs/FLUX.1-dev", 11_901_408_320),
        ("black-forest-labs/FLUX.2-klein-4B", 3_875_544_576),
        ("black-forest-labs/FLUX.2-klein-9B", 9_078_581_248),
        ("black-forest-labs/FLUX.2-dev", 32_223_281_152),
        ("Tongyi-MAI/Z-Image", 6_154_908_736),
        ("Qwen/Qwen-Image", 20_430_401_088),
        ("krea/Krea-2-Raw", 12_820_073_036),
        ("AIDC-AI/Ovis-Image-7B", 14_740_899_456 // 2),
        ("Wan-AI/Wan2.1-T2V-1.3B-Diffusers", 1_418_996_800),
        ("Efficient-Large-Model/Sana_1600M_1024px_BF16_diffusers", 1_604_462_752),
        ("Photoroom/prx-512-t2i", 1_170_691_648),
    ],
)
def test_networks_have_the_published_number_of_parameters(name, published):
    files = ARCHITECTURES[name]
    with quiet_loading(), torch.device("meta"):
        network = getattr(diffusers, files["model_index.json"]["transformer"][1]).from_config(
            files["transformer/config.json"]
        )
    assert parameters(network) == published


@pytest.mark.parametrize(
    ("encoder", "published"),
    [
        (("Qwen3ForCausalLM", QWEN3_4B), 4_022_468_096),
        (("Qwen3ForCausalLM", QWEN3_8B), 8_190_735_360),
        (QWEN25_VL_7B, 8_292_166_656),
        (MISTRAL_SMALL_24B, 24_011_361_280),
        (GEMMA2_2B, 2_614_341_888),
        (QWEN3_VL_4B, 4_437_815_808),
        (OVIS_TEXT, 1_720_574_976),
    ],
)
def test_text_encoders_have_the_published_number_of_parameters(encoder, published):
    kind = getattr(transformers, encoder[0])
    with quiet_loading(), torch.device("meta"):
        assert parameters(kind(kind.config_class(**encoder[1]))) == published


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_each_known_model_can_be_used_as_it_is(name):
    settings = load_config("sd35-medium-paper", [f"policy.name={name}", "policy.text_tokens=null"]).policy
    assert not policy_problems(settings)
