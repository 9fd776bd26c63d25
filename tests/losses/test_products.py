"""`optim.loss_products = "bf16"`: what is multiplied is rounded, what is summed is not; by default nothing is."""

import pytest
import torch
from torch import nn

from distillkit.losses import _products
from distillkit.losses._products import Linear, Rounded, product
from distillkit.recipe.registry import kinds, resolve
from tests.losses.test_contract import toy


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def rounded(x):
    return x.to(torch.bfloat16).double()


def test_sums_stay_whole_where_products_are_rounded():
    a, b = torch.ones(1, 4097), torch.ones(4097, 2)
    with Rounded(True):
        assert product(a, b).tolist() == [[4097.0, 4097.0]]  # which bfloat16 would write as 4096
        assert product(a, b).dtype == torch.float32


def test_value_and_gradients_are_those_of_rounded_numbers():
    a, b, along = numbers(5, 7).requires_grad_(), numbers(7, 3, seed=1).requires_grad_(), numbers(5, 3, seed=2)
    with Rounded(True):
        found = product(a, b)
    found.backward(along)  # the way back is rounded, wherever it is gone
    for value, expected in (
        (found, rounded(a) @ rounded(b)),
        (a.grad, rounded(along) @ rounded(b).T),
        (b.grad, rounded(a).T @ rounded(along)),
    ):
        torch.testing.assert_close(value.double(), expected, rtol=1e-6, atol=1e-6)


def test_a_gpu_under_an_older_pytorch_sums_in_float32_as_well(monkeypatch):
    """Before 2.8 it knows no product of bfloat16 numbers that stays float32."""

    class OnGpu(torch.Tensor):
        is_cuda = True

    monkeypatch.setattr(_products, "_KEEPS_FLOAT32", False)
    a, b = (numbers(*shape).to(torch.bfloat16).as_subclass(OnGpu) for shape in ((5, 7), (7, 3)))
    found = _products._summed(a, b)
    assert found.dtype == torch.float32 and torch.equal(found, a.float() @ b.float())


def test_a_head_is_torchs_own_and_its_product_is_rounded():
    torch.manual_seed(0)
    head = Linear(6, 4)
    torch.manual_seed(0)
    own, x = nn.Linear(6, 4), numbers(2, 5, 6)
    assert torch.equal(head(x), own(x)) and head.state_dict().keys() == own.state_dict().keys()
    with Rounded(True):
        torch.testing.assert_close(
            head(x).double(), rounded(x) @ rounded(own.weight).T + own.bias.double(), rtol=1e-6, atol=1e-6
        )


def _judged(kind, on):
    torch.manual_seed(0)
    widths, batch, student = toy(kind)
    loss = resolve("losses", kind)(widths)
    fields = [need.partition(".")[2] for need in loss.needs if need.startswith("student.")]
    leaves = [getattr(student, field).requires_grad_() for field in fields]
    with Rounded(on):
        value = loss(batch, student)
    value.backward()
    assert value.dtype == torch.float32 and all(leaf.grad.dtype == torch.float32 for leaf in leaves)
    return [value.detach(), *(leaf.grad for leaf in leaves)]


MULTIPLIES = {"affinity", "caption_contrast", "contrastive", "feature_regression", "fusion", "gradient", "interactive",
              "sigmoid", "token_regression"}  # fmt: skip


@pytest.mark.parametrize("kind", kinds("losses"))
def test_a_loss_is_nearly_what_it_is_without(kind):
    whole, low = _judged(kind, False), _judged(kind, True)
    assert any(not torch.equal(one, other) for one, other in zip(whole, low, strict=True)) == (kind in MULTIPLIES)
    for one, other in zip(whole, low, strict=True):
        assert (one - other).norm() <= 0.05 * one.norm() + 1e-6
