"""How many prompts there are, in words."""

import pytest

from fdfo.config.tree import PromptsConfig
from fdfo.prompts import evenly_spread, held_out_list, training_list
from fdfo.prompts.told import prompts_told


@pytest.mark.parametrize(
    ("texts", "wanted", "judged", "lines"),
    [
        (
            "abcd",
            32,
            None,
            [
                "4 prompts read: 3 to train on, 1 held out",
                "one held-out prompt gives no interval; give 10 prompts or more, or others to judge by in "
                "prompts.eval_path",
            ],
        ),
        ("abcdefghij", 32, None, ["10 prompts read: 8 to train on, 2 held out"]),
        ("aabcdefghij", 32, None, ["11 prompts read: 8 to train on, 2 held out"]),  # `a` stands twice, and is held out
        (
            "abcdefghij",
            1,
            None,
            ["10 prompts read: 9 to train on, 1 held out", "one held-out prompt gives no interval; raise eval.prompts"],
        ),
        ("abc", 2, "xyz", ["3 prompts to train on, 2 held out, of {eval}"]),
        (
            "a",
            2,
            "x",
            [
                "1 prompt to train on, 1 held out, of {eval}",
                "one held-out prompt gives no interval; give more prompts in {eval}",
            ],
        ),
    ],
)
def test_prompts_are_counted(tmp_path, texts, wanted, judged, lines):
    (tmp_path / "train.txt").write_text("\n".join(texts))
    if judged is not None:
        (tmp_path / "eval.txt").write_text("\n".join(judged))
    other = None if judged is None else str(tmp_path / "eval.txt")
    settings = PromptsConfig(path=str(tmp_path / "train.txt"), eval_path=other)
    held_out = evenly_spread(held_out_list(settings, wanted), wanted)
    told = prompts_told(settings, wanted, training_list(settings, wanted), held_out)
    assert told == [line.format(eval=other) for line in lines]
