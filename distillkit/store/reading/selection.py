"""A view: some rows of another store under a name of their own, without a copy of any of them.

A view is a folder with `view.json`, which names the store by place and digest, and `rows.npy`, the rows that are meant.
Row numbers stay those of the store; whoever opens the view finds no other rows usable.
"""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.format.manifest import Manifest, digest, file_digest
from distillkit.system import npy
from distillkit.system.atomic import atomic_file, parsed_json, write_json

FILE_NAME = "view.json"
_ROWS = "rows.npy"


class Selection:
    """The view at `path`. StoreError where its rows are damaged, or its store is not the one it was made of."""

    def __init__(self, path: Path):
        self.path = path
        try:
            facts = parsed_json((path / FILE_NAME).read_bytes())
            if (facts["format"], facts["version"]) != ("distillkit-view", 1):
                raise StoreError(f"{path}: a view of another format; make it again: distillkit store view")
            self.store = Path(os.path.normpath(path / facts["store"]))
            self.digest, self.base, self.count = digest(facts), str(facts["digest"]), int(facts["rows"])
            self._sha256 = str(facts["sha256"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{path}: no view that can be read ({error}); make it again: distillkit store view"
            ) from error

    def manifest(self) -> Manifest:
        """The manifest of the store it was made of, and of no other."""
        manifest = Manifest.read(self.store)
        if manifest.digest != self.base:
            raise StoreError(
                f"{self.path}: a view of the store {self.base[:16]}; at {self.store} is now {manifest.digest[:16]}; "
                "make it again: distillkit store view"
            )
        return manifest

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows that are meant: int64 [n], rising."""
        path = self.path / _ROWS
        if not path.is_file() or file_digest(path).sha256 != self._sha256:
            raise StoreError(f"{path}: missing, or not as it was written; make the view again: distillkit store view")
        try:
            rows = npy.load(path)
        except ValueError as error:
            raise StoreError(f"{path}: {error}; make the view again: distillkit store view") from error
        if rows.dtype != np.int64 or rows.ndim != 1 or (len(rows) and rows[0] < 0) or (np.diff(rows) <= 0).any():
            raise StoreError(f"{path}: no rising row numbers; make the view again: distillkit store view")
        return rows

    def ok(self, rows: int) -> np.ndarray:
        """Whether each of so many rows of the store is meant: bool [rows]."""
        mask = np.zeros(rows, bool)
        if len(self.rows) and self.rows[-1] >= rows:
            raise StoreError(f"{self.path / _ROWS}: names row {self.rows[-1]}, of {rows} that its store has")
        mask[self.rows] = True
        return mask


def home(path: Path) -> Path:
    """The store at `path`, or where a view is there, the one that it is a view of."""
    return Selection(path).store if (path / FILE_NAME).is_file() else path


def select(store: Path, rows: np.ndarray, out: Path) -> Selection:
    """The view of `rows` of the store at `store`, made at `out`. StoreError for no rows, or some it does not have."""
    store = home(store)
    manifest, chosen = Manifest.read(store), np.unique(rows).astype("<i8")
    if not len(chosen) or chosen[0] < 0 or chosen[-1] >= manifest.rows:
        asked = (
            f"rows {chosen[0]} to {chosen[-1]} are meant" if len(chosen) else "no row is meant by all that was asked"
        )
        raise StoreError(f"{store}: {asked}, it has {manifest.rows}; choose other --rows, --keys or --labels")
    if (out / "plan.json").exists():
        raise StoreError(f"{out}: holds a store; move it away, or choose another place")
    with atomic_file(out / _ROWS) as file:
        np.save(file, chosen, allow_pickle=False)
    facts = {
        "format": "distillkit-view",
        "version": 1,
        "store": os.path.relpath(store.absolute(), out.absolute()),
        "digest": manifest.digest,
        "rows": len(chosen),
        "sha256": file_digest(out / _ROWS).sha256,
    }
    write_json(out / FILE_NAME, facts)
    return Selection(out)
