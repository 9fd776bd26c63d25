"""Checking a store against its manifest: every file that a reader uses, every byte."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

import pyarrow as pa

from distillkit.callable import Say
from distillkit.errors import StoreError
from distillkit.store.bucket.remote import origin
from distillkit.store.format import layout
from distillkit.store.format.checksums import BESIDE, PLAN
from distillkit.store.format.checksums import FILE_NAME as CHECKSUMS
from distillkit.store.format.field import Field
from distillkit.store.format.maker import how_again
from distillkit.store.format.manifest import FILE_NAME, File, Manifest
from distillkit.store.format.plan import READ, counted, plan_digest
from distillkit.store.reading.additions import FOLDER, additions
from distillkit.store.reading.selection import FILE_NAME as VIEW
from distillkit.store.reading.selection import Selection
from distillkit.store.writing.commits import commit_path
from distillkit.store.writing.stamps import kept
from distillkit.store.writing.steps import FILE_NAME as STEPS
from distillkit.store.writing.steps import record_of
from distillkit.system.arrow import table_at, table_of
from distillkit.system.atomic import as_json, parsed_json
from distillkit.system.opening import blame_the_file
from distillkit.system.progress import Progress
from distillkit.system.record import unsealed


def verify(path: Path, say: Say | None = None) -> list[str]:
    """What is wrong with the store at `path` and its additions, one line each; empty when all is as manifests say.

    Of a view: what is wrong with its rows, and with the store that it is a view of. `say`: who hears how far it is.
    """
    if (path / VIEW).is_file():
        return _view(Selection(path), say)
    manifest = Manifest.read(path)
    volumes = {path: manifest} | {path / FOLDER / name: added for name, added in additions(path, manifest).items()}
    return [problem for place, held in volumes.items() for problem in _volume(place, held, say)]


def made_again_by(path: Path, problems: list[str]) -> list[str]:
    """The commands that do the damaged shards of a store anew, once the files that `problems` name are deleted."""
    if (path / VIEW).is_file():
        path = Selection(path).store
    volumes = [path / FOLDER / name for name in additions(path, Manifest.read(path))]
    hurt = [place for place in volumes if any(line.startswith(f"{place}/") for line in problems)]
    if any(not any(line.startswith(f"{place}/") for place in volumes) for line in problems):
        hurt.append(path)
    return sorted({how_again(place) for place in hurt})


def _view(view: Selection, say: Say | None) -> list[str]:
    try:
        view.manifest()
        problems = [] if len(view.rows) == view.count else [f"{view.path}: not as many rows as it says"]
    except StoreError as error:
        problems = [str(error)]
    return problems + verify(view.store, say)


def _volume(path: Path, manifest: Manifest, say: Say | None) -> list[str]:
    shards = (item for shard in manifest.shards for item in shard.files.items())
    recorded = [*manifest.files.items(), *shards]
    checked = {}
    with Progress(f"{path}: bytes", sum(file.bytes for _, file in recorded), say) as progress:
        for name, want in recorded:
            checked[name] = checksum(path / name, want)
            progress.advance(want.bytes)
    metadata = layout.metadata_files(manifest.fields, manifest.rows, manifest.rows_per_shard)
    found = [
        *checked.values(),
        *(_metadata(path / name, want) for name, want in metadata.items()),
        _plan(path / "plan.arrow", manifest),
        *_records(path, manifest),
        *_counts(path, manifest, {name for name, problem in checked.items() if problem is None}),
    ]
    return [problem for problem in found if problem]


def _counts(path: Path, manifest: Manifest, whole: Collection[str]) -> Iterator[str]:
    """How many rows have features is told twice: by the manifest, and row by row in each index that is `whole`."""
    for number, shard in enumerate(manifest.shards):
        name = layout.index_path(number)
        if name not in whole:
            continue
        if counted(path / name, _table) != (shard.rows, shard.ok):
            yield f"{path / FILE_NAME}: other rows with features than in {path / name}"


def _records(path: Path, manifest: Manifest) -> Iterator[str | None]:
    """What of a store is told twice must be told alike: the manifest, what it was begun with, the commits.

    A copy for readers may lack all but the first.
    """
    yield from checksums(path)
    said = manifest.model_dump(mode="json")
    if _content(path / STEPS) not in (None, as_json(record_of(manifest.files))):
        yield f"{path / STEPS}: not as it was written, or not what the manifest says; delete it"
    yield _record(path / FILE_NAME, said)
    plan = {"teachers": said["teachers"], "views": said["views"], "rows": said["rows"]}
    source = {key: value for key, value in said["source"].items() if key != "plan"}
    plan |= {"rows_per_shard": said["rows_per_shard"], "plan": said["source"]["plan"], "source": source}
    yield _record(path / PLAN, plan) or _fields(path / PLAN, manifest)
    for number, shard in enumerate(said["shards"]):
        yield _record(path / commit_path(number), {"clipped": {}} | shard)
        yield _stamps(path, number, shard["rows"])


def checksums(path: Path, beside: Collection[str] = BESIDE) -> Iterator[str]:
    """Manifest and plan, and what lies `beside` the rows, to the byte. Of a store that is older than these checksums,
    nothing; some speak of manifest and plan alone.
    """
    content = _content(path / CHECKSUMS)
    if content is None:
        return
    try:
        said = {name: File.model_validate(file) for name, file in parsed_json(content).items()}
        whole = content == as_json({name: file.model_dump() for name, file in said.items()})
    except (ValueError, AttributeError):
        whole = False
    if not whole or not {FILE_NAME, PLAN} <= said.keys() <= {FILE_NAME, PLAN, *BESIDE}:
        yield f"{path / CHECKSUMS}: not as it was written; delete it: then what it speaks of is checked by less"
        return
    for name, want in said.items():
        if name in BESIDE and name not in beside:
            continue
        have = _content(path / name)
        if have is None and name in BESIDE:
            yield f"{path / name}: missing"
        if have is not None and hashlib.sha256(have).hexdigest() != want.sha256:
            yield f"{path / name}: not what {path / CHECKSUMS} says of it"


def _stamps(store: Path, shard: int, rows: int) -> str | None:
    """Each such file tells by itself whether it is as it was written; in a bucket there are none."""
    try:
        kept(store, shard, rows)
    except StoreError as error:
        return str(error)
    return None


def _fields(path: Path, manifest: Manifest) -> str | None:
    """Fields are compared as they are understood: older versions wrote fewer keys of them."""
    content = _content(path)
    if content is None:
        return None
    try:
        fields = parsed_json(content)["fields"]
        same = {name: Field.model_validate(field) for name, field in fields.items()} == manifest.fields
    except (ValueError, KeyError, AttributeError):
        same = False
    return None if same else f"{path}: other fields than in the manifest"


def _record(path: Path, want: dict[str, Any]) -> str | None:
    """A record must be JSON as we write it, and say these things of all that it says."""
    content = _content(path)
    if content is None:
        return None
    try:
        have = parsed_json(content)
        told, _ = unsealed(content)
        # Older versions did not write what is nothing.
        if content == as_json(have) and all((told.get(key) or 0) == (value or 0) for key, value in want.items()):
            return None
    except (ValueError, AttributeError):
        pass
    return f"{path}: not as it was written, or not what the manifest says"


def _content(path: Path) -> bytes | None:
    """All of a file; None where there is none."""
    try:
        return _opened(path).read()
    except FileNotFoundError:
        return None


def checksum(path: Path, want: File) -> str | None:
    """What is wrong with a file; None where it is as it was written."""
    try:
        with _opened(path) as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            have = File(bytes=file.tell(), sha256=sha256)
    except FileNotFoundError:
        return f"{path}: missing"
    except OSError as error:
        return f"{path}: cannot be read ({error})"
    if have.bytes != want.bytes:
        return f"{path}: {have.bytes} bytes, the manifest says {want.bytes}"
    if have.sha256 != want.sha256:
        return f"{path}: sha256 {have.sha256[:16]}, the manifest says {want.sha256[:16]}"
    return None


def _opened(path: Path) -> BufferedReader:
    """A file of a store; of one behind a URL, as it is in the bucket, whatever is here."""
    there = origin(path.parent)
    return path.open("rb") if there is None else there.open(path.name)


def _metadata(path: Path, want: object) -> str | None:
    try:
        same = _opened(path).read() == as_json(want)
    except (OSError, ValueError) as error:
        blame_the_file(error, path)
        same = False
    return None if same else f"{path}: missing, or not what the manifest makes it"


def _table(path: Path, schema: pa.Schema) -> pa.Table:
    return table_at(path, schema) if origin(path.parent) is None else table_of(_opened(path), schema)


def _plan(path: Path, manifest: Manifest) -> str | None:
    try:
        same = plan_digest(_table(path, READ), manifest.version) == manifest.source["plan"]
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        pa.ArrowException,
    ) as error:  # a column by another name, or of another type
        blame_the_file(error, path)
        same = False
    return None if same else f"{path}: missing, or not the plan that the manifest names"
