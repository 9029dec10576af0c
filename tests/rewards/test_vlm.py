"""Yes or no from vision-language models, on tiny random ones of several families."""

import json

import pytest
import torch
from transformers import AutoModelForImageTextToText, AutoProcessor, AutoTokenizer, Qwen2VLImageProcessorPil

from fdfo.errors import RewardError
from fdfo.hub import quiet_loading
from fdfo.rewards.preprocess_qwen import QwenPreprocess
from fdfo.rewards.vlm import VlmPair, VlmScore
from tests.nightly import at_night
from tests.rewards.tiny_clip import as_levels, pictures
from tests.rewards.tiny_vlm import QWEN_TEMPLATE, make_idefics, make_llava, make_qwen

CPU = torch.device("cpu")
PROMPTS = ["ab", 'a "quoted" {prompt} {0} %s\n\u2028 cat', "c"]
ASKED = 'Does this image match the caption "{}"? Answer Yes or No.'
MAKERS = {
    "qwen2.5": make_qwen,
    "qwen3": lambda folder: make_qwen(folder, version="3"),
    "llava": make_llava,
    "idefics": make_idefics,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {name: make(tmp_path_factory.mktemp("vlm")) for name, make in MAKERS.items()}


@pytest.fixture(scope="module", params=MAKERS)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def folder(folders, family):
    return folders[family]


def loaded(folder, cls=VlmScore, **options):
    reward = cls(model=folder, dtype="float32", **options)
    reward.load(CPU, torch.float32)
    return reward


def scores(reward, images, prompts):
    with torch.no_grad():
        return reward(images, prompts, [{}] * len(prompts))


def log_probability(family, folder, image, question, answer):
    """Of an answer, token by token, one conversation at a time, through transformers alone."""
    with quiet_loading():
        model = AutoModelForImageTextToText.from_pretrained(folder).eval()
        tokenizer = AutoTokenizer.from_pretrained(folder)
        if "qwen" not in family:
            text = f"USER: <image>{question} ASSISTANT:"
            inputs = dict(AutoProcessor.from_pretrained(folder)(images=[image], text=[text], return_tensors="pt"))
        else:
            vision = Qwen2VLImageProcessorPil.from_pretrained(folder)([image], return_tensors="pt")
            pads = "<|image_pad|>" * (int(vision["image_grid_thw"].prod()) // 4)
            text = (
                f"<|im_start|>user\n<|vision_start|>{pads}<|vision_end|>{question}<|im_end|>\n<|im_start|>assistant\n"
            )
            inputs = {**vision, **tokenizer(text, return_tensors="pt")}
    answer = tokenizer.encode(("" if "qwen" in family else " ") + answer)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([answer])], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    if "qwen" in family:
        inputs["mm_token_type_ids"] = (inputs["input_ids"] == model.config.image_token_id).int()
    with torch.no_grad():
        logits = model(**inputs).logits[0, -len(answer) - 1 : -1].log_softmax(-1)
    return len(answer), sum(logits[k, token].item() for k, token in enumerate(answer))


@pytest.mark.parametrize(("target", "contrast", "tokens"), [at_night("Yes", "No", {1}), ("Yeah", "Nope", {3, 4})])
def test_score_is_the_sigmoid_of_the_difference_of_log_probabilities(family, folder, target, contrast, tokens):
    images = pictures(3, 32, 24)
    actual = scores(loaded(folder, target=target, contrast=contrast), images, PROMPTS)
    assert (actual.dtype, actual.shape) == (torch.float32, (3,))
    assert actual.std() > 0.05  # and the tolerance below is far less
    for image, prompt, score in zip(as_levels(images), PROMPTS, actual, strict=True):
        found = [log_probability(family, folder, image, ASKED.format(prompt), word) for word in (target, contrast)]
        assert {count for count, _ in found} <= tokens
        expected = 100 * torch.tensor(found[0][1] - found[1][1]).sigmoid()
        torch.testing.assert_close(score, expected, rtol=1e-5, atol=2e-3)  # float32 through the network, x 100


def test_order_batch_and_company_do_not_matter(folder):
    images, prompts = pictures(4, 32, 24), ["a", "long " * 40, "a", ""]
    whole = scores(loaded(folder, batch_size=8), images, prompts)
    for batch_size in (1, 3):
        reward = loaded(folder, batch_size=batch_size)
        order = [2, 0, 3, 1]
        shuffled = scores(reward, images[order], [prompts[i] for i in order])
        torch.testing.assert_close(shuffled, whole[order], rtol=1e-4, atol=1e-3)  # float32 through the network, x 100


def test_several_questions_are_averaged(folder):
    images = pictures(2, 32, 24)
    own = "Is a {prompt} to be seen, yes, a {prompt}?"
    alone = [scores(loaded(folder, questions=[question]), images, ["x", "yy"]) for question in ("quality", own)]
    together = scores(loaded(folder, questions=["quality", own]), images, ["x", "yy"])
    torch.testing.assert_close(together, torch.stack(alone).mean(0), rtol=1e-4, atol=1e-3)
    prompt_blind = loaded(folder, questions="quality")
    assert torch.equal(scores(prompt_blind, images, ["x", "x"]), scores(prompt_blind, images, ["y", "z"]))


@pytest.mark.parametrize("prompt", ["", "{", "%s {0} {prompt}", "<|image_pad|><image><|im_end|></s>", "é🐈" * 20])
def test_prompts_are_data(folder, prompt):
    assert scores(loaded(folder), pictures(1, 32, 24), [prompt]).isfinite().all()


def test_ten_thousand_characters_are_read_or_refused_by_name(folder):
    with pytest.raises(
        RewardError, match=r"reward 'vlm' on 'ababab.*: image and question are 10\d+ tokens.* reads 4096"
    ):
        scores(loaded(folder), pictures(1, 32, 24), ["ab" * 5000])
    network = loaded(folder)._answers.network
    network.token_limit = None
    assert scores(loaded(folder), pictures(1, 16, 16), ["ab" * 1500]).isfinite().all()


def test_rewards_of_one_model_share_it(folder):
    first, second = loaded(folder), loaded(folder, questions=["quality"])
    assert first._answers.network is second._answers.network


def test_bfloat16_network_with_a_float32_output_layer(folder):
    images = pictures(3, 32, 24)
    reward = VlmScore(model=folder)
    reward.load(CPU, torch.float32)
    network = reward._answers.network._model
    assert network.dtype == torch.bfloat16
    head = network.get_output_embeddings()
    assert head.head.weight.dtype == torch.bfloat16  # no copy of it
    hidden = torch.randn(3, head.head.weight.shape[1], dtype=torch.bfloat16)
    torch.testing.assert_close(head(hidden), hidden.float() @ head.head.weight.float().T)
    rough = scores(reward, images, PROMPTS)
    torch.testing.assert_close(rough, scores(loaded(folder), images, PROMPTS), rtol=0, atol=6)


@pytest.mark.parametrize("family", ["qwen2.5", "qwen3"])
def test_gradient_is_the_derivative(folders, family):
    reward = loaded(folders[family], differentiable=True)
    images = pictures(1, 32, 24).requires_grad_()
    reward(images, ["ab"], [{}]).sum().backward()
    size = images.grad.norm()
    step = 1e-3 * images.grad / size
    ends = [scores(reward, images.detach() + sign * step, ["ab"]) for sign in (1, -1)]
    assert ((ends[0] - ends[1]) / 2e-3).item() == pytest.approx(size.item(), rel=5e-2)  # float32 and curvature


def test_gradient_is_refused_where_the_processor_has_none(folders):
    with pytest.raises(RewardError, match="works with models of the Qwen-VL family"):
        loaded(folders["llava"], differentiable=True)
    assert not VlmScore(model=folders["qwen3"]).differentiable


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("size", [(32, 24), (64, 64), (9, 11), (40, 90)], ids=str)
@pytest.mark.parametrize("options", [{}, {"patch_size": 5, "image_mean": [0.5, 0.4, 0.3]}], ids=["default", "other"])
def test_preprocessing_is_that_of_transformers(size, options, extreme):
    settings = {"size": {"shortest_edge": 16 * 16, "longest_edge": 48 * 48}, "patch_size": 4} | options
    theirs, images = Qwen2VLImageProcessorPil(**settings), pictures(2, *size, extreme=extreme)
    expected = theirs(as_levels(images), return_tensors="pt")
    ours = QwenPreprocess.from_config(theirs.to_dict())
    patches, (rows, columns) = ours(images)
    assert expected["image_grid_thw"].tolist() == [[1, rows, columns]] * 2
    difference = (patches - expected["pixel_values"]).unflatten(1, (3, -1)).abs() * torch.tensor(ours.std).view(3, 1)
    assert difference.max() < 1.13 / 255  # as in test_preprocess.py


# ---- pairs ----


def test_pair_asks_about_two_images_in_order(folder):
    reward, (first, second) = loaded(folder, VlmPair), pictures(2, 32, 24).split(1)
    forth, back = scores_of_pair(reward, first, second), scores_of_pair(reward, second, first)
    assert -100 < forth.item() < 100
    assert forth != back
    twice = scores_of_pair(reward, torch.cat([first, second]), torch.cat([second, first]))
    torch.testing.assert_close(twice, torch.cat([forth, back]), rtol=1e-4, atol=1e-3)


def scores_of_pair(reward, first, second):
    with torch.no_grad():
        return reward(first, second, ["ab"] * len(first), [{}] * len(first))


# ---- errors ----


def test_options_are_checked_together_before_loading():
    with pytest.raises(RewardError, match=r"model must be.*batch_size must be.*dtype must be.*an answer must be"):
        VlmScore(model="", batch_size=0, dtype="int8", target="")


@pytest.mark.parametrize(
    ("questions", "fragment"),
    [
        (["aligment"], "no question 'aligment'; did you mean 'alignment'?, or write it out"),
        ([], "questions must be a list of names or texts"),
        ([3], "questions must be"),
        (7, "questions must be"),
    ],
)
def test_questions_are_checked(questions, fragment):
    with pytest.raises(RewardError) as caught:
        VlmScore(questions=questions)
    assert fragment in str(caught.value)


def test_words_that_begin_alike_are_refused(folder):
    with pytest.raises(RewardError, match="'Yes' and 'Yes indeed' begin alike"):
        loaded(folder, contrast="Yes indeed")


def test_model_without_a_chat_template(tmp_path):
    with pytest.raises(RewardError, match="it has no chat template"):
        loaded(make_qwen(tmp_path, template=None))


TEXT_TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}"
"""Of the kind that the tokenizer of Qwen2.5-VL is published with."""


@pytest.mark.parametrize("file", ["chat_template.json", "chat_template.jinja"])
def test_the_chat_template_is_that_of_the_processor(tmp_path, folders, file):
    """Qwen2.5-VL is published with a chat_template.json for its processor, beside the tokenizer's own template."""
    folder = make_qwen(tmp_path, template=None)
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": TEXT_TEMPLATE}))
    with pytest.raises(RewardError, match=r"'vlm', model .* its chat template has no place for images"):
        loaded(folder)
    content = json.dumps({"chat_template": QWEN_TEMPLATE}) if file.endswith("json") else QWEN_TEMPLATE
    (tmp_path / file).write_text(content)
    images = pictures(3, 32, 24)
    assert torch.equal(scores(loaded(folder), images, PROMPTS), scores(loaded(folders["qwen2.5"]), images, PROMPTS))


def test_model_whose_template_has_no_images(tmp_path):
    with pytest.raises(RewardError, match="its chat template has no place for images"):
        loaded(make_qwen(tmp_path, template="{% for m in messages %}{{ m.role }}: ...{% endfor %}"))


def test_a_processor_that_needs_other_packages_is_explained(folders, monkeypatch):
    def missing(*_, **__):
        raise ImportError("\nSmolVLMProcessor requires num2words.\nCheck out the instructions\n")

    monkeypatch.setattr(AutoProcessor, "from_pretrained", missing)
    with pytest.raises(
        RewardError, match=r"install it: .* -m pip install num2words .*\(SmolVLMProcessor requires num2words\.\)$"
    ):
        loaded(folders["llava"])


def test_folder_that_does_not_exist():
    with pytest.raises(RewardError, match=r"'vlm', model '/no/such/folder': no such folder"):
        loaded("/no/such/folder")


@pytest.mark.filterwarnings("ignore:MatMul8bitLt")  # bitsandbytes, of float32 inputs
@pytest.mark.parametrize(
    ("quantize", "layer", "tolerance", "times"), [("8bit", "Linear8bitLt", 1, 1), ("4bit", "Linear4bit", 8, 4)]
)
def test_few_bits_answer_nearly_alike(tmp_path, quantize, layer, tolerance, times):
    images = pictures(3, 32, 24)
    folder = make_llava(tmp_path, times)
    reward = loaded(folder, quantize=quantize)
    assert layer in {type(module).__name__ for module in reward.networks[0].modules()}
    few = scores(reward, images, PROMPTS)
    exact = scores(loaded(folder), images, PROMPTS)
    torch.testing.assert_close(few, exact, rtol=0, atol=tolerance)
    assert not torch.equal(few, exact)
