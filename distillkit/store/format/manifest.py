"""The manifest: what a store holds and who made it. It is written last; without it there is no store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field as Rule
from pydantic import ValidationError, model_validator
from pydantic_core import from_json

from distillkit.errors import StoreError
from distillkit.store.format import layout
from distillkit.store.format.field import PARAMETERS, Field, Strict
from distillkit.store.format.maker import how_again
from distillkit.store.format.replaced import beside, between
from distillkit.system.atomic import parsed_json
from distillkit.system.collecting import paused
from distillkit.system.paths import meant
from distillkit.system.record import digest
from distillkit.system.wording import count as counted

FILE_NAME = "manifest.json"
VERSION = 2
READABLE = (1, VERSION)
_MOST_UNPACKED = 1 << 28  # of a row; a file of a few bytes must not become a memory full of them
_SHOWN = 4  # stores in a folder that is none


class File(Strict):
    """A file of a shard, as it must be."""

    bytes: int
    sha256: str


class Shard(Strict):
    """One committed range of planned rows; `ok` of its `rows` have features, the others are in the failure ledger.

    `clipped`: by int8 field, how many values lay beyond what its steps can tell.
    """

    rows: int
    ok: int
    files: dict[str, File]
    clipped: dict[str, int] = Rule(default_factory=dict)


class Manifest(Strict):
    """Everything a reader must know before it trusts a row. Equal stores have equal manifests, byte for byte.

    `files`: those that belong to no shard, the steps of int8 fields. `remarks`: what else there is to know, such as
    how many texts a teacher could not read to their ends; no part of what the digest says.
    """

    format: Literal["distillkit"] = "distillkit"
    version: int = VERSION
    name: str
    source: dict[str, Any]
    teachers: dict[str, dict[str, Any]]
    fields: dict[str, Field]
    views: dict[str, Any]
    rows: int
    rows_per_shard: int
    skipped: int
    shards: list[Shard]
    files: dict[str, File] = Rule(default_factory=dict)
    made_with: dict[str, str]
    remarks: dict[str, dict[str, int]] = Rule(default_factory=dict)

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        """A reader finds rows by arithmetic and files by their names, so all numbers and names must agree."""
        full = [shard.rows == self.rows_per_shard for shard in self.shards]
        if self.rows != sum(shard.rows for shard in self.shards) or not all(full[:-1]):
            raise ValueError("its shards do not add up to its rows")
        if not self.shards or not all(0 <= shard.ok <= shard.rows <= self.rows_per_shard for shard in self.shards):
            raise ValueError("no shards, or a shard of impossible size")
        if not {"kind", "knobs", "root", "plan"} <= self.source.keys():
            raise ValueError("source: without kind, knobs, root or plan")
        if self.skipped != sum(shard.rows - shard.ok for shard in self.shards):
            raise ValueError("its shards do not add up to its skipped rows")
        for name, field in self.fields.items():
            self._check_field(name, field)
        steps = {layout.steps_path(name): field for name, field in self.fields.items() if field.dtype == "int8"}
        if self.files.keys() != steps.keys():
            raise ValueError("files: not the steps of its int8 fields")
        self._check_files()
        return self

    def _check_field(self, name: str, field: Field) -> None:
        parts = name.split("/")
        if len(parts) != 2 or parts[0] != field.teacher or {"", ".", ".."} & set(parts) or "\\" in name:
            raise ValueError(f"{name}: no name of a field of {field.teacher}")
        if name == PARAMETERS:
            if field.dtype != "float32" or field.shape[1:] != [len(self.views.get("columns", []))]:
                raise ValueError(f"{name}: not a float32 for each of views.columns")
        elif field.teacher not in self.teachers or field.teacher == "views":
            raise ValueError(f"{name}: a field of no teacher")
        if min(field.shape) < 1 or layout.step(field) > self.rows_per_shard or self.rows_per_shard % layout.step(field):
            raise ValueError(f"{name}: rows of {field.shape} {field.dtype}, {self.rows_per_shard} of them in a shard")
        if field.compression and field.row_bytes > _MOST_UNPACKED:
            raise ValueError(f"{name}: compressed rows of {field.row_bytes} bytes")
        if (field.per_view or name == PARAMETERS) and field.views != self.views.get("count"):
            raise ValueError(f"{name}: {counted(field.views, 'view')}, the store has {self.views.get('count')}")
        if self.version == 1 and not field.in_version_1:
            raise ValueError(f"{name}: nothing that version 1 knows")

    def _check_files(self) -> None:
        """The files of a shard are the ones its fields make, and of the size that shape and dtype make them."""
        sizes: dict[tuple[str, int], int] = {}
        for number, shard in enumerate(self.shards):
            expected = {layout.index_path(number), *([layout.failures_path(number)] if shard.ok < shard.rows else [])}
            for name, field in self.fields.items():
                path = layout.shard_path(name, number, field)
                expected.add(path)
                if field.compression or path not in shard.files:
                    continue
                size = sizes.get((name, shard.rows))
                if size is None:  # of all full shards the same
                    size = sizes[name, shard.rows] = layout.shard_size(shard.rows, self.rows_per_shard, field)
                if shard.files[path].bytes != size:
                    raise ValueError(f"{path}: {shard.files[path].bytes} bytes, its shape and dtype make {size}")
            if shard.files.keys() != expected:
                raise ValueError(f"shard {number}: its files are not the ones its fields make")

    @property
    def digest(self) -> str:
        """sha256 over the manifest but its remarks, and through its checksums over every row of the store."""
        return digest(self.model_dump(exclude={"remarks"}))

    @classmethod
    def read(cls, store: Path) -> Manifest:
        """The manifest of the store at `store`; StoreError when there is none, or none that this version can read."""
        path = store / FILE_NAME
        if not path.is_file():
            if between(store):
                raise StoreError(
                    f"{store}: a run died when a complete store was to take the place of this one; this puts it there: "
                    f"{how_again(beside(store))}"
                )
            begun = (store / "plan.json").is_file()
            hint = "what makes it has not finished; rerun it" if begun else "extract it first"
            near = "" if store.exists() else meant(store)
            where = "" if near or store.exists() or store.is_absolute() else f" in {Path.cwd()}"
            if another := what_else(store):
                raise StoreError(f"{store}: {another}; name a store")
            raise StoreError(f"{store}: no complete feature store{where}{near} ({hint}: {how_again(store)})")
        return cls.of(path.read_bytes(), path, lambda: how_again(store))

    @classmethod
    def of(cls, content: bytes, place: Path | str, again: Callable[[], str]) -> Manifest:
        """The manifest that these bytes are; StoreError names `place`, and what `again` says that makes it anew."""
        try:
            with paused():
                found = _parsed(content)
                if isinstance(found, dict) and found.get("version") not in READABLE:
                    raise StoreError(
                        f"{place}: store format version {found.get('version')!r}, this distillkit reads 1 to "
                        f"{VERSION}; use the distillkit that wrote it, or move it away and make it again: {again()}"
                    )
                return cls.model_validate(found)
        except ValidationError as error:
            if key := _of_a_newer(found, error):
                raise Newer(
                    f"{place}: not a manifest of this version ({key!r} is newer); use the distillkit that wrote it, or "
                    f"move the store away and make it again: {again()}"
                ) from error
            first = error.errors()[0]
            what = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
            raise StoreError(f"{place}: not a manifest ({what}); run: {again()}") from error
        except ValueError as error:
            raise StoreError(f"{place}: not JSON ({error}); run: {again()}") from error


def _of_a_newer(found: Any, error: ValidationError) -> str | None:
    """A key that nobody here knows, where all else is as it must be. A damaged letter makes none: then the key that was
    meant is not there.
    """
    places = [one["loc"] for one in error.errors() if one["type"] == "extra_forbidden"]
    known = {name for model in (Manifest, Field, Shard, File) for name in model.model_fields}
    for *around, key in places:
        beside = reduce(getitem, around, found).keys()
        if any(len(str(key)) == len(name) and _apart(str(key), name) == 1 for name in known - beside):
            return None
    return str(places[0][-1]) if len(places) == error.error_count() else None


def _apart(one: str, other: str) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


class Newer(StoreError):
    """A manifest that is whole, and that a later version wrote: nothing of it may be written anew by this one."""


def readable(store: Path) -> bool:
    """Whether a manifest lies there that this version can read. Newer for one of a later version."""
    try:
        Manifest.read(store)
    except Newer:
        raise
    except StoreError:
        return False
    return True


def _parsed(content: bytes) -> Any:
    """JSON, by pydantic's parser, which is the quicker one; names that are no UTF-8 are read by Python's alone."""
    try:
        return from_json(content, cache_strings="keys")
    except ValueError:
        return parsed_json(content)


def file_digest(path: Path) -> File:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        return File(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())


def what_else(place: Path) -> str | None:
    """What lies where a store was looked for, and is none; None where a store may come to be."""
    if place.is_file():
        return "is a file, and a store is a folder"
    if (place / "view.json").is_file():
        return "is a view of a store, and holds none of its rows"
    if (place / "recipe.json").is_file():
        return "is the folder of a run, not of a store"
    within = sorted(str(one.parent) for one in place.glob(f"*/{FILE_NAME}"))
    more = ", ..." if within[_SHOWN:] else ""
    return f"is no store but holds {', '.join(within[:_SHOWN])}{more}" if within else None
