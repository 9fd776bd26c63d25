"""Some planned rows as features, with the failures among them.

What a shard holds depends on nothing but the job and its rows, so it can be computed again, anywhere.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
from torch import Tensor

from distillkit.engine.cost import Cost
from distillkit.engine.job import Job
from distillkit.store.format.encode import encode
from distillkit.store.format.field import blank
from distillkit.store.writing import stamps
from distillkit.store.writing.shards import Failure


@dataclass
class Shard:
    """The fields of some planned rows, those who failed, and what it cost.

    `stamps`: what the files of its images were. `reached`: how many of its images are in the arrays, how many batches
    of its texts; `rows_reached`: rows of these.
    """

    job: Job
    number: int
    plan: pa.Table
    arrays: dict[str, np.ndarray] = field(init=False)
    stamps: np.ndarray = field(init=False)
    failures: list[Failure] = field(default_factory=list)
    clipped: Counter[str] = field(default_factory=Counter)  # values beyond the steps of each int8 field
    cost: Cost = field(default_factory=Cost)
    reached: dict[str, int] = field(default_factory=dict)
    rows_reached: int = 0

    def __post_init__(self) -> None:
        self.arrays = {name: blank(field, self.plan.num_rows) for name, field in self.job.fields.items()}
        self.stamps = stamps.blank(self.plan.num_rows)

    def keep(self, name: str, rows: list[int], values: Tensor, known: set[int]) -> None:
        """Put what a teacher said in its rows; a row with a value that the dtype cannot hold has failed."""
        kind = self.job.fields[name]
        kept = encode(values.reshape(len(rows), *kind.shape), kind, self.job.steps.get(name))
        self.arrays[name][rows] = kept.rows
        self.clipped[name] += kept.clipped
        for row in np.asarray(rows)[~kept.usable].tolist():
            if row not in known:
                told = name if len(self.job.teachers) > 1 else name.partition("/")[2]
                self.failures.append(
                    (row, "forward", f"{told}: the teacher gave a value that is not finite in {kind.dtype}")
                )
                known.add(row)
