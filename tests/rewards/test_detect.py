"""GenEval's checks with a detector that is given, and a tiny random detector of transformers."""

import json

import pytest
import torch
from transformers import YolosConfig, YolosForObjectDetection, YolosImageProcessorPil

from fdfo import offload
from fdfo.config.tree import RewardConfig
from fdfo.errors import RewardError
from fdfo.rewards import WeightedSum, detect, weighted
from fdfo.rewards.detect import Detect, load_detector
from fdfo.rewards.geneval import Detection, by_class, checks, relations
from tests.rewards.tiny_clip import make_clip, pictures

CPU = torch.device("cpu")
LEFT, RIGHT = (0.0, 10.0, 10.0, 20.0), (40.0, 10.0, 50.0, 20.0)


def found(*detections):
    return [Detection(name, confidence, box) for name, confidence, box in detections]


def passed(detections, line, colors=lambda boxes, name: ["red"] * len(boxes), threshold=0.3):
    return checks(by_class(detections, threshold), json.loads(line), colors)


# ---- the logic, on lines of GenEval's file ----

COUNTING = (
    '{"tag": "counting", "include": [{"class": "clock", "count": 2}], "exclude": [{"class": "clock", "count": 3}], '
    '"prompt": "a photo of two clocks"}'
)
COLORS = (
    '{"tag": "colors", "include": [{"class": "cow", "count": 1, "color": "red"}], "prompt": "a photo of a red cow"}'
)
POSITION = (
    '{"tag": "position", "include": [{"class": "dog", "count": 1}, {"class": "bench", "count": 1, '
    '"position": ["right of", 0]}], "prompt": "a photo of a bench right of a dog"}'
)


@pytest.mark.parametrize(("number", "expected"), [(1, [False, True]), (2, [True, True]), (3, [True, False])])
def test_counting(number, expected):
    assert passed(found(*[("clock", 0.95, LEFT)] * number), COUNTING, threshold=0.9) == expected


def test_unsure_objects_do_not_count_and_sure_ones_are_looked_at_first():
    detections = found(("cow", 0.2, RIGHT), ("cow", 0.5, LEFT), ("cow", 0.9, RIGHT))
    assert by_class(detections, 0.3) == {"cow": [RIGHT, LEFT]}
    assert len(by_class(found(*[("cow", 0.9, LEFT)] * 30), 0.3)["cow"]) == 16


def test_colors_are_those_of_the_surest_objects():
    asked = []

    def colors(boxes, name):
        asked.append((list(boxes), name))
        return ["blue" if box == LEFT else "red" for box in boxes]

    assert passed(found(("cow", 0.5, LEFT), ("cow", 0.9, RIGHT)), COLORS, colors) == [True, True]
    assert passed(found(("cow", 0.9, LEFT), ("cow", 0.5, RIGHT)), COLORS, colors) == [True, False]
    assert asked == [([RIGHT], "cow"), ([LEFT], "cow")]
    assert passed([], COLORS, colors) == [False, False]


def test_position():
    assert passed(found(("dog", 0.9, LEFT), ("bench", 0.9, RIGHT)), POSITION) == [True, True, True]
    assert passed(found(("dog", 0.9, RIGHT), ("bench", 0.9, LEFT)), POSITION) == [True, True, False]
    assert passed(found(("bench", 0.9, RIGHT)), POSITION) == [False, True, False]
    assert passed(found(("dog", 0.9, LEFT)), POSITION) == [True, False, False]


@pytest.mark.parametrize(
    ("b", "expected"),
    [
        ((20.0, 0.0, 30.0, 10.0), {"left of"}),
        ((-20.0, 0.0, -10.0, 10.0), {"right of"}),
        ((0.0, 20.0, 10.0, 30.0), {"above"}),
        ((0.0, -20.0, 10.0, -10.0), {"below"}),
        ((20.0, 20.0, 30.0, 30.0), {"left of", "above"}),
        ((1.0, 1.0, 11.0, 11.0), set()),  # an offset of a tenth of both sizes does not count
        ((0.0, 0.0, 10.0, 10.0), set()),
    ],
)
def test_relations(b, expected):
    assert relations((0.0, 0.0, 10.0, 10.0), b) == expected


# ---- the reward ----


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture
def make(clip, monkeypatch):
    """The reward with a detector that finds the given objects."""

    def make(detections, **options):
        monkeypatch.setattr(detect, "load_detector", lambda *_: lambda images: [detections] * len(images))
        reward = Detect(color_model=clip, **options)
        reward.load(CPU, torch.float32)
        return reward

    return make


def test_score_is_the_share_of_checks_or_the_verdict(make):
    metadata = [json.loads(line) for line in (COUNTING, POSITION)] + [{}]
    detections = found(("clock", 0.95, LEFT), ("clock", 0.8, LEFT), ("dog", 0.5, LEFT), ("bench", 0.5, LEFT))
    args = pictures(3, 20, 60), ["p"] * 3, metadata
    expected = torch.tensor([1 / 2, 2 / 3, float("nan")])  # one clock is sure enough; the bench is on the dog
    torch.testing.assert_close(make(detections, batch_size=2)(*args), expected, equal_nan=True)
    assert make(detections, strict=True)(*args)[:2].tolist() == [0, 0]
    assert make(found(("dog", 0.5, LEFT), ("bench", 0.5, RIGHT)), strict=True)(*args)[1] == 1


def test_colors_are_named_by_the_nearest_description(make, monkeypatch):
    reward = make(found(("cow", 0.9, LEFT)))
    texts = []

    def text_features(described):
        texts.extend(described)
        rows = torch.zeros(len(described), 8)
        rows[:, 0] = torch.tensor([float("white" in text) for text in described])
        rows[:, 1] = torch.tensor([float("black" in text) for text in described])
        return rows + 1e-6

    def image_features(crop):
        brightness = crop.mean().item()
        return torch.tensor([[brightness, 1 - brightness, *[0.0] * 6]])

    monkeypatch.setattr(reward._clip, "text_features", text_features)
    monkeypatch.setattr(reward._clip, "image_features", image_features)
    image = torch.zeros(1, 3, 20, 60)
    image[..., 10:20, 0:10] = 1  # the box, and nothing else, is white
    for color, expected in (("white", 1.0), ("black", 0.5)):
        metadata = {"tag": "colors", "include": [{"class": "cow", "count": 1, "color": color}]}
        assert reward(image, ["p"], [metadata]).item() == expected
    assert texts[:3] == ["a photo of a red cow", "a photo of a red-colored cow", "a photo of a red object"]
    assert texts.count(texts[0]) == 1  # for both images


def test_colors_with_a_real_clip_are_finite_whatever_the_box(make):
    metadata = json.loads(COLORS)
    for box in (LEFT, (-5.0, -5.0, 0.2, 0.2), (59.9, 19.9, 80.0, 90.0)):
        assert make(found(("cow", 0.9, box)))(pictures(1, 20, 60), ["p"], [metadata]).item() in (0.5, 1.0)


@pytest.mark.parametrize(
    "metadata",
    [
        {"include": [{"class": "cow"}]},
        {"include": 3},
        {"include": [{"class": "cow", "count": 0, "position": ["above", 4]}]},
    ],
    ids=["no count", "number", "no target"],
)
def test_metadata_of_another_form_are_explained(make, metadata):
    with pytest.raises(RewardError, match="reward 'detect' on 'a cow': its metadata are not GenEval's"):
        make([])(pictures(1, 20, 60), ["a cow"], [metadata])


def test_options_are_checked_together():
    with pytest.raises(RewardError, match=r"counting_threshold must be .*batch_size must be .*dtype must be"):
        Detect(counting_threshold=2, batch_size=0, dtype="int8")


# ---- a tiny random detector ----


@pytest.fixture(scope="module")
def yolos(tmp_path_factory):
    """Its folder."""
    folder = tmp_path_factory.mktemp("yolos")
    torch.manual_seed(0)
    size = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
    config = YolosConfig(
        image_size=[32, 48], patch_size=8, num_detection_tokens=6, id2label={0: "Mouse", 1: "cat", 2: "sofa"}, **size
    )
    YolosForObjectDetection(config).save_pretrained(folder)
    YolosImageProcessorPil(size={"height": 32, "width": 48}).save_pretrained(folder)
    return str(folder)


def test_a_detector_of_transformers(yolos):
    with torch.no_grad():
        one, two = load_detector(yolos, None, CPU, torch.float32)(pictures(2, 20, 60))
        (alone,) = load_detector(yolos, None, CPU, torch.float32)(pictures(2, 20, 60)[1:])
    assert len(one) == 6 and {d.name for d in one} <= {"computer mouse", "cat", "couch"}
    assert all(-60 < d.box[0] < d.box[2] < 120 and 0 <= d.confidence <= 1 for d in one)
    for a, b in zip(two, alone, strict=True):
        assert a.name == b.name and a.confidence == pytest.approx(b.confidence, abs=1e-5)


def test_a_detector_in_bfloat16_finds_nearly_the_same_in_float32(yolos):
    with torch.no_grad():
        exact, near = (
            load_detector(yolos, None, CPU, dtype)(pictures(1, 20, 60))[0] for dtype in (torch.float32, torch.bfloat16)
        )
    for a, b in zip(exact, near, strict=True):
        assert (a.name, a.box) == (b.name, pytest.approx(b.box, abs=1))
        assert a.confidence == pytest.approx(b.confidence, abs=0.01)
    confidences = torch.tensor([detection.confidence for detection in near])
    assert not torch.equal(confidences, confidences.bfloat16().float())


def test_dtype_is_that_of_both_networks(yolos, clip):
    reward = Detect(model=yolos, color_model=clip, dtype="bfloat16")
    reward.load(CPU, torch.float32)
    assert [network.dtype for network in reward.networks] == [torch.bfloat16] * 2
    assert reward(pictures(1, 20, 60), ["p"], [json.loads(COLORS)]).isfinite()


def test_both_networks_are_on_the_device_only_while_they_score(yolos, clip, monkeypatch):
    moves = []
    for module in (weighted, offload):
        monkeypatch.setattr(module, "move", lambda network, _: moves.append(("to the device", type(network).__name__)))
    monkeypatch.setattr(offload, "_put_back", lambda network, _: moves.append(("back", type(network).__name__)))
    metadata = [{"tag": "colors", "include": [{"class": "cat", "count": 1, "color": "red"}]}]
    scores = []
    for offloaded in (True, False):
        entry = {"name": "detect", "offload": offloaded, "model": yolos, "color_model": clip}
        total = WeightedSum([RewardConfig(**entry, threshold=0.0)])
        total.load(CPU, torch.float32)
        moves.clear()
        scores.append(total(pictures(1, 20, 60), ["p"], metadata))
        directions = ["to the device", "back"] if offloaded else ["to the device"]
        assert moves == [(way, name) for way in directions for name in ("YolosForObjectDetection", "CLIPModel")]
    assert torch.equal(*scores)


def test_missing_detectors_are_explained():
    with pytest.raises(RewardError, match="reward 'detect', model '/no/such'"):
        Detect(model="/no/such").load(CPU, torch.float32)
