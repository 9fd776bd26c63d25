"""What a loss or student of one's own keeps beside its buffers is told: a continued run would begin it anew."""

import math
import random
from collections import deque

import numpy as np
import pytest
import torch
from torch import nn

from distillkit.recipe import Term
from distillkit.training.remembered import Remembered, _seen, _some
from tests.training.test_learner import batch, learner

STATES = {
    "mean": lambda: torch.zeros(16),
    "array": lambda: np.zeros(3),
    "count": lambda: 0,
    "queue": lambda: deque(maxlen=2),
    "by_key": dict,
    "numpy": lambda: np.random.default_rng(0),
    "older": lambda: np.random.RandomState(0),
    "python": lambda: random.Random(0),
    "torch": torch.Generator,
}
MOVES = {
    "mean": lambda loss, image: setattr(loss, "mean", 0.9 * loss.mean + image.detach().mean(0)),
    "array": lambda loss, image: loss.array.__iadd__(1.0),
    "count": lambda loss, image: setattr(loss, "count", loss.count + 1),
    "queue": lambda loss, image: loss.queue.append(image.detach()),
    "by_key": lambda loss, image: loss.by_key.update({len(loss.by_key): image.detach()}),
    "numpy": lambda loss, image: loss.numpy.random(),
    "older": lambda loss, image: loss.older.random(),
    "python": lambda loss, image: loss.python.random(),
    "torch": lambda loss, image: torch.rand(1, generator=loss.torch),
}


ODD = {
    "sparse": torch.eye(3).to_sparse(),
    "no_data": torch.empty(3, device="meta"),
    "conjugated": torch.ones(3, dtype=torch.complex64).conj(),
    "system": random.SystemRandom(),
    "large": 10**5000,
    "uninitialized": nn.UninitializedParameter(),
}


def held_by_itself():
    tree = {"name": "root"}
    tree["sons"] = [{"of": tree, "beside": tree}, tree, tree]
    return tree


class Mine(nn.Module):
    """A loss of one's own that keeps `what` from step to step."""

    needs = ("student.image", "teacher.image")

    def __init__(self, widths, *, name: str | None = None, weight: float = 1.0, what: str = "mean"):
        super().__init__()
        self.name, self.weight, self.what, self.table = name, weight, what, None
        self.head = nn.Linear(widths.student["image"], widths.teacher["image"])
        self.register_buffer("seen", torch.zeros(()))
        for name, begun in STATES.items():
            setattr(self, name, begun())

    def forward(self, batch, student):
        self.table = torch.arange(4.0) if self.table is None else self.table
        self.seen += 1
        if self.what in MOVES:
            MOVES[self.what](self, student.image)
        return (self.head(student.image) - batch.teacher.image).square().mean()


class Showing(Mine):
    """Keeps what is odd, too much or made anew by each step, and changes none of it."""

    def forward(self, batch, student):
        if not hasattr(self, "shown"):
            vars(self).update(ODD, tree=held_by_itself(), wide=torch.zeros(1).expand(1 << 40))
        self.again = [*self.head.parameters()]  # as torch's own recurrent layers keep them, which are made of
        self.shown = {"tokens": [student.image]}
        return super().forward(batch, student)


def told(what, kind="Mine", **ramp):
    made = learner(losses=[Term(kind=f"tests.training.test_remembered:{kind}", what=what, **ramp)])
    remembered, lines = Remembered(made), []
    for step in range(4):
        made.step(batch(step), 1e-3)
        lines += remembered.after(step + 1)
    return lines


@pytest.mark.parametrize("what", list(STATES))
def test_what_changes_and_is_in_no_checkpoint_is_told_once(what):
    (line,) = told(what)
    assert line.startswith(f"losses.Mine.{what}: changes at each step and is in no checkpoint"), line
    assert ("register_buffer" in line) != ("without a generator" in line)
    assert ("without a generator" in line) == (what in ("numpy", "older", "python", "torch"))


def test_buffers_tables_and_ramps_are_not():
    assert told("nothing") == []
    assert told("nothing", ramp={"weight": {"to": 0.5, "start": 0, "stop": 4}}) == []


def test_what_is_kept_to_be_looked_at_and_what_cannot_be_is_not():
    assert told("nothing", "Showing") == []


def test_of_a_large_table_rows_from_all_over_are_looked_at():
    table = torch.zeros(70_000, 512)
    for place in (0, 34_999, 69_999):
        before = _seen(table)
        table[max(place - 256, 0) : place + 1] += 1
        assert _seen(table) != before != _seen(table.numpy())
    for shape in [(), (0, 5), (7, 3), (3_000, 3_000, 2), (1 << 20,), (2, 1 << 20)]:
        seen = torch.zeros(()).expand(shape)[_some(shape)]
        assert seen.numel() == math.prod(shape) or 16_000 < seen.numel() <= 131_072, shape


def test_a_run_tells_of_it(recipes, run_cli, tmp_path):
    run_cli("extract-teacher", recipes[0])
    losses = 'losses=[{ kind = "tests.training.test_remembered:Mine", what = "count" }]'
    code, _, err = run_cli("train-student", recipes[1], "--set", losses)
    assert code == 0 and err.count("losses.Mine.count: changes at each step") == 1, err
