"""Gradients are sent while the backward pass goes on, also beside heads that are through and weights nobody uses."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from distillkit.training import gradients
from distillkit.training.gradients import Averaged
from distillkit.training.ranks import Ranks


@pytest.fixture
def sent(monkeypatch):
    """Two ranks that have the same gradients, one of them here; a parameter a bucket. What is sent, in order."""
    sizes = []

    def all_reduce(flat, async_op=False):
        sizes.append(len(flat))
        flat *= 2
        return SimpleNamespace(wait=lambda: None)

    monkeypatch.setattr(gradients.dist, "all_reduce", all_reduce)
    monkeypatch.setattr(gradients, "_BUCKET", 1)
    monkeypatch.setattr(Ranks, "told", lambda self, value: value)
    return sizes


def model():
    torch.manual_seed(0)
    layers = {f"layer{n}": nn.Linear(n, n + 1, bias=False) for n in (2, 3, 4)}
    return nn.ModuleDict(layers | {"unused": nn.Linear(11, 1, bias=False), "head": nn.Linear(5, 6, bias=False)})


def see(made, x):
    return made["layer4"](made["layer3"](made["layer2"](x)))


def step(made, averaged):
    """As in parts: the head's gradient comes first, of the features as leaves; then the student's, in the last part."""
    made.zero_grad(set_to_none=True)
    x = torch.ones(1, 2)
    leaf = see(made, x).detach().requires_grad_()
    made["head"](leaf).sum().backward()
    averaged.start(there=made["head"].parameters())
    see(made, x).backward(leaf.grad)


def test_nothing_waits_for_heads_that_are_through_and_only_at_first_for_what_nobody_uses(sent):
    made = model()
    averaged = Averaged(made, Ranks(0, 2))
    step(made, averaged)
    assert sent == [30], "the head's gradient is there from the beginning; behind it stands a weight without one"
    averaged.finish()
    assert sent == [30, 11, 20, 12, 6]
    own = {name: one.grad.clone() for name, one in made.named_parameters()}
    sent.clear()
    step(made, averaged)
    assert sent == [30, 20, 12, 6], "what nobody uses comes last from now on"
    averaged.finish()
    assert sent[4:] == [11]
    for name, one in made.named_parameters():  # the mean of two equal ones
        assert torch.equal(one.grad, own[name]), name
    assert made["unused"].weight.grad.eq(0).all()
