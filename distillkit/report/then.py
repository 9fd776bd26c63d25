"""What a run was trained on, as it recorded it: its stores may have grown since, and its views been made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from distillkit.report.stores import places_of_stores
from distillkit.runfolder import RunFolder
from distillkit.store.reading.keys import rows_again
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import count


@dataclass(frozen=True)
class Then:
    """One of its stores: `store` is the one of today, `digest` and `rows` are of when the student was trained, None
    where nobody recorded them; so is `of`, how many usable rows the store of a view had.
    """

    store: FeatureStore
    digest: str | None
    rows: int | None
    keys: str | None
    of: int | None = None

    @property
    def same(self) -> bool:
        """Whether it still is the one that it was."""
        return self.digest in (None, self.store.digest)

    @property
    def number(self) -> int | None:
        """How many rows it had; of older runs what the same store has today."""
        return self.rows if self.rows is not None else len(self.store.ok_rows) if self.same else None

    def rows_now(self) -> Int64[np.ndarray, "n"] | None:
        """The rows of today's store that are those of then, None where nobody knows them any more."""
        if self.same:
            return self.store.ok_rows
        return rows_again(self.store, self.rows, self.keys) if self.rows is not None and self.keys else None

    def in_short(self) -> str:
        """The same in the table of stores; empty where it still is the one that it was."""
        if self.same:
            return ""
        before = "how many rows then was not recorded" if self.rows is None else f"{count(self.rows, 'row')} then"
        return f"another one than at training: {before}, {len(self.store.ok_rows):,} now"

    def told(self) -> str:
        """A sentence on how it has changed."""
        digests = f"digest {str(self.digest)[:16]} then, {self.store.digest[:16]} now"
        now = len(self.store.ok_rows)
        rows = f"; {count(self.rows, 'row')} then, {now:,} now" if self.rows is not None and self.rows != now else ""
        return (
            f"{self.store.path} has changed since the student was trained ({digests}{rows}); "
            "what is said below of its costs and its files is of today"
        )


def other_now(store: FeatureStore, then: Mapping[str, Then]) -> str:
    """How a store of today is another one than the one that was trained on; empty where it is none of these."""
    return next(filter(None, (one.in_short() for one in then.values() if one.store.path == store.path)), "")


def changes(then: Mapping[str, Then]) -> list[str]:
    """A sentence for each store that has changed: one that several teachers looked at is one store."""
    told: dict[str, str] = {}
    for one in then.values():
        if not one.same:
            told.setdefault(str(one.store.path), one.told())
    return list(told.values())


def as_then(run: RunFolder) -> dict[str, Then]:
    """What the student of `run` was trained on, by the recipe's name for it."""
    facts, digests = run.facts(), (run.begun_with() or {}).get("stores", {})
    opened, rows, keys, asked = (facts.get(what, {}) for what in ("opened", "rows", "keys", "asked"))
    return {
        name: Then(
            FeatureStore(path, **opened.get(name, {})),
            digests.get(name),
            rows.get(name),
            keys.get(name),
            asked.get(name),
        )
        for name, path in places_of_stores(run).items()
    }
