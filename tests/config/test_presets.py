"""Names that stand for several entries."""

import pytest

from fdfo.config import presets
from fdfo.config.load import from_mapping, load_config, to_yaml
from fdfo.config.presets import PRESETS, expanded
from fdfo.errors import ConfigError
from fdfo.plugins import names


@pytest.fixture
def mix(monkeypatch):
    """A preset of two scores, one of them a preset itself."""
    monkeypatch.setitem(presets.PRESETS, "mix", ({"name": "jpeg"}, {"name": "clip-l14", "weight": 0.1}))


def test_every_preset_is_made_of_scores_that_exist():
    for name in PRESETS:
        for entry in expanded([name]):
            assert entry["name"] in names("rewards")
            assert name not in names("rewards")


def test_one_score_keeps_the_name_as_its_label_and_takes_options():
    (entry,) = expanded([{"name": "clip-h14", "batch_size": 8, "weight": 2}])
    assert entry == {
        "name": "clip",
        "label": "clip-h14",
        "model": "laion/CLIP-ViT-H-14-laion2B-s32B-b79K",
        "batch_size": 8,
        "weight": 2.0,
    }
    (entry,) = expanded([{"name": "clip-h14", "model": "mine", "label": "sharp"}])
    assert (entry["model"], entry["label"]) == ("mine", "sharp")


@pytest.mark.usefixtures("mix")
def test_weights_multiply_through():
    entries = expanded(["shapes-verifier", {"name": "mix", "weight": 3.0}])
    assert [(entry["name"], entry.get("label"), entry.get("weight")) for entry in entries] == [
        ("shapes-verifier", None, None),
        ("jpeg", None, 3.0),
        ("clip", "clip-l14", pytest.approx(0.3)),
    ]


@pytest.mark.usefixtures("mix")
def test_the_resolved_tree_holds_the_entries_and_survives_a_round_trip():
    import yaml

    config = load_config("shapes", ["reward=[mix]"])
    assert [entry.title for entry in config.reward] == ["jpeg", "clip-l14"]
    assert from_mapping(yaml.safe_load(to_yaml(config)), "again") == config


@pytest.mark.usefixtures("mix")
@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("reward=[{name: mix, batch_size: 4}]", "'mix' is several scores and takes no batch_size; write them out"),
        ("reward=[{name: mix, weight: heavy}]", "weight: input should be a valid number"),
        ("reward=[{name: clip-l14, modle: x}]", "reward.0.modle: unknown option; did you mean 'model'?"),
        ("reward=[clip_l14]", "did you mean 'clip-l14'?"),
        ("reward=clip-l14", "expected a list"),
    ],
)
def test_mistakes_are_explained(override, fragment):
    with pytest.raises(ConfigError) as caught:
        load_config("shapes", [override])
    assert fragment in str(caught.value)


def test_scores_of_one_kind_are_told_apart_by_their_labels():
    changes = ["reward=[clip-l14]", "eval.rewards=[clip-h14]"]
    assert load_config("shapes", changes).eval.rewards[0].title == "clip-h14"
    with pytest.raises(ConfigError, match="'clip-l14' is already trained on"):
        load_config("shapes", ["reward=[clip-l14]", "eval.rewards=[clip-l14]"])


def test_only_trained_scores_are_standardised():
    assert load_config("shapes", ["reward=[{name: jpeg, standardize: true}]"]).reward[0].standardize
    with pytest.raises(ConfigError, match=r"eval\.rewards\.0\.standardize: only scores that are trained on"):
        load_config("shapes", ["eval.rewards=[{name: jpeg, standardize: true}]"])
