"""Who begins a store in a bucket. Claims of other machines are not seen there, so it is said in the bucket itself.

begins.json   the plan to come: who created it, and none of another recipe, lays down what belongs to no shard
plan.json     from here on the store is begun; the other file goes
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import PLAN, Origin
from distillkit.system.atomic import write_json

ANOTHER = "another process has begun a store of another recipe here; stop it, or choose another `out`"
_BEGINS = "begins.json"


def begin(there: Origin, identity: Any, names: Iterable[str]) -> None:
    """Bring up the files of these names, and then the plan, which is that of whoever came first.

    StoreError for another recipe, which touches nothing.
    """
    said = there.path / _BEGINS
    write_json(said, identity)
    try:
        _begin(there, said, [name for name in names if name != _BEGINS])
    finally:
        said.unlink()
    there.copy(PLAN)


def _begin(there: Origin, said: Path, names: Iterable[str]) -> None:
    if not there.create(said, _BEGINS) and there.content(_BEGINS) not in (None, said.read_bytes()):
        raise StoreError(f"{there.url}: {ANOTHER}, or, where none runs any more, remove {there.url}/{_BEGINS}")
    if there.content(PLAN) is None:
        there.push(names)
        there.create(said, PLAN)
    there.remove(_BEGINS)


def tidy(there: Origin, listed: Collection[str]) -> None:
    """Take away what a run left that was killed when it had just begun."""
    if _BEGINS in listed and (there.path / PLAN).is_file():
        there.remove(_BEGINS)
