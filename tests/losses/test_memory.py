"""No loss builds a tensor over batch x width x batch, forward or backward: its largest is a score matrix or a batch."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.bench.losses import TERMS, step

BATCH, WIDTH = 48, 40


class Largest(TorchDispatchMode):
    """Sees every operation, those of the way back too; keeps the size of the largest result."""

    entries = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else (made,):
            if isinstance(one, torch.Tensor):
                self.entries = max(self.entries, one.untyped_storage().nbytes() // one.element_size())
        return made


def largest(work):
    work()
    with Largest() as seen:
        work()
    return seen.entries


@pytest.mark.parametrize("term", TERMS, ids=lambda term: term.paper)
def test_nothing_is_larger_than_a_score_matrix(term):
    # Twice a batch, for what is concatenated (AFD), or twice a weight between two widths.
    assert largest(step(term, BATCH, WIDTH)) <= max(BATCH * BATCH, 2 * BATCH * WIDTH, 2 * WIDTH * WIDTH)


def test_the_released_codes_way_would_be_seen():
    x = torch.randn(BATCH, WIDTH, requires_grad=True)
    assert largest(lambda: (x[:, :, None] * x.T).sum().backward()) == BATCH * WIDTH * BATCH
