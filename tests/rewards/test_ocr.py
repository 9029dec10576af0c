"""Spelling of quoted text, with a reader that is given."""

import random
import sys

import pytest
import torch

from fdfo.errors import RewardError
from fdfo.guard.files import find_in_file
from fdfo.rewards.ocr import OcrAccuracy, edit_distance, spelled, wanted_text

IMAGES = torch.rand(4, 3, 6, 5)


@pytest.fixture
def reader(tmp_path):
    """A file with a reader that says what it is told to; returns its name and a function to tell it."""
    path = tmp_path / "reader.py"
    path.write_text(
        "lines = []\nsizes = []\ndef read(picture):\n    sizes.append(picture.size)\n    return lines.pop(0)\n"
    )
    return f"{path}:read"


def scores(name, found, prompts, metadata=None):
    reward = OcrAccuracy(reader=name)
    reward.load(torch.device("cpu"), torch.float32)
    told = vars(sys.modules[find_in_file(name, "reader", RewardError, "").__module__])
    told["lines"][:] = found
    return reward(IMAGES[: len(prompts)], prompts, metadata or [{}] * len(prompts)), told["sizes"]


def test_scores_are_the_share_of_right_letters(reader):
    prompts = ['a sign "OPEN"', 'the word "Hello World"', "a cat", "“ab”"]
    actual, sizes = scores(reader, [["o p", "EN!"], ["Hello", "Wold"], ["xyz"]], prompts)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, torch.tensor([1.0, 0.9, float("nan"), 0.0]), equal_nan=True)
    assert sizes == [(5, 6)] * 3  # what asks for no text is not read


def test_the_text_may_be_in_the_metadata(reader):
    actual, _ = scores(reader, [["abc"]], ['a "wrong" one'], [{"text": "ABC"}])
    assert actual.tolist() == [1.0]


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [('say "hi" and "bye"', "hi"), ("none", ""), ('""', ""), ('open " only', ""), ("it's", ""), ("{x} “ü\n”", "ü\n")],
)
def test_the_first_quotation_is_wanted(prompt, wanted):
    assert wanted_text(prompt, {}) == wanted


def test_edit_distance_is_a_metric_and_counts_single_changes():
    assert edit_distance("kitten", "sitting") == 3
    assert edit_distance("", "abc") == edit_distance("abc", "") == 3
    draw = random.Random(0)
    words = ["".join(draw.choices("ab", k=draw.randrange(7))) for _ in range(12)]
    for a in words:
        for b in words:
            assert edit_distance(a, b) == edit_distance(b, a)
            assert (edit_distance(a, b) == 0) == (a == b)
            assert all(edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c) for c in words)


def test_score_is_never_negative():
    assert spelled("a", "bcdefg") == 0


def test_reader_is_checked_and_its_absence_explained(monkeypatch):
    with pytest.raises(RewardError, match=r"reader must be rapidocr or path/to/file\.py:function, got 'tesseract'"):
        OcrAccuracy(reader="tesseract")
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(
        RewardError, match=r"install it: .* -m pip install rapidocr onnxruntime, or name a reader of your own"
    ):
        OcrAccuracy().load(torch.device("cpu"), torch.float32)
