"""The manifest: what a store holds and who made it. It is written last; without it there is no store."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from distillkit.atomic import write_json
from distillkit.errors import StoreError

FILE_NAME = "manifest.json"
VERSION = 1


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Field(_Strict):
    """One array of the store: rows of `shape` made by the teacher of that name."""

    teacher: str
    shape: list[int]
    dtype: Literal["float16", "float32"]


class File(_Strict):
    """A file of a shard, as it must be."""

    bytes: int
    sha256: str


class Shard(_Strict):
    """One committed range of planned rows; `ok` of its `rows` have features, the others are in the failure ledger."""

    rows: int
    ok: int
    files: dict[str, File]


class Manifest(_Strict):
    """Everything a reader must know before it trusts a row. Equal stores have equal manifests, byte for byte."""

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
    made_with: dict[str, str]

    @model_validator(mode="after")
    def _adds_up(self) -> Self:
        """A reader finds rows by arithmetic, so the numbers must agree."""
        full = [shard.rows == self.rows_per_shard for shard in self.shards]
        if self.rows != sum(shard.rows for shard in self.shards) or not all(full[:-1]):
            raise ValueError("its shards do not add up to its rows")
        if self.skipped != sum(shard.rows - shard.ok for shard in self.shards):
            raise ValueError("its shards do not add up to its skipped rows")
        for name, field in self.fields.items():
            if field.teacher not in self.teachers or not name.startswith(f"{field.teacher}/"):
                raise ValueError(f"{name}: a field of no teacher")
        return self

    @property
    def digest(self) -> str:
        """sha256 over the whole manifest, and through its checksums over every row of the store."""
        return digest(self.model_dump())

    def write(self, store: Path) -> None:
        write_json(store / FILE_NAME, self.model_dump())

    @classmethod
    def read(cls, store: Path) -> Manifest:
        """The manifest of the store at `store`; StoreError when there is none, or none that this version can read."""
        path = store / FILE_NAME
        if not path.is_file():
            hint = (
                "its extraction has not finished; rerun it" if (store / "plan.json").is_file() else "extract it first"
            )
            raise StoreError(f"{store}: no complete feature store ({hint}: distillkit extract-teacher RECIPE)")
        try:
            content = json.loads(path.read_bytes())
            if isinstance(content, dict) and content.get("version") != VERSION:
                raise StoreError(
                    f"{path}: store format version {content.get('version')!r}, this distillkit reads {VERSION}; "
                    "use the distillkit that wrote it, or extract again"
                )
            return cls.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            what = ": ".join([*map(str, first["loc"]), first["msg"].removeprefix("Value error, ")])
            raise StoreError(f"{path}: not a manifest ({what}); extract the store again") from error
        except ValueError as error:
            raise StoreError(f"{path}: not JSON ({error}); extract the store again") from error


def digest(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def file_digest(path: Path) -> File:
    """Size and sha256 of a file."""
    with path.open("rb") as file:
        return File(bytes=path.stat().st_size, sha256=hashlib.file_digest(file, "sha256").hexdigest())
