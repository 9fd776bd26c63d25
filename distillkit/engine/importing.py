"""Features that somebody else has stored, as a store: rows are planned by their keys, then copied shard by shard."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from distillkit.callable import Say
from distillkit.engine.alike import told_of_alike
from distillkit.errors import RecipeError, SourceError
from distillkit.recipe import Component
from distillkit.store.format import layout
from distillkit.store.format.encode import encode
from distillkit.store.format.field import Field
from distillkit.store.format.log import put_together
from distillkit.store.format.manifest import Manifest
from distillkit.store.format.plan import kept, make_plan
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.writing.fill import fill
from distillkit.store.writing.shards import Failure
from distillkit.store.writing.writer import StoreWriter
from distillkit.system.atomic import make_folder
from distillkit.system.progress import Counted
from distillkit.system.record import digest
from distillkit.system.wording import count

_ROWS = 65_536  # of a shard, or as few more as make it whole


def import_features(
    component: Component,
    source: Path,
    out: Path,
    made_with: Mapping[str, str],
    say: Say,
    command: str | None = None,
) -> Manifest:
    """What lies at `source` as the store at `out`; rows that cannot be used are lines of its ledger. Its log
    tells the `command`.

    SourceError when nothing of that kind lies there.
    """
    component.check("importers", "import")
    importer: Any = component.build("importers", source)
    _refuse_names(importer.teachers)
    make_folder(out.parent)
    plan, duplicates = make_plan(Counted(importer, f"{out}: planning, rows", say), None, out.parent)
    if duplicates:
        say(f"{out}: left out {count(duplicates, 'row')} whose key had come before")
    places = kept(plan, (sample.key for sample in importer)) if duplicates else None
    if places is not None and len(places) != plan.num_rows:
        raise SourceError(f"{source}: {component.kind!r} gives other keys each time; let its __iter__ repeat itself")
    fields = importer.fields
    for name, field in fields.items():
        if 0 in field.shape:
            raise SourceError(f"{source}: rows of {name} have width 0; name a folder of features with numbers")
    imported = {"duplicates": duplicates, "imported": {"kind": component.kind, "place": str(source)}}
    identity = {"source": importer.source | imported, "teachers": importer.teachers, "views": importer.views}
    least = math.lcm(*(layout.step(field) for field in fields.values()))
    writer = StoreWriter(out, plan, fields, -(-_ROWS // least) * least, identity)
    files = {"files": made_of(getattr(importer, "places", ()))}
    ours = writer.previous_identity() == writer.identity
    other = ours and (put_together(out) or files).get("files", files["files"]) != files["files"]
    if other and not writer.finished():
        raise SourceError(
            f"{source}: its files are others than when {out} was begun (sizes, times of change); bring those back, or "
            "name another place for the store"
        )
    if other:
        say(f"{out}: was made of other files than lie at {source} now, and stays as it is; import them elsewhere")
        return Manifest.read(out)
    told = {"imported": component.kind} | ({"command": command} if command else {}) | files
    manifest = fill(writer, partial(_read, importer, fields, places), made_with, say, told=[told])
    for line in told_of_alike(FeatureStore(out)):
        say(line)
    return manifest


def _read(
    importer: Any, fields: Mapping[str, Field], places: Int64[np.ndarray, "n"] | None, first: int, stop: int
) -> tuple[dict[str, np.ndarray], list[Failure]]:
    """Planned rows as the store keeps them. `places`: of each, which row it is of what is imported; None: the same."""
    rows = np.arange(first, stop) if places is None else places[first:stop]
    found, refused = _as_asked(importer, importer.read(rows), fields, len(rows))
    arrays = {}
    for name, field in fields.items():
        encoded = encode(found[name].reshape(stop - first, *field.shape), field)
        arrays[name] = encoded.rows.copy()
        for row in np.flatnonzero(~encoded.usable).tolist():
            refused.setdefault(row, f"{name}: what is stored is not finite in {field.dtype}")
    return arrays, [(row, "read", told) for row, told in refused.items()]


def _as_asked(
    importer: Any, given: Any, fields: Mapping[str, Field], rows: int
) -> tuple[dict[str, torch.Tensor], dict[int, str]]:
    """What an importer read. SourceError where it is no row of each field for each row: an array that lies the other
    way round has as many numbers, and would be other rows.
    """
    its = f"{type(importer).__name__}.read"
    if not (isinstance(given, tuple | list) and len(given) == 2 and all(isinstance(one, Mapping) for one in given)):
        raise SourceError(f"import: {its} gives {given!r:.60}; let it return ({{field: array}}, {{row: why not}})")
    found, refused = given
    if strange := [row for row in refused if row not in range(rows)]:
        raise SourceError(f"import: {its} refuses row {strange[0]!r} of {rows:,}; count from the first that was asked")
    arrays = {}
    for name, field in fields.items():
        try:
            arrays[name] = torch.as_tensor(found[name])
        except (KeyError, TypeError, ValueError) as error:
            raise SourceError(f"import: {its} gives no array of numbers for {name!r}; let it") from error
        shape, wanted = list(arrays[name].shape), [rows, *field.shape]
        if shape[:1] != [rows] or arrays[name].numel() != math.prod(wanted):
            raise SourceError(
                f"import: {its} gives {name!r} as {shape}; let it be {wanted}, a row for each that it asks"
            )
    return arrays, {int(row): told for row, told in refused.items()}


def made_of(places: Iterable[Path]) -> str:
    """Names, sizes and times of change of files, in short: what tells these from others that come to lie there."""
    stats = [(path.name, path.stat()) for path in places]
    return digest([[name, stat.st_size, stat.st_mtime_ns] for name, stat in stats])


def _refuse_names(teachers: Iterable[str]) -> None:
    """RecipeError where a teacher is called what is no name of a folder."""
    for name in teachers:
        if name in ("", ".", "..", "views") or set("/\\") & set(name):
            raise RecipeError(f"import: name = {name!r}: cannot be a teacher's name; choose one without slashes")
