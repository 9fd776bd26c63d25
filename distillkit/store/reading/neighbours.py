"""Mined neighbours as they are used: which texts of a store are near to the rows of another, and how near.

Made by `distillkit mine-neighbours`; see mine.py.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from distillkit.errors import StoreError
from distillkit.store.format.log import typed
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.wording import as_word, count

_BLOCK = 16_384  # rows that are looked at at once


class Neighbours:
    """The addition `name` of a store, mined in `texts` or in the store that `texts` is a view of.

    StoreError when there is none, or when it was mined in another store. Texts that are not usable (a view leaves them
    out) are no neighbours. `k` limits how many are looked at.
    """

    def __init__(self, store: FeatureStore, name: str, texts: FeatureStore, k: int | None = None):
        if name not in store.added:
            made = ", ".join(store.added) or "nothing is added to it"
            raise StoreError(f"{store.path}: no neighbours {name!r} ({made}); run: distillkit mine-neighbours RECIPE")
        # Relied on: the digest of this store covers the neighbours too.
        self.store, self.name = FeatureStore(store.path, store.alias, uses=[name]), name
        self.facts = self.store.teachers.get(name, {})
        if self.facts.get("kind") != "mined":
            raise StoreError(f"{store.path}: {name!r} is no addition of neighbours, but a teacher's; name another")
        mined_in, most = self.facts.get("texts_digest"), self.facts.get("k")
        if not isinstance(mined_in, str) or not isinstance(most, int) or most < 1:
            raise StoreError(
                f"{store.path}: {name!r} does not tell which texts it was mined in, or how many; mine again"
            )
        if mined_in != texts.manifest.digest:
            raise StoreError(
                f"{store.path}: its {name!r} were mined in the text store {mined_in[:16]}, "
                f"{texts.path} is {texts.manifest.digest[:16]}; mine again"
            )
        if k is not None and k > most:
            raise StoreError(
                f"{store.path}: {most} {name!r} were mined of each row, {k} are asked for; ask for fewer, "
                f"or mine again with k = {k}"
            )
        self.k, self.texts = k or most, texts
        self.usable = np.zeros(len(texts) + 1, bool)  # the last one is where -1 looks
        self.usable[texts.ok_rows] = True

    @property
    def path(self) -> Path:
        """The folder of the addition."""
        return self.store.added[self.name].path

    def ids(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "n k"]:
        """Rows of the text store, nearest first; -1 where there is none."""
        ids = self.store.read(f"{self.name}/ids", rows).numpy()[:, : self.k].astype(np.int64)
        if ids.size and not -1 <= ids.min() <= ids.max() < len(self.usable) - 1:
            raise StoreError(
                f"{self.store.path}: {self.name!r} tells of rows that the text store has not; mine again, or see "
                f"what is damaged: distillkit store verify {as_word(self.store.path)}"
            )
        return np.where(self.usable[ids], ids, -1)

    def scores(self, rows: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n k"]:
        """Their cosines; NaN where a row has none."""
        return self.store.read(f"{self.name}/scores", rows).numpy()[:, : self.k].astype(np.float32)

    def silent(self, among: Int[np.ndarray, "n"] | None = None) -> Int[np.ndarray, "m"]:
        """The usable rows of the store, or those of them in `among`, that nothing was mined for."""
        volume, usable = self.store.added[self.name], FeatureStore(self.store.path, self.store.alias)
        found = np.setdiff1d(volume.failed, usable.failed_rows)
        return found if among is None else np.intersect1d(found, among)

    def unasked(self, silent: Int[np.ndarray, "n"]) -> Int[np.ndarray, "m"]:
        """Those of these rows for which nobody mined, as mining was asked for another view of the store.

        A row whose vector is zero or NaN is none of them: no mining finds neighbours for it.
        """
        store, field = self.store, str(self.facts.get("field"))
        if field not in store.fields:
            return silent[:0]
        view = 0 if store.field(field).per_view else None
        found = [silent[:0]]
        for start in range(0, len(silent), _BLOCK):
            rows = silent[start : start + _BLOCK]
            lengths = store.read(field, rows, view=view).double().norm(dim=-1).numpy()
            found.append(rows[np.isfinite(lengths) & (lengths > 0)])
        return np.concatenate(found)

    def refuse_unasked(self, silent: Int[np.ndarray, "n"], asked: int) -> None:
        """StoreError where some of these rows, of `asked`, were never looked for."""
        store, never = self.store, self.unasked(silent)
        if len(never):
            made = typed(store.added[self.name].path, "mine-neighbours")
            raise StoreError(
                f"{store.path}: {len(never):,} of {count(asked, 'image')} have no {self.name!r} (first: "
                f"{store.values('key', never[:1])[0]}), which were mined for other rows of {store.base.path}"
                f"{f' by: {made}' if made else ''}; mine them for these: {self.cure}"
            )

    @property
    def cure(self) -> str:
        """The command that mines for the rows of this store, to be typed as it stands but for the recipe."""
        asked = shlex.join(
            ["distillkit", "mine-neighbours", "RECIPE", "--set", f"queries={json.dumps(str(self.store.path))}"]
        )
        return f"{asked} (and another name, if those that are there are to stay)"

    def alone(self, rows: Int[np.ndarray, "n"]) -> Int[np.ndarray, "m"]:
        """Those of `rows` of which no neighbour is usable."""
        blocks = (rows[first : first + _BLOCK] for first in range(0, len(rows), _BLOCK))
        return np.concatenate([rows[:0], *(some[self.ids(some).max(axis=1) < 0] for some in blocks)])

    @property
    def may_lack(self) -> bool:
        """Whether mined neighbours may be missing among these texts: they are a view, and more than it was searched."""
        return self.texts.selection is not None and self.facts.get("corpus_digest") != self.texts.digest
