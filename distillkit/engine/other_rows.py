"""Which rows of a store its corpus says something else of now: the digest of a plan tells only that there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.store.reading.lookup import find

_SAYS = ("image", "text", "label")


def plan_of(store: Path) -> pa.Table | None:
    """The rows that a store was begun with; None where they cannot be read, which `store verify` tells."""
    try:
        return pa.ipc.open_file(pa.memory_map(str(store / "plan.arrow"))).read_all()
    except (OSError, pa.ArrowException):
        return None


def lost_rows(store: Path, plan: pa.Table) -> str | None:
    """How many rows of a store are none of `plan`, and which is the first; None where there are none."""
    old = plan_of(store)
    if old is None:
        return None
    gone = np.flatnonzero(find(old["key"].combine_chunks(), plan["key"]) < 0)
    if not len(gone):
        return None
    first = old["key"][int(gone[0])].as_py()
    return f"{len(gone)} of its {len(old)} rows are gone from the corpus, the first is {first!r}"


def other_rows(store: Path, plan: pa.Table) -> str | None:
    """How many rows of a store have another image, text or label in `plan`, and which is the first; None where none."""
    old = plan_of(store)
    if old is None or (places := find(old["key"].combine_chunks(), plan["key"])).min(initial=0) < 0:
        return None
    now = plan.take(pa.array(places))
    same = [
        pc.fill_null(pc.equal(old[name], now[name]), pc.and_(old[name].is_null(), now[name].is_null()))
        for name in _SAYS
    ]
    changed = np.flatnonzero(~np.logical_and.reduce([one.to_numpy() for one in same]))
    if not len(changed):
        return None
    first = int(changed[0])
    what = next(name for name, one in zip(_SAYS, same, strict=True) if not one[first].as_py())
    before, after = (table[what][first].as_py() for table in (old, now))
    told = f"{len(changed)} of its {len(old)} rows are others in the corpus now, as {old['key'][first].as_py()!r}"
    return f"{told}, whose {what} was {before!r:.60} and is {after!r:.60}"


def changed_rows(store: Path, plan: pa.Table) -> str:
    """Why a store cannot go on with `plan`, of which some row is gone or another, and what next."""
    lost = lost_rows(store, plan)
    told = lost or other_rows(store, plan) or "its plan.arrow is damaged"
    option = "--allow-smaller" if lost else "--overwrite"
    return f"{told}; undo that, or extract anew: distillkit extract-teacher RECIPE {option}"
