"""The weighted sum: what components may return, and how their failures are told."""

import numpy as np
import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from fdfo.config.tree import RewardConfig
from fdfo.errors import PeerError, RewardError
from fdfo.rewards import WeightedSum, build

IMAGES = torch.rand(4, 3, 5, 6, generator=torch.Generator().manual_seed(1))
PROMPTS = ["first prompt", "b", "c", "d"]
METADATA = [{"value": float(i)} for i in range(4)]
NAN = float("nan")


@pytest.fixture
def make(monkeypatch):
    """A weighted sum of plain functions, named by keyword, or of objects."""

    def make(weights=None, entries=None, **rewards):
        monkeypatch.setattr(build, "find", lambda kind, name: rewards[name])
        names = entries or list(rewards)
        return WeightedSum([RewardConfig(name=n, weight=w) for n, w in zip(names, weights or [1.0] * 9, strict=False)])

    return make


def returning(value):
    return lambda images, prompts, metadata: value


def differentiable(function):
    function.differentiable = True
    return function


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([1, 0, 2, 3]),
        torch.tensor([1.0, 0.0, 2.0, 3.0], dtype=torch.float64),
        torch.tensor([1.0, 0.0, 2.0, 3.0], dtype=torch.bfloat16),
        np.array([1, 0, 2, 3], dtype=np.uint8),
        np.array([3.0, 2.0, 0.0, 1.0])[::-1],
        np.array([1.0, 0.0, 2.0, 3.0], dtype=np.longdouble),
        [1, 0.0, True + 1, np.float64(3)],
        (1, 0, 2, 3),
        [torch.tensor(1.0), torch.tensor(0.0), torch.tensor(2.0), torch.tensor(3.0)],
        [torch.tensor(1.0, dtype=torch.bfloat16), 0, torch.tensor(2), 3.0],
        np.ma.array([1, 0, 2, 3]),
    ],
    ids=lambda value: f"{type(value).__name__} {getattr(value, 'dtype', '')}",
)
def test_numbers_of_every_kind_become_float64(make, value):
    (scores,) = make(a=returning(value)).components(IMAGES, PROMPTS, METADATA).values()
    assert scores.dtype == torch.float64
    assert scores.tolist() == [1, 0, 2, 3]


def test_booleans_become_zero_and_one(make):
    for value in (torch.tensor([True, False, True, True]), [True, False, True, True]):
        assert make(a=returning(value))(IMAGES, PROMPTS, METADATA).tolist() == [1, 0, 1, 1]


def test_infinite_scores_become_nan(make):
    value = np.array([np.inf, 1.0, -np.inf, 1e300])  # the last overflows float32
    rewards = make(a=returning(value))
    scores = rewards(IMAGES, PROMPTS, METADATA)
    assert rewards.failures == {"a": "inf and -inf and numbers beyond 3.4e+38"}
    assert scores.isnan().tolist() == [True, False, True, True]
    assert scores[1] == 1


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (torch.zeros(3), r"Tensor of torch.float32 and shape \[3\]"),
        (torch.zeros(4, 1), r"shape \[4, 1\].*flatten it"),
        (torch.tensor(1.0), r"shape \[\]"),
        (np.zeros((2, 2)), r"ndarray of float64 and shape \[2, 2\]"),
        (torch.zeros(4, dtype=torch.complex64), "complex64"),
        ([torch.zeros((), dtype=torch.complex64)] * 4, "list"),
        (torch.zeros(4).to_sparse(), "it is sparse or nested; call to_dense"),
        (torch.zeros(4, device="meta"), "on the device 'meta', where tensors have no numbers"),
        ([torch.zeros((), device="meta")] * 4, "list"),
        ((torch.zeros(4), {}), r"tuple .*expect \(scores, details\): `return scores`, or wrap it"),
        (([1.0] * 4, {"note": 1}), r"wrap it: `lambda \*a: theirs\(\*a\)\[0\]`"),
        ((torch.zeros(4), None), r"wrap it: `lambda \*a: theirs\(\*a\)\[0\]`"),
        ((torch.zeros(4), [{}] * 4, 1.0), r"wrap it: `lambda \*a: theirs\(\*a\)\[0\]`"),
        (((), {}), "for 4 images"),
        (
            {"text": "x", "scores": [1, 2, 3, 4]},
            r"return what is under 'scores', or wrap it: .*theirs\(\*a\)\['scores'\]",
        ),
        (
            FakeTensorMode().from_tensor(torch.zeros(4)),
            "it is a FakeTensor, whose numbers are elsewhere; return a plain",
        ),
        ([FakeTensorMode().from_tensor(torch.zeros(()))] * 4, "list"),
        ([1.0, 2.0], r"list \[1.0, 2.0\]"),
        (["1", "2", "3", "4"], "list"),
        ([[1], [2, 3]], "list"),
        ([torch.zeros(1), torch.zeros(2)], "list"),
        (None, "NoneType None"),
        (0.5, "float 0.5"),
        ({"scores": [1, 2, 3, 4]}, "dict"),
        ("x" * 500, r"str 'xxx.*\.\.\. for"),
    ],
    ids=str,
)
def test_anything_else_is_refused_by_name(make, value, described):
    with pytest.raises(RewardError, match=rf"reward 'odd' returned .*{described}") as caught:
        make(good=returning(torch.zeros(4)), odd=returning(value)).components(IMAGES, PROMPTS, METADATA)
    assert "accepted: a tensor, array or list of 4 numbers" in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "value",
    [
        [1.0, None, 2.0, 3.0],
        (1.0, None, 2.0, 3.0),
        [torch.tensor(1.0), None, torch.tensor(2.0), torch.tensor(3.0)],
        [1.0, np.ma.masked, 2.0, 3.0],
        np.ma.array([1.0, 7.0, 2.0, 3.0], mask=[False, True, False, False]),
        np.ma.array([1, 7, 2, 3], mask=[False, True, False, False]),
        np.array([1.0, None, 2, 3], dtype=object),
    ],
    ids=["list", "tuple", "tensors", "masked entry", "masked", "masked integers", "objects"],
)
def test_none_and_what_is_masked_could_not_be_judged(make, value):
    scores = make(a=returning(value))(IMAGES, PROMPTS, METADATA)
    torch.testing.assert_close(scores, torch.tensor([1.0, NAN, 2.0, 3.0]).double(), equal_nan=True)


@pytest.mark.parametrize("value", [2.5, torch.tensor(2.5), np.float32(2.5), np.array(2.5), [2.5], True + 1.5])
def test_one_number_for_one_image(make, value):
    assert make(a=returning(value))(IMAGES[:1], PROMPTS[:1], METADATA[:1]).tolist() == [2.5]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_a_nested_tensor_is_refused_with_the_way_out(make, layout):
    value = torch.nested.nested_tensor([torch.zeros(2), torch.zeros(2)], layout=layout)
    with pytest.raises(
        RewardError, match=r"returned a nested .*; it is sparse or nested; call to_dense\(\), or to_padded"
    ):
        make(a=returning(value))(IMAGES, PROMPTS, METADATA)


@pytest.mark.filterwarnings("ignore:.*quantized tensor creation")
def test_a_quantised_tensor_is_refused_with_the_way_out(make):
    value = torch.quantize_per_tensor(torch.zeros(4), 1.0, 0, torch.qint8)
    with pytest.raises(RewardError, match=r"it is quantised; call dequantize\(\)"):
        make(a=returning(value))(IMAGES, PROMPTS, METADATA)


def test_sum_is_weighted_and_nan_spreads(make):
    rewards = make(
        weights=[2.0, -0.5],
        a=returning([1.0, 2.0, NAN, 4.0]),
        b=lambda images, prompts, metadata: [m["value"] for m in metadata],
    )
    parts = rewards.components(IMAGES, PROMPTS, METADATA)
    assert list(parts) == ["a", "b"]
    total = rewards.total(parts)
    assert total.dtype == torch.float64
    torch.testing.assert_close(total, torch.tensor([2.0, 3.5, NAN, 6.5]).double(), equal_nan=True)
    torch.testing.assert_close(rewards(IMAGES, PROMPTS, METADATA), total, equal_nan=True)
    unweighted = make(weights=[0.0, 1.0], a=returning([NAN] * 4), b=returning([1.0] * 4))
    assert unweighted(IMAGES, PROMPTS, METADATA).isnan().all()


def test_same_name_twice_gets_a_number(make):
    rewards = make(entries=["a", "b", "a", "a"], a=returning([1.0] * 4), b=returning([2.0] * 4))
    assert list(rewards.components(IMAGES, PROMPTS, METADATA)) == ["a", "b", "a#2", "a#3"]


def test_options_belong_to_their_entry():
    rewards = WeightedSum(
        [RewardConfig(name="jpeg", sign="compressible"), RewardConfig(name="jpeg", sign="incompressible", weight=3.0)]
    )
    rewards.load(torch.device("cpu"), torch.float32)
    parts = rewards.components(IMAGES, PROMPTS, METADATA)
    assert torch.equal(parts["jpeg"], -parts["jpeg#2"])
    torch.testing.assert_close(rewards.total(parts), 2 * parts["jpeg#2"])


def test_gradient_survives_conversion_and_weighting(make):
    mean = differentiable(lambda images, prompts, metadata: images.mean((1, 2, 3)).double())
    listed = differentiable(lambda images, prompts, metadata: [image.sum() for image in images])
    rewards = make(weights=[2.0, 0.5], mean=mean, listed=listed)
    assert rewards.differentiable
    images = IMAGES.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(rewards(images, PROMPTS, METADATA).sum(), images)
    torch.testing.assert_close(gradient, torch.full_like(images, 2 / 90 + 0.5))
    with torch.no_grad():
        assert not rewards(images, PROMPTS, METADATA).requires_grad


def test_one_reward_without_gradient_makes_the_sum_undifferentiable(make):
    seen = {}

    def plain(images, prompts, metadata):
        seen["plain"] = images.requires_grad, torch.is_grad_enabled()
        return images.mean((1, 2, 3)).numpy()

    smooth = differentiable(lambda images, prompts, metadata: images.mean((1, 2, 3)))
    rewards = make(smooth=smooth, plain=plain)
    assert not rewards.differentiable
    parts = rewards.components(IMAGES.clone().requires_grad_(), PROMPTS, METADATA)
    assert seen["plain"] == (False, False)
    assert parts["smooth"].requires_grad
    assert not parts["plain"].requires_grad


def test_differentiable_reward_that_loses_the_gradient_is_an_error(make):
    cut = differentiable(lambda images, prompts, metadata: images.detach().mean((1, 2, 3)))
    with pytest.raises(RewardError, match=r"'cut' says that it is differentiable, but its scores have no gradient"):
        make(cut=cut)(IMAGES.clone().requires_grad_(), PROMPTS, METADATA)
    assert make(cut=cut)(IMAGES, PROMPTS, METADATA).shape == (4,)  # nothing asked for


def test_function_that_writes_into_its_images_disturbs_nobody(make):
    def scale(images, prompts, metadata):
        return images.mul_(255).mean((1, 2, 3))

    images = IMAGES.clone()
    parts = make(scale=scale, after=lambda images, prompts, metadata: images.mean((1, 2, 3))).components(
        images, PROMPTS, METADATA
    )
    assert torch.equal(images, IMAGES)
    torch.testing.assert_close(parts["after"], IMAGES.mean((1, 2, 3)).double())


def test_image_that_is_not_finite_has_no_score(make):
    images = IMAGES.clone()
    images[2, 1, 0, 0] = torch.inf
    scores = make(a=returning([1.0] * 4))(images, PROMPTS, METADATA)
    assert scores.isnan().tolist() == [False, False, True, False]


def test_exception_names_reward_prompt_error_and_place(make):
    def broken(images, prompts, metadata):
        return metadata[0]["colour"]

    with pytest.raises(RewardError) as caught:
        make(broken=broken)(IMAGES, PROMPTS, METADATA)
    message = str(caught.value)
    for part in ("'broken'", "4 images", "'first prompt'", "KeyError: 'colour'", "test_weighted.py:"):
        assert part in message
    assert isinstance(caught.value.__cause__, KeyError)


def test_failures_of_other_processes_pass_unchanged(make):
    error = PeerError("as it is")

    def broken(images, prompts, metadata):
        raise error

    with pytest.raises(PeerError) as caught:
        make(broken=broken)(IMAGES, PROMPTS, METADATA)
    assert caught.value is error


def test_our_own_errors_and_wrong_returns_name_the_prompt(make):
    def refused(images, prompts, metadata):
        raise RewardError("reward 'remote' at http://x answers with 1 scores for 4 images")

    for broken, cause in ((refused, "1 scores for 4 images"), (returning([1.0]), r"\[1.0\] for 4 images")):
        with pytest.raises(RewardError, match=rf"{cause}.*\(on 4 images, the first for 'first prompt'\)"):
            make(broken=broken)(IMAGES, PROMPTS, METADATA)


class Hungry:
    differentiable = False

    def __init__(self, batch_size=32):
        pass

    def load(self, device, dtype):
        pass

    def __call__(self, images, prompts, metadata):
        raise torch.OutOfMemoryError("CUDA out of memory")


@pytest.mark.parametrize(
    ("options", "remedy"),
    [({}, "try batch_size=2"), ({"batch_size": 3}, "try batch_size=1"), ({"batch_size": 1}, "name another device")],
)
def test_running_out_of_memory_names_the_batch_size_to_try(monkeypatch, options, remedy):
    monkeypatch.setattr(build, "find", lambda kind, name: Hungry)
    message = f"reward 'hungry' ran out of memory on 4 images, the first for 'first prompt'; {remedy}"
    with pytest.raises(torch.OutOfMemoryError, match=message):
        WeightedSum([RewardConfig(name="hungry", **options)])(IMAGES, PROMPTS, METADATA)


def test_black_images_are_told_once(make, caplog):
    reward = make(mean=lambda images, prompts, metadata: images.mean((1, 2, 3)))
    reward(IMAGES, PROMPTS, METADATA)
    assert not caplog.records
    for _ in range(2):
        reward(torch.zeros_like(IMAGES), PROMPTS, METADATA)
    (record,) = caplog.records
    assert "mean: all images are black, on 4 images, the first for 'first prompt'" in record.getMessage()


def test_loading_reaches_all_and_names_the_one_that_fails(make):
    class Loads:
        differentiable = True

        def __init__(self, error=None):
            self.error, self.loaded = error, None

        def load(self, device, dtype):
            if self.error:
                raise self.error
            self.loaded = device, dtype

        def __call__(self, images, prompts, metadata):
            return images.mean((1, 2, 3))

    good, bad = Loads(), Loads(ImportError("no module named vlm"))
    with pytest.raises(RewardError, match="'bad' failed while loading: ImportError: no module named vlm"):
        make(good=good, bad=bad).load(torch.device("cpu"), torch.bfloat16)
    assert good.loaded == (torch.device("cpu"), torch.bfloat16)


def test_an_entry_may_have_a_device_of_its_own(monkeypatch):
    loaded = []

    class Loads:
        differentiable = False

        def load(self, device, dtype):
            loaded.append(device)

        def __call__(self, images, prompts, metadata):
            return images.mean((1, 2, 3))

    monkeypatch.setattr(build, "find", lambda kind, name: Loads())
    WeightedSum([RewardConfig(name="a"), RewardConfig(name="b", device="meta")]).load(
        torch.device("cpu"), torch.float32
    )
    assert loaded == [torch.device("cpu"), torch.device("meta")]
    with pytest.raises(RewardError, match="'a' failed while loading: RuntimeError"):
        WeightedSum([RewardConfig(name="a", device="nowhere")]).load(torch.device("cpu"), torch.float32)


def test_problems_of_all_entries_come_together():
    with pytest.raises(RewardError) as caught:
        WeightedSum([RewardConfig(name="jpeg", quality=0), RewardConfig(name="jpg"), RewardConfig(name="gone.py:f")])
    for part in ("quality must be", "unknown reward 'jpg'", "no file"):
        assert part in str(caught.value)


def test_no_entries_have_no_components():
    assert WeightedSum([]).components(IMAGES, PROMPTS, METADATA) == {}


def test_pieces_are_whole_groups_and_change_nothing(make):
    rewards = make(a=lambda images, prompts, metadata: images.mean((1, 2, 3)) * torch.tensor([len(p) for p in prompts]))
    images = torch.rand(6, 3, 4, 4)
    prompts, metadata = ["a", "a", "bb", "bb", "ccc", "ccc"], [{}] * 6
    whole = rewards.components(images, prompts, metadata)["a"]
    for batch in (1, 3, 4, 100):
        assert torch.equal(rewards.components(images, prompts, metadata, group_size=2, batch=batch)["a"], whole)
