"""commits/<shard>.json: that a shard exists, and what its files must be. It is believed only where it is whole.

A commit has a checksum of itself; those of older stores have none, so that of these the shard's index is asked, too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from distillkit.errors import StoreError, in_the_end
from distillkit.store.format import layout
from distillkit.store.format.field import Field
from distillkit.store.format.manifest import Shard
from distillkit.store.format.plan import counted
from distillkit.system.record import sealed, unsealed


def commit_path(shard: int) -> str:
    """Where a commit is, below its store."""
    return f"commits/{shard:05d}.json"


def commit_of(record: Shard) -> dict[str, Any]:
    """What is written of a shard."""
    return sealed(record.model_dump())


def read_commit(store: Path, shard: int, rows: int, fields: Mapping[str, Field]) -> Shard | None:
    """What the commit of a shard of `rows` rows tells; None where it is damaged, or tells what cannot be.

    FileNotFoundError where there is none.
    """
    content = (store / commit_path(shard)).read_bytes()
    try:
        value, has_seal = unsealed(content)
        record = Shard.model_validate(value)
    except ValueError:  # pydantic's is one, too
        return None
    files = {layout.index_path(shard), *(layout.shard_path(name, shard, field) for name, field in fields.items())}
    files |= {layout.failures_path(shard)} if record.ok < rows else set()
    if record.rows != rows or not 0 <= record.ok <= rows or record.files.keys() != files:
        return None
    index = store / layout.index_path(shard)
    if has_seal or not index.is_file():  # it is not here, as of a store behind a URL
        return record
    return record if counted(index) == (record.rows, record.ok) else None


def committed(store: Path, shard: int, told: Callable[[int], Shard | None], ours: Callable[[], None]) -> Shard:
    """What the commit of a shard tells, where a store is to be finished. `told`: who reads it. `ours` refuses where the
    store is another by now; StoreError where there is no commit any more, or one that was damaged meanwhile.
    """
    try:
        record = told(shard)
    except FileNotFoundError as error:
        ours()
        raise StoreError(
            f"{in_the_end(error.filename)}: another process has taken that shard back, to make it again; run "
            "the same command when it has ended"
        ) from error
    if record is None:
        ours()
        raise StoreError(
            f"{in_the_end(store / commit_path(shard))}: damaged; run the same command again, which makes that "
            "shard anew"
        )
    return record
