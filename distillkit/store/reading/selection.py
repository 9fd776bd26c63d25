"""A view: some rows of another store under a name of their own, without a copy of any of them.

A view is a folder with `view.json`, which names the store by place and digest, and `rows.npy`, the rows that are meant.
Row numbers stay those of the store; whoever opens the view finds no other rows usable.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from distillkit.errors import StoreError
from distillkit.store.bucket.remote import shown
from distillkit.store.format.log import FILE_NAME as LOG
from distillkit.store.format.manifest import FILE_NAME as MANIFEST
from distillkit.store.format.manifest import Manifest, file_digest
from distillkit.store.reading.newer import refuse_newer
from distillkit.store.reading.whose_rows import named, place
from distillkit.system import npy
from distillkit.system.atomic import atomic_file, parsed_json, write_json
from distillkit.system.lines import append_line, read_lines
from distillkit.system.record import digest
from distillkit.system.retyped import from_here, retyped
from distillkit.system.turns import in_turn
from distillkit.system.wording import count

FILE_NAME = "view.json"
ROWS = "rows.npy"
_VERSION = 1


@dataclass(frozen=True)
class Making:
    """How a view was made: the `command`, None where nobody recorded it, and the views and stores that it was made `of`
    beside its own store, each with its digest of then.
    """

    command: str | None = None
    of: tuple[tuple[Path, str], ...] = ()


def making(path: Path, digest: str) -> Making:
    """How the view of that digest was made at `path`, whatever lies there by now; all that its log tells."""
    lines = [line for line in read_lines(path / LOG) if line.get("view") == digest]
    if not lines:
        return Making()
    of = lines[-1].get("of", {})
    places = of.items() if isinstance(of, dict) else ()
    return Making(
        lines[-1].get("command"), tuple((Path(os.path.normpath(path / place)), str(made)) for place, made in places)
    )


def again(path: Path, store: Path | None = None, digest: str | None = None) -> str:
    """The command that makes the view at `path` again: as it was typed if its log tells that, else what is known.

    `store`, `digest`: of the view, where it can be read; else the last command counts that made one here.
    """
    lines = [line for line in read_lines(path / LOG) if "view" in line and digest in (None, line["view"])]
    said = lines[-1].get("command") if lines else None
    for kind in ("store view", "select-texts"):
        if command := retyped(said, kind):
            here = any(Path(word).absolute() == path.absolute() for word in shlex.split(command))
            # Of relative places nobody knows where they began, unless one of them is the view's own.
            elsewhere = ", in the folder where it was typed" if kind == "store view" and not here else ""
            return from_here(command) + elsewhere
    if (path / "selection.json").is_file():
        return "distillkit select-texts RECIPE, with the recipe that it was made with, which nobody recorded"
    known = shlex.join(["distillkit", "store", "view", shown(store) if store else "STORE", str(path)])
    return f"{known}, with the options that it was made with, which nobody recorded"


class Selection:
    """The view at `path`. StoreError where its rows are damaged, or its store is not the one it was made of.

    `lots`: how many shares its rows hang on, one drawn of what the one before had left; the next is another lot.
    """

    def __init__(self, path: Path):
        self.path = path
        try:
            facts = parsed_json((path / FILE_NAME).read_bytes())
            if (facts["format"], facts["version"]) != ("distillkit-view", _VERSION):
                raise StoreError(f"{path}: a view of another format; make it again: {again(path)}")
            # No part of the digest: how rows were drawn, and the same rows are the same view.
            self.lots = int(facts.pop("lots", 0))
            if not 0 <= self.lots < 2**63:
                raise ValueError(f"lots = {self.lots}")
            self.store = place(path, facts["store"], str(facts["digest"]))
            self.digest, self.base, self.count = digest(facts), str(facts["digest"]), int(facts["rows"])
            self._sha256 = str(facts["sha256"])
        except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
            raise StoreError(f"{path}: no view that can be read ({error}); make it again: {again(path)}") from error

    def manifest(self) -> Manifest:
        """The manifest of the store it was made of, and of no other."""
        manifest = Manifest.read(self.store)
        if manifest.digest != self.base:
            raise StoreError(
                f"{self.path}: a view of the store {self.base[:16]}; at {shown(self.store)} is now "
                f"{manifest.digest[:16]}; make it again: {again(self.path, self.store, self.digest)}"
            )
        return manifest

    def refused(self) -> str | None:
        """Why nobody can open it: its store is another by now. None where it is not, or is not complete."""
        if not (self.store / MANIFEST).is_file():
            return None
        try:
            self.manifest()
        except StoreError as error:
            return str(error)
        return None

    @cached_property
    def rows(self) -> np.ndarray:
        """The rows that are meant: int64 [n], rising."""
        path, cure = self.path / ROWS, f"make the view again: {again(self.path, self.store, self.digest)}"
        if not path.is_file() or file_digest(path).sha256 != self._sha256:
            raise StoreError(f"{path}: missing, or not as it was written; {cure}")
        try:
            rows = npy.load(path)
        except ValueError as error:
            raise StoreError(f"{path}: {error}; {cure}") from error
        if rows.dtype != np.int64 or rows.ndim != 1 or (len(rows) and rows[0] < 0) or (np.diff(rows) <= 0).any():
            raise StoreError(f"{path}: no rising row numbers; {cure}")
        return rows

    @property
    def command(self) -> str | None:
        """What made it, None where nobody recorded that."""
        return making(self.path, self.digest).command

    def ok(self, rows: int) -> np.ndarray:
        """Whether each of so many rows of the store is meant: bool [rows]."""
        mask = np.zeros(rows, bool)
        if len(self.rows) and self.rows[-1] >= rows:
            raise StoreError(f"{self.path / ROWS}: names row {self.rows[-1]}, of {rows} that its store has")
        mask[self.rows] = True
        return mask


def _usable(path: Path) -> Selection | None:
    """The view at `path`, if there is one of a store that is still as it was."""
    try:
        view = Selection(path)
        return view if view.manifest() and len(view.rows) else None
    except StoreError:
        return None


def store_behind(path: Path) -> Path:
    """The folder of the store at `path`; of a view, that of the store whose rows it means."""
    return Selection(path).store if (path / FILE_NAME).is_file() else path


@contextmanager
def writing_view(out: Path) -> Iterator[None]:
    """What lies at `out`, a view or none, is this process's to look at and to write; others wait."""
    with in_turn(out, "view"):
        yield


def select(
    store: Path,
    rows: np.ndarray,
    out: Path,
    command: str | None = None,
    *,
    overwrite: bool = True,
    lots: int = 0,
    others: Sequence[Path] = (),
) -> Selection:
    """The view of `rows` of the store at `store`, made at `out`; `command` is what reports tell of how, and `others`
    are views and stores that it needs; `lots` is that of `Selection`. StoreError for no rows, or some it does not have.

    Without `overwrite` also where `out` is a view of other rows, which can still be used, be it made at this moment.
    """
    with writing_view(out):
        return select_here(store, rows, out, command, overwrite=overwrite, lots=lots, others=others)


def select_here(
    store: Path,
    rows: np.ndarray,
    out: Path,
    command: str | None,
    *,
    overwrite: bool,
    lots: int = 0,
    others: Sequence[Path] = (),
) -> Selection:
    """The same, of who holds `writing_view`, to write more beside it."""
    of = [(place, _digest(place)) for place in (store, *others)]
    store = store_behind(store)
    manifest, chosen = Manifest.read(store), np.unique(rows).astype("<i8")
    if not len(chosen):
        raise StoreError(f"{store}: a view of none of {count(manifest.rows, 'row')} is asked for; name one at least")
    if chosen[0] < 0 or chosen[-1] >= manifest.rows:
        raise StoreError(
            f"{store}: rows {chosen[0]} to {chosen[-1]} are meant, of {count(manifest.rows, 'row')}, which begin at 0; "
            "name rows that it has"
        )
    if (out / "plan.json").exists():
        raise StoreError(f"{out}: holds a store; move it away, or choose another place")
    if (out / "recipe.json").exists():
        raise StoreError(f"{out}: is the folder of a run; choose another place for the view")
    if not overwrite:
        refuse_newer(out / FILE_NAME, _VERSION)
    if not overwrite and (other := _usable(out)) is not None and not np.array_equal(other.rows, chosen):
        raise StoreError(
            f"{out}: is a view of {count(other.count, 'other row')} of {shown(other.store)}; name another place, or "
            "add --overwrite"
        )
    with atomic_file(out / ROWS) as file:
        npy.save(file, chosen)
    facts = {
        "format": "distillkit-view",
        "version": _VERSION,
        "store": named(store, out),
        "digest": manifest.digest,
        "rows": len(chosen),
        "sha256": file_digest(out / ROWS).sha256,
    }
    write_json(out / FILE_NAME, facts | ({"lots": lots} if lots else {}))
    made = Selection(out)
    # For people, and no part of the view: the same rows by another command are the same view.
    needed = {named(one, out): seen for one, seen in of if one != store}
    told = ({"command": command} if command else {}) | ({"of": needed} if needed else {})
    if told:
        append_line(out / LOG, {"view": made.digest} | told)
    return made


def _digest(path: Path) -> str:
    return Selection(path).digest if (path / FILE_NAME).is_file() else Manifest.read(path).digest
