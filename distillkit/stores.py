"""What is done to finished stores, as functions: the commands of `distillkit store`, with values in place of print.

from distillkit import verify

assert verify("stores/mine/images").good
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from distillkit import extract as _extract
from distillkit.callable import Say, silent
from distillkit.engine.append import append as _append
from distillkit.engine.importing import import_features as _import
from distillkit.engine.lowered import Lost, lowered
from distillkit.engine.redo import redo as _redo
from distillkit.engine.reforward import Agreement
from distillkit.engine.reforward import reforward as _reforward
from distillkit.engine.retry import retry as _retry
from distillkit.errors import StoreError
from distillkit.hidden import public
from distillkit.recipe import Component, ExtractRecipe, load, settings
from distillkit.report.store_page import write_store
from distillkit.store.bucket.remote import local
from distillkit.store.format.classes import classes_of
from distillkit.store.format.manifest import Manifest
from distillkit.store.reading.additions import FOLDER, additions
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.store.reading.unfinished import unfinished
from distillkit.store.upkeep.concat import concatenate
from distillkit.store.upkeep.export import export as _export
from distillkit.store.upkeep.parts import are_parts, assemble
from distillkit.store.upkeep.precision import Choice, choices
from distillkit.store.upkeep.verify import verify as _verify
from distillkit.store.upkeep.view import Asked, make_view
from distillkit.system import cpu
from distillkit.system.numbers import refuse_less
from distillkit.system.paths import expand, here
from distillkit.system.remote import is_remote
from distillkit.system.versions import versions

Place = str | Path


@dataclass(frozen=True)
class Verified:
    """`problems`: files that differ from their checksums, and rows from what the teachers say now; `asked`: by field,
    how rows agree with the teachers that were asked again.
    """

    problems: list[str]
    asked: list[Agreement] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems


def store_info(store: Place) -> dict[str, Any]:
    """The manifests of a store and its additions, by place (its own is "."); of an unfinished one, its progress.

    Of a view: those of its store, and under "view" how many of its rows it means, its own digest, and where the store
    is another by now, why it is "refused". With the manifest of a store with "classes": the number of each.
    """
    path = _here(store)
    view = Selection(path) if (path / VIEW).is_file() else None
    path = view.store if view else path
    begun = unfinished(path)
    if begun:
        return asdict(begun) | {"path": str(path)}
    told = {"view": {"store": str(path), "rows": view.count, "digest": view.digest}} if view else {}
    refused = view.refused() if view else None
    if refused:
        told["view"]["refused"] = refused
    manifest = Manifest.read(path)
    every = {".": manifest} | {f"{FOLDER}/{name}": added for name, added in additions(path, manifest).items()}
    told |= {name: {"digest": one.digest} | one.model_dump() for name, one in every.items()}
    told["."] |= {"classes": classes} if (classes := classes_of(path)) else {}
    return told


def show(store: Place, *, out: Place | None = None, texts: Place | None = None, root: Place | None = None) -> Path:
    """A store as a page to look at, in this folder by the store's name if `out` does not say where.

    `texts`: show images with the nearest texts of this store, else of one beside it; `root`: where images lie by now.
    """
    opened = FeatureStore(store)
    page = here(out) if out is not None else Path(f"{opened.path.absolute().name}.html")
    return write_store(
        page, opened, None if texts is None else here(texts), None if root is None else expand(str(root))
    )


@cpu.settled()
def verify(store: Place, *, reforward: int | None = None, recipe: Place | None = None, say: Say = silent) -> Verified:
    """Every file against its checksum; then, where asked, `reforward` rows against what the teachers say now.

    `recipe`: an extraction's, which says where the teachers are, if not where the store says.
    """
    refuse_less(1, reforward=reforward)
    problems = _verify(_here(store), say)
    if problems or reforward is None:
        return Verified(problems)
    loaded = None if recipe is None else load(recipe, kind=ExtractRecipe)
    found = list(_reforward(FeatureStore(store), reforward, loaded, say))
    asked = [one for one in found if not isinstance(one, str)]
    told = [one for one in found if isinstance(one, str)]
    return Verified(told + [problem for one in asked for problem in one.problems], asked)


def store_precision(store: Place, fields: Sequence[str] | None = None) -> dict[str, list[Choice]]:
    """By field, what it would cost in other precisions: bytes, cosine error, neighbours kept."""
    opened = FeatureStore(store)
    names = [opened.field_name(name) for name in fields] if fields else list(opened.feature_names)
    return {name: choices(opened, name) for name in names}


@cpu.settled()
def teacher_precision(
    store: Place, precision: str, *, rows: int = 1024, fields: Sequence[str] | None = None, say: Say = silent
) -> list[Lost]:
    """What its teachers would lose in another precision, such as "fp8": asked again about some rows, field by field."""
    refuse_less(2, rows=rows)
    return list(lowered(FeatureStore(store), precision, rows, fields, say))


def store_failures(store: Place) -> list[dict[str, str]]:
    """The failure ledger: key, stage and error of each sample without features, or without its text or label."""
    opened = FeatureStore(store)
    return [*opened.failures(), *opened.losses()]


def merge(out: Place, parts: Sequence[Place], *, fields: Sequence[str] | None = None, say: Say = silent) -> Manifest:
    """The parts of one extraction, or stores of several corpora by the same teacher, as the store `out`; of the second
    only these `fields`, where some have others as well.
    """
    places = [_near(part) for part in parts]
    told = ["--fields", ",".join(fields)] if fields else []
    command = shlex.join(["distillkit", "store", "merge", str(out), *map(str, places), *told])
    if fields or not are_parts(places):
        return concatenate(here(out), places, say, versions(), command, fields)
    return assemble(here(out), places, say, versions(), command)


def _near(part: Place) -> Path:
    if is_remote(part):
        raise StoreError(
            f"{public(str(part))}: is a URL, and stores are merged from folders; copy it to one here first"
        )
    return _here(part)


def import_features(
    kind: str, source: Place, out: Place, *, overrides: Sequence[str] | None = None, say: Say = silent
) -> Manifest:
    """What another project has stored, as the store `out`; `overrides` tell what is known of its teacher."""
    knobs = [word for value in overrides or () for word in ("--set", value)]
    command = shlex.join(["distillkit", "store", "import", kind, str(source), str(out), *knobs])
    component = Component(kind=kind, **settings(list(overrides or ())))
    return _import(component, here(source), here(out), versions(), say, command)


def view(
    store: Place,
    out: Place,
    *,
    keys: Place | None = None,
    rows: str | None = None,
    labels: str | None = None,
    share: float | None = None,
    seed: int = 0,
    other_than: Place | None = None,
    as_many_as: Place | None = None,
    overwrite: bool = False,
    say: Say = silent,
) -> Selection:
    """Some rows of a store as a store without a copy: those that `keys`, `rows` and `labels` all mean, of these about
    that `share`, drawn by lot, and none that `other_than` has; `say` is told of a view that it replaces.
    """
    asked = {"keys": keys, "rows": rows, "labels": labels, "share": share, "seed": seed or None}
    asked |= {"other-than": other_than, "as-many-as": as_many_as}
    knobs = [word for name, value in asked.items() if value is not None for word in (f"--{name}", str(value))]
    command = shlex.join(["distillkit", "store", "view", str(store), str(out), *knobs])
    meant = Asked(
        keys=None if keys is None else here(keys),
        rows=rows,
        labels=labels,
        share=share,
        seed=seed,
        other_than=None if other_than is None else _here(other_than),
        as_many_as=None if as_many_as is None else here(as_many_as),
    )
    return make_view(_here(store), here(out), meant, command, say, overwrite=overwrite)


def export_store(
    store: Place, out: Place, *, form: str = "npy", fields: Sequence[str] | None = None, say: Say = silent
) -> int:
    """A store, or a view of one, in a form that other programs read: npy, arrow, parquet, webdataset; how many rows."""
    return _export(FeatureStore(store), here(out), form, list(fields) if fields else None, say)


def append(
    recipe: ExtractRecipe | Place,
    say: Say = silent,
    command: str | None = None,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
) -> list[Path]:
    """The samples by which the corpora of `recipe` (`only`: these, by name) grew are added to their stores; nothing is
    computed again.
    """
    return _extract.extract(recipe, say, command, overrides=overrides, instead=_append, only=only)


def retry_failed(
    recipe: ExtractRecipe | Place,
    say: Say = silent,
    command: str | None = None,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
) -> list[Path]:
    """The samples of the stores of `recipe` that failed are tried again: their shards alone."""
    return _extract.extract(recipe, say, command, overrides=overrides, instead=_retry, only=only)


def retry_changed(
    recipe: ExtractRecipe | Place,
    say: Say = silent,
    command: str | None = None,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
) -> list[Path]:
    """The images of the stores of `recipe` whose files are others now are done again."""
    return _extract.extract(recipe, say, command, overrides=overrides, instead=_redo, only=only)


def _here(store: Place) -> Path:
    return local(str(store)) if "://" in str(store) else here(store)
