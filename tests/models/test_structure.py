"""A network's arguments, taken apart into rows and put together again."""

import pytest
import torch
from torch.testing import assert_close

from fdfo.models.structure import arguments, row_of, slots, structure


def call(rows, text="positions", flag=True):
    """Arguments for rows of given numbers: a batch first, a batch second, ragged lists, and what all share."""
    return {
        "tokens": torch.stack([torch.full((3, 2), float(n)) for n in rows]),
        "stack": torch.stack([torch.full((4, 2), float(n)) for n in rows], dim=1),
        "captions": [torch.full((n,), float(n)) for n in rows],
        "nested": {"mask": torch.tensor([[n > 1] for n in rows]), text: (torch.arange(3), None)},
        "shapes": [(1, 2)],
        "flag": flag,
    }


FORM = structure(call([1]), call([1, 1]))


def test_rows_put_together_are_the_call_of_all():
    rows = [row_of(FORM, call([n])) for n in (3, 1, 2)]
    assert_close(arguments(FORM, rows), call([3, 1, 2]))
    assert {slot.name: slot.dim for slot in slots(FORM)} == {
        "tokens": 0,
        "stack": 1,
        "captions": 0,
        "nested.mask": 0,
        "nested.positions.0": None,
    }


def test_a_part_of_a_doubled_batch_is_a_row():
    for part, number in enumerate((5, 7)):
        assert_close(row_of(FORM, call([5, 7]), part, 2), row_of(FORM, call([number])))


@pytest.mark.parametrize("change", [{"flag": False}, {"text": "elsewhere"}])
def test_another_structure_is_refused(change):
    with pytest.raises(ValueError, match="where there was"):
        row_of(FORM, call([1], **change))


def test_what_grows_otherwise_is_no_batch():
    with pytest.raises(ValueError, match=r"lengths grows from \(2,\) to \(3,\)"):
        structure({"lengths": torch.zeros(2)}, {"lengths": torch.zeros(3)})
