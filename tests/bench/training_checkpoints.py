"""What the default interval of checkpoints costs a run."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

from distillkit.recipe import Checkpoints
from distillkit.system import cpu
from distillkit.training.checkpoint import State, Writer
from tests.bench.measure import Row, compare
from tests.bench.training_step import learner_at, student_alone


def run(folder: Path, quick: bool) -> list[Row]:
    """Steps with a checkpoint among them against the same steps without, spread over the steps between two of them.

    A checkpoint is written within the few steps that are timed, so all that it takes from them is in the difference.
    """
    cpu.settle()
    learner, steps = learner_at(32 if quick else 224), 1 if quick else 4
    without = student_alone(learner, 4 if quick else 32, steps)
    writer, numbers = Writer(folder, 1), itertools.count()

    def kept() -> None:
        writer.write(State.of(next(numbers), learner.model, learner.optimizer, learner.scaler))
        without()
        writer.wait()

    every = Checkpoints().every_steps
    name = f"training, ViT-Ti/16 at 224 px, batches of 32: a checkpoint every {every} steps / none"
    row = compare(name, kept, without, goal=1.01, unit="s", rounds=2 if quick else 7, speed=False)
    return [_spread(row, steps, every)]


def _spread(row: Row, steps: int, every: int) -> Row:
    """What `steps` steps with a checkpoint are to as many without, as what `every` steps with one are."""
    assert row.ratio is not None and row.low is not None and row.high is not None
    assert row.ours is not None and row.theirs is not None
    ratio, low, high = (round(1 + (one - 1) * steps / every, 5) for one in (row.ratio, row.low, row.high))
    whole = row.theirs * every / steps
    times = {"ours": round(whole * ratio, 3), "theirs": round(whole, 3)}
    return replace(row, ratio=ratio, low=low, high=high, met=ratio <= 1.01, **times)
