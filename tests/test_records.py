"""Rows keep what belongs to them: conditioning, prompt, sample number."""

import math
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from fdfo.records import Conditioning, Items, Prompt, Scores, _join


@dataclass(frozen=True, kw_only=True)
class Numbered(Items):
    value: Tensor  # [B, K]


def items(prompts, first=0, times=3):
    """Two samples a prompt; the conditioning of prompt n is n, the value of (sample, time) 10 sample + time."""
    samples = torch.arange(2 * prompts)
    return Numbered(
        prompts=[Prompt(text=str(first + i)) for i in range(prompts)],
        conditioning=Conditioning(tuple({"text": torch.tensor([float(first + i)])} for i in range(prompts))),
        prompt_row=(samples // 2)[:, None].expand(-1, times),
        sample_number=(2 * first + samples)[:, None].expand(-1, times),
        value=10 * (2 * first + samples)[:, None] + torch.arange(times),
    )


def texts(cond):
    return [float(row["text"]) for row in cond.rows]


def test_conditioning_shares_its_rows_and_what_they_share():
    negative = torch.zeros(3)
    cond = Conditioning(tuple({"text": torch.full((length,), 1.0), "negative": negative} for length in (1, 2)))
    many = Conditioning.cat([cond.repeat(3)[[5, 0, 1]], cond[1:]])
    assert [row["text"].numel() for row in many.rows] == [2, 1, 1, 2]
    assert many.rows[1] is many.rows[2] is cond.rows[0]
    assert many.nbytes == 4 * (3 + 1 + 2)
    elsewhere = many.to("meta")
    assert elsewhere.rows[1] is elsewhere.rows[2]
    assert {id(row["negative"]) for row in elsewhere.rows} == {id(elsewhere.rows[0]["negative"])}


def test_rows_carry_the_conditioning_of_their_prompt():
    picked = items(4).rows(torch.tensor([7, 0, 5, 6]), torch.tensor([0, 2, 1, 1]))
    assert texts(picked.cond) == [3, 0, 2, 3]
    assert [picked.prompts[row].text for row in picked.prompt_row] == ["3", "0", "2", "3"]
    assert picked.value.tolist() == [70, 2, 51, 61]
    assert len(picked.conditioning) == 3  # only the prompts that are needed


def test_parts_join_into_one():
    whole, joined = items(5), Numbered.cat([items(2), items(3, first=2)])
    assert torch.equal(joined.value, whole.value)
    assert torch.equal(joined.sample_number, whole.sample_number)
    samples, times = torch.arange(10), torch.zeros(10, dtype=torch.int64)
    assert texts(joined.rows(samples, times).cond) == texts(whole.rows(samples, times).cond)


def test_parts_are_let_go_while_they_are_joined():
    """Else an epoch would take its host memory twice."""
    parts = [items(2), items(3, first=2), items(1, first=5)]
    assert torch.equal(Numbered.cat(parts).value, items(6).value)
    assert parts == []
    pieces = [torch.rand(2, 3), torch.rand(1, 3)]
    expected = torch.cat(pieces)
    assert torch.equal(_join(pieces), expected)
    assert pieces == []


def test_moving_keeps_everything():
    picked = items(2).rows(torch.tensor([3]), torch.tensor([1])).to("cpu")
    assert picked.value.tolist() == [31]
    assert texts(picked.cond) == [1]


def test_batch_statistics_leave_failed_scores_out():
    batch = torch.tensor([1.0, math.nan, 2.0, 6.0], dtype=torch.float64)
    scores = Scores(total=batch[:2].float(), components={}, batch=batch)
    assert (scores.batch_mean, scores.batch_std) == (3.0, pytest.approx(math.sqrt(14 / 3)))
