"""Copies for others."""

from collections import OrderedDict
from types import MappingProxyType

import torch

from fdfo.guard.own import own, own_tensor


def test_lists_and_dictionaries_are_new_at_every_depth():
    data = [{"a": [1, {"b": None}], "c": (2, [3]), "d": "x"}, {}]
    copy = own(data)
    assert copy == data
    copy[0]["a"][1]["b"], copy[0]["e"] = 5, 6
    copy[0]["c"][1].append(4)
    assert data == [{"a": [1, {"b": None}], "c": (2, [3]), "d": "x"}, {}]


def test_other_mappings_become_dictionaries_and_other_objects_copies():
    assert own(MappingProxyType({"a": [1]})) == {"a": [1]}
    assert own(OrderedDict(a=1)) == {"a": 1}
    kept = {"set": {1, 2}, "tensor": torch.ones(2)}
    copy = own(kept)
    copy["set"].add(3)
    copy["tensor"].zero_()
    assert kept["set"] == {1, 2} and kept["tensor"].tolist() == [1, 1]


def test_tensors_are_copied_where_memory_is_shared_and_only_there():
    kept = torch.rand(4, 3)
    for given in (kept, kept[1:3], kept.detach(), kept.view(3, 4)):
        own_tensor(given, kept).zero_()
        assert kept.all()
    other = torch.rand(2, 3)
    assert own_tensor(other, kept) is other


def test_a_leaf_with_gradient_may_be_edited_in_place():
    kept = torch.rand(4, 3, requires_grad=True)
    given = own_tensor(kept[:2], kept)
    given.sub_(0.5).div_(0.5)
    (gradient,) = torch.autograd.grad(given.sum(), kept)
    assert torch.equal(gradient, torch.tensor([[2.0] * 3] * 2 + [[0.0] * 3] * 2))
