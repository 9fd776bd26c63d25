"""The range of what teachers say, seen beforehand on rows of the whole corpus: what the numbers of int8 will mean."""

from __future__ import annotations

from contextlib import closing

import pyarrow as pa
import torch

from distillkit.callable import Say
from distillkit.engine.computing import computed, counted
from distillkit.engine.job import Job
from distillkit.errors import StoreError
from distillkit.store.format.steps import Steps, sample_of
from distillkit.system.wording import count


def measured(job: Job, plan: pa.Table, say: Say) -> dict[str, Steps]:
    """The steps of every int8 field of the job, by name."""
    fields = {name: field for name, field in job.fields.items() if field.dtype == "int8"}
    if not fields:
        return {}
    rows = sample_of(plan.num_rows, fields.values())
    say(f"{job.path}: measuring the range of {', '.join(fields)} on {count(len(rows), 'row')}")
    exact, sample = job.exactly(fields), {0: plan.take(pa.array(rows))}
    with counted(exact, len(rows), say) as tell, closing(computed(exact, sample, say, tell)) as shards:
        shard = next(shards)
    without = {row: why for row, _, why in sorted(shard.failures, reverse=True)}  # of each row the first
    first = min(without, default=None)
    whose = "" if first is None else f"{shard.plan['key'][first].as_py()}: {without[first]}"
    if 0 < len(without) < len(rows):
        say(
            f"{job.path}: the range is measured without {len(without):,} of them, which have no features (the first, "
            f"{whose}); if they can be read later, their values may lie beyond it"
        )
    try:
        return {name: Steps.of(torch.from_numpy(shard.arrays[name])) for name in fields}
    except StoreError as error:  # no row has features
        raise StoreError(f"{job.path}: {error} (the first, {whose})") from error
