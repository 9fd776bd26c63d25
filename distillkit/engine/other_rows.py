"""Which rows of a store its corpus says something else of now: the digest of a plan tells only that there are some."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.store.format.maker import caller
from distillkit.store.format.plan import plan_at
from distillkit.store.reading.lookup import find
from distillkit.system.wording import count as counted

_SAYS = ("image", "text", "label")
_BLOCK = 65_536


def lost_rows(store: Path, plan: pa.Table) -> str | None:
    """How many rows of a store are none of `plan`, and which is the first; None where there are none."""
    old = plan_at(store)
    if old is None:
        return None
    gone = np.flatnonzero(find(old["key"].combine_chunks(), plan["key"]) < 0)
    if not len(gone):
        return None
    first = old["key"][int(gone[0])].as_py()
    return f"{len(gone):,} of its {counted(len(old), 'row')} gone from the corpus, the first is {first!r}"


def other_rows(store: Path, plan: pa.Table) -> str | None:
    """How many rows of a store have another image, text or label in `plan`, and how the first one differs.

    None where there are none, or where a row is gone.
    """
    old = plan_at(store)
    if old is None or (places := find(old["key"].combine_chunks(), plan["key"])).min(initial=0) < 0:
        return None
    count, first = 0, ""
    for start in range(0, len(old), _BLOCK):
        before, now = old.slice(start, _BLOCK), plan.take(pa.array(places[start : start + _BLOCK]))
        same = {name: _same(before[name], now[name]) for name in _SAYS}
        changed = np.flatnonzero(~np.logical_and.reduce(list(same.values())))
        if len(changed) and not count:
            row = int(changed[0])
            what = next(name for name in _SAYS if not same[name][row])
            was, is_now = (table[what][row].as_py() for table in (before, now))
            first = f"{before['key'][row].as_py()!r}, whose {what} was {was!r:.60} and is {is_now!r:.60}"
        count += len(changed)
    return f"{count:,} of its {counted(len(old), 'row')} changed in the corpus, as {first}" if count else None


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray) -> np.ndarray:
    """Where two columns say the same; nothing is the same as nothing."""
    nothing = pc.and_(one.is_null(), other.is_null())
    found: np.ndarray = pc.fill_null(pc.equal(one, other), nothing).to_numpy()
    return found


def changed_rows(store: Path, plan: pa.Table) -> str:
    """Why a store cannot go on with `plan`, of which some row is gone or another, and what next."""
    lost = lost_rows(store, plan)
    told = lost or other_rows(store, plan) or "its plan.arrow is damaged"
    option = caller().smaller if lost else "--overwrite"
    return f"{told}; undo that, or extract anew: {caller().begin} {option}"
