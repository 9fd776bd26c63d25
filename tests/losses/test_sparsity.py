"""The price of too many parameters, its rising target, and its multipliers that ascend."""

import pytest
from torch import tensor

from distillkit.losses.sparsity import Sparsity
from distillkit.types import Batch, Features
from tests.losses.axes import WIDTHS, value


def test_too_few_zeros_cost_and_too_many_do_not():
    def price(sparsity, step=1000, **knobs):
        loss = Sparsity(WIDTHS, target=0.5, multiplier=10.0, **knobs)
        return value(loss, Batch(step=step), sparsity=tensor(sparsity))

    assert price(0.3) == 10 * 0.2 + 10 * 0.04
    assert price(0.3, step=800) == 10 * 0.1 + 10 * 0.01
    assert price(0.3, step=9000) == price(0.3)
    assert price(0.6) == 0
    assert price(0.6, two_sided=True) == -10 * 0.1 + 10 * 0.01


def test_the_sparsity_target_rises_and_stays():
    loss = Sparsity(WIDTHS, target=0.75, start=0.25, warmup_steps=100)
    assert [loss.target_at(step) for step in (0, 50, 100, 900)] == [0.25, 0.5, 0.75, 0.75]


def test_a_descent_on_the_sparsity_price_ascends_the_multipliers():
    loss, sparsity = Sparsity(WIDTHS, target=0.5), tensor(0.3, requires_grad=True)
    loss(Batch(step=1000), Features(sparsity=sparsity)).backward()
    assert sparsity.grad.item() == pytest.approx(-10 - 2 * 10 * 0.2)
    assert loss.linear.grad.item() == pytest.approx(-0.2)
    assert loss.quadratic.grad.item() == pytest.approx(-0.04)
