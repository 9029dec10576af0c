"""Yes or no through an OpenAI-compatible server."""

import math
from base64 import b64decode

import pytest
import torch

from fdfo.errors import RewardError
from fdfo.rewards.png import from_png
from fdfo.rewards.vlm_server import VlmServer
from tests.rewards.local_server import Scripted, serving
from tests.rewards.tiny_clip import pictures


def completion(*likely):
    entries = [{"token": token, "logprob": p, "bytes": None} for token, p in likely]
    return 200, {"choices": [{"logprobs": {"content": [{"token": "x", "top_logprobs": entries}]}}]}


def answered(answers, images=1, prompts=None, **options):
    """Scores, and the requests that were made for them."""
    with serving(Scripted([answers[0], *answers])) as server:
        reward = VlmServer(url=server.url + "/v1", **{"concurrency": 1, "timeout_s": 5, "patience_s": 1} | options)
        reward.load("cpu", torch.float32)
        scores = reward(pictures(images, 6, 5), prompts or ["a"] * images, [{}] * images)
    return scores, server.seen[1:]


@pytest.mark.parametrize(
    ("likely", "log_odds"),
    [
        ([("Yes", -0.2), ("No", -1.8), ("Maybe", -5.0)], 1.6),
        ([(" Yes", -0.2), ("Yes", -3.0), (" No", -1.8)], 1.6),  # the likeliest spelling
        ([("Y", -0.5), ("N", -1.0)], 0.5),  # the words' first tokens
        ([("Yes", -0.1), ("Sure", -4.0), ("yes", -6.0)], 5.9),  # No is at most as likely as the last one
        ([("No", -0.1), ("Nope", -7.0)], -6.9),
    ],
    ids=["plain", "spaces", "pieces", "no contrast", "no target"],
)
def test_score_is_the_sigmoid_of_the_difference(likely, log_odds):
    scores, _ = answered([completion(*likely)])
    assert scores.dtype == torch.float32
    assert scores.item() == pytest.approx(100 / (1 + math.exp(-log_odds)), rel=1e-5)


def test_neither_answer_is_a_failed_item():
    scores, _ = answered([completion(("I", -0.1), ("As", -2.0))])
    assert scores.isnan().all()


def test_the_question_is_that_of_the_local_model():
    prompt = 'a "{prompt}"\n{0} <|im_end|>'
    _, seen = answered([completion(("Yes", -0.5), ("No", -1.0))], prompts=[prompt], model="some/model")
    ((path, _, body),) = seen
    assert path == "/v1/chat/completions"
    assert (body["model"], body["max_tokens"], body["temperature"], body["top_logprobs"]) == ("some/model", 1, 0, 20)
    image, text = body["messages"][0]["content"]
    defused = prompt.replace("<|", "< |")  # as for a local model that has this special token
    assert text["text"] == f'Does this image match the caption "{defused}"? Answer Yes or No.'
    kind, _, data = image["image_url"]["url"].partition(",")
    assert kind == "data:image/png;base64"
    assert b64decode(data) and torch.equal(from_png([data], 30), pictures(1, 6, 5))


def test_questions_are_averaged_and_order_is_kept():
    answers = [completion(("Yes", -1.0), ("No", -1.0 - odds)) for odds in (0.0, 1.0, 2.0, 3.0)]
    scores, seen = answered(answers, images=2, prompts=["p", "q"], questions=["alignment", "quality"])
    expected = 100 * torch.tensor([[0.0, 1.0], [2.0, 3.0]]).sigmoid().mean(1)
    torch.testing.assert_close(scores, expected)
    texts = [body["messages"][0]["content"][1]["text"] for _, _, body in seen]
    assert ["p" in texts[0], "quality" in texts[1], '"q"' in texts[2], "quality" in texts[3]] == [True] * 4


def test_many_requests_at_a_time_keep_the_order():
    def by_question(handler):
        text = handler.body["messages"][0]["content"][1]["text"]
        handler.send(*completion(("Yes", -0.5), ("No", -0.5 - text.count("x"))))

    prompts = ["x" * i for i in range(12)]
    scores, seen = answered([by_question], images=12, prompts=prompts, concurrency=6)
    assert len(seen) == 12
    torch.testing.assert_close(scores, 100 * torch.arange(12.0).sigmoid())


@pytest.mark.parametrize(
    "reply",
    [
        {"choices": []},
        {"choices": [{"logprobs": None}]},
        [],
        completion()[1],
        completion(("Yes", "high"))[1],
        completion((3, -1.0))[1],
    ],
    ids=["none", "no logprobs", "list", "empty", "words", "numbers"],
)
def test_a_server_without_log_probabilities_is_found_out_while_loading(reply):
    with pytest.raises(RewardError, match=r"'vlm-server' at http.* gives no log-probabilities"):
        answered([(200, reply)])


def test_the_prompt_whose_question_was_refused_is_named():
    def by_prompt(handler):
        refused = "long" in handler.body["messages"][0]["content"][1]["text"]
        handler.send(*((400, b"too many tokens") if refused else completion(("Yes", -0.5), ("No", -1.0))))

    with pytest.raises(RewardError, match=r"status 400: too many tokens \(asked about an image for 'a long cat'\)"):
        answered([by_prompt], images=2, prompts=["a short cat", "a long cat"])


def test_an_answer_that_yaml_made_a_truth_value_is_explained():
    with pytest.raises(RewardError, match=r"got True .*quote it"):
        VlmServer(target=True)


def test_options_are_checked_together():
    with pytest.raises(RewardError, match=r"concurrency must be .*top_logprobs must be .*must not begin alike"):
        VlmServer(concurrency=0, top_logprobs=0.5, contrast="Yes!")
