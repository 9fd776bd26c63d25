"""What tests of losses on numbers share: embeddings on two axes, and a value to compare with."""

import math

import pytest
import torch

from distillkit.types import Batch, Features, Widths

LN2, LN3 = math.log(2), math.log(3)
AXES = torch.eye(2)
PAIR = torch.arange(2)
WIDTHS = Widths(
    dict.fromkeys(("image", "text", "masked", "masked_image", "cls", "patches"), 2),
    dict.fromkeys(("image", "text", "caption", "cls", "patches"), 2),
)


def batch(match=PAIR, mask=None, **teacher):
    return Batch(match=match, mask=mask, teacher=Features(**teacher))


def value(loss, batch, **student):
    return pytest.approx(loss(batch, Features(**student)).item(), rel=1e-6, abs=1e-7)
