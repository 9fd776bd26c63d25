"""Vectors of a folder's pictures, kept in the cache: the next time only files that are new or changed are looked at.

{cache}/embeddings/WHO/FOLDER.arrow    key, bytes, changed (ns), error, vector float32 [d]; a row for each picture
{cache}/embeddings/WHO/TEXT.npy        the vector of a text that was searched for

WHO is what the vectors depend on: weights, and how they look. A file counts as the same while its size and time of
change are; one that the system does not let us read has neither. All of it can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from distillkit.callable import Say
from distillkit.embedding.embedder import Embedder
from distillkit.embedding.looking import seen
from distillkit.embedding.pictures import Named, below
from distillkit.errors import SourceError
from distillkit.system import npy
from distillkit.system.arrow import table_of
from distillkit.system.atomic import atomic_file, make_folder
from distillkit.system.locks import locked
from distillkit.system.paths import cache_dir
from distillkit.system.progress import Progress
from distillkit.system.wording import count

_EVERY = 60.0  # seconds of work that a kill may cost
_FILE = ["key", "bytes", "changed"]  # what says that a file is the one that was looked at


@dataclass(frozen=True)
class Gallery:
    """Pictures: `keys` with a raw vector and the file of each, and why others are `broken`, by key.

    `kept` has all rows of the file, mapped, as far as they are read; `rows` are those of the keys.
    """

    keys: list[str]
    paths: list[Path]
    kept: Float[np.ndarray, "m d"]
    rows: Int[np.ndarray, " n"]
    broken: dict[str, str]

    @property
    def vectors(self) -> Float[np.ndarray, "n d"]:
        return self.kept[self.rows] if self.broken else self.kept


def gallery_of(
    embedder: Embedder, folder: Path, say: Say, *, batch_size: int = 128, threads: int | None = None
) -> Gallery:
    """What `embedder` says of every picture below `folder`. SourceError where none can be read."""
    found = below(folder, say)
    now, path = _files(found), _place(embedder.identity("image"), folder)
    table = _read(path)
    if table is None or not table.select(_FILE).equals(now):
        make_folder(path.parent)
        with locked(path.with_suffix(".lock")):
            table = _looked(embedder, found, now, path, say, batch_size, threads)
    return _gallery(folder, found, table)


def kept_text(embedder: Embedder, text: str) -> Float[np.ndarray, "1 d"]:
    """What `embedder` says of a text, raw; asked once, as the tower behind it may be large."""
    name = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
    path = _who(embedder.identity("text")) / f"{name}.npy"
    if path.is_file():
        try:
            return npy.load(path)
        except (OSError, ValueError):
            path.unlink()  # damaged: asked again
    said = embedder.embed_texts([text]).numpy()
    make_folder(path.parent)
    with locked(path.with_name("texts.lock")), atomic_file(path) as file:
        npy.save(file, said)
    return said


def _looked(
    embedder: Embedder, found: list[Named], now: pa.Table, path: Path, say: Say, batch_size: int, threads: int | None
) -> pa.Table:
    """Look at what is not known, and keep everything, on the way as well."""
    known = _known(_read(path))
    files = list(zip(*(now[name].to_pylist() for name in _FILE), strict=True))
    missing = [place for place, file in enumerate(files) if file not in known]
    saved = time.monotonic()
    with Progress(f"{path.stem}: pictures", len(missing), say) as progress:
        pictures = [found[place].path for place in missing]
        for part in seen(embedder.image_tower, pictures, batch_size=batch_size, threads=threads) if missing else ():
            vectors = embedder.usable(part.vectors).numpy()
            known |= {files[missing[at]]: row for at, row in zip(part.places, vectors, strict=True)}
            for at in part.refused:  # of no size and time: it is looked at again the next time
                files[missing[at]] = (files[missing[at]][0], -1, -1)
            known |= {files[missing[at]]: told for at, told in part.broken.items()}
            progress.advance(len(part.places) + len(part.broken))
            if time.monotonic() - saved > _EVERY:
                _keep(path, [file for file in files if file in known], known)
                saved = time.monotonic()
    return _keep(path, files, known)


File = tuple[str, int, int]


def _files(found: list[Named]) -> pa.Table:
    """Key, size and time of change of every file; what cannot be asked has neither, and is told when it is read."""
    sizes, times = [], []
    for one in found:
        try:
            stat = one.path.stat()
            sizes.append(stat.st_size)
            times.append(stat.st_mtime_ns)
        except OSError:
            sizes.append(-1)
            times.append(-1)
    keys = pa.array([one.key for one in found], pa.string())
    return pa.table({"key": keys, "bytes": pa.array(sizes, pa.int64()), "changed": pa.array(times, pa.int64())})


def _known(table: pa.Table | None) -> dict[File, np.ndarray | str]:
    """By file its vector, or why it is broken."""
    if table is None:
        return {}
    files = zip(*(table[name].to_pylist() for name in _FILE), strict=True)
    vectors = _numbers(table)
    return {
        file: told or vectors[at] for at, (file, told) in enumerate(zip(files, table["error"].to_pylist(), strict=True))
    }


def _numbers(table: pa.Table) -> Float[np.ndarray, "n d"]:
    """The vectors of all rows; those of broken pictures are zeros."""
    column = table["vector"].combine_chunks()
    values = column.values if isinstance(column, pa.FixedSizeListArray) else column.chunk(0).values
    return values.to_numpy(zero_copy_only=False).reshape(len(table), column.type.list_size)


def _keep(path: Path, files: list[File], known: dict[File, np.ndarray | str]) -> pa.Table:
    width = next((len(row) for file in files if not isinstance(row := known[file], str)), 1)
    rows = np.zeros((len(files), width), np.float32)
    errors: list[str | None] = []
    for at, file in enumerate(files):
        row = known[file]
        errors.append(row if isinstance(row, str) else None)
        if not isinstance(row, str):
            rows[at] = row
    keys, sizes, times = ([file[at] for file in files] for at in range(len(_FILE)))
    table = pa.table(
        {
            "key": pa.array(keys, pa.string()),
            "bytes": pa.array(sizes, pa.int64()),
            "changed": pa.array(times, pa.int64()),
            "error": pa.array(errors, pa.string()),
            "vector": pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), width),
        }
    )
    with atomic_file(path) as out, pa.ipc.new_file(out, table.schema) as arrow:
        arrow.write_table(table)
    return table


def _read(path: Path) -> pa.Table | None:
    """What is kept there; None where that is nothing, or damaged: then it is made again."""
    if not path.is_file():
        return None
    try:
        with pa.memory_map(str(path)) as file:
            table = table_of(file)
            return table if {*_FILE, "error", "vector"} == set(table.column_names) else None
    except (OSError, pa.ArrowException):
        return None


def _gallery(folder: Path, found: list[Named], table: pa.Table) -> Gallery:
    """`found`: the pictures of the table's rows, in order."""
    keys, errors = table["key"].to_pylist(), table["error"].to_pylist()
    broken = {key: told for key, told in zip(keys, errors, strict=True) if told is not None}
    if len(broken) == len(keys):
        key, told = next(iter(broken.items()))
        raise SourceError(f"{folder}: not one of {count(len(keys), 'picture')} can be read, as of {key}: {told}")
    rows = np.flatnonzero([told is None for told in errors])
    return Gallery([keys[row] for row in rows], [found[row].path for row in rows], _numbers(table), rows, broken)


def _who(identity: str) -> Path:
    return cache_dir() / "embeddings" / identity[:24]


def _place(identity: str, folder: Path) -> Path:
    """Of which folder, by its place on this machine: a folder of the same name elsewhere is another."""
    where = str(folder.resolve())
    mark = hashlib.sha256(json.dumps(where).encode()).hexdigest()[:16]
    name = re.sub(r"[^\w.-]+", "-", Path(where).name)[:60] or "root"
    return _who(identity) / f"{name}-{mark}.arrow"
