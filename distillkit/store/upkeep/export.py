"""A store in the forms that other programs read: npy, Arrow, Parquet, WebDataset. Rows without features are left out,
which is told. Neighbours that were mined of some rows only are -1 and NaN in the others; where they were
mined of none, they are left out, too.

npy         <teacher>/<field>.npy, all rows; keys.parquet, of the same rows in the same order
arrow       rows-00000.arrow, ...: key, image, text, label, and each field as a fixed-size list
parquet     the same as rows-00000.parquet, ...
webdataset  rows-00000.tar, ...: NNNNNNNNN.json (key, text, label) and NNNNNNNNN.<teacher>.<field>.npy
"""

from __future__ import annotations

import io
import json
import math
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.callable import Say, silent
from distillkit.errors import StoreError
from distillkit.store.reading.reader import FeatureStore
from distillkit.store.upkeep.sound import refuse_damage, touched
from distillkit.system import npy
from distillkit.system.new_folder import new_folder, refuse_name_of_a_file, refuse_what_is_there
from distillkit.system.progress import Progress
from distillkit.system.wording import as_word, count

_ROWS = {"arrow": 65_536, "parquet": 65_536, "webdataset": 10_000}  # of a file
_BLOCK = 8_192
Tick = Callable[[int], None]  # hears how many rows were written since
_COLUMNS = ("key", "image", "text", "label")
_FILES = (".npy", ".arrow", ".parquet", ".tar")  # endings of one file, which is what nobody gets here


def export(
    store: FeatureStore,
    out: Path,
    form: str,
    fields: list[str] | None = None,
    say: Say | None = None,
) -> int:
    """Write `fields` (if None all that hold anything) of every row that has features into the new folder `out`; returns
    how many rows. `say` hears how far it is, and what is left out.

    Numbers are as stored, but bfloat16, which numpy and Parquet lack, and what int8 stands for are float32. StoreError
    when `out` exists or ends as a file does, and when no row is left.
    """
    if form not in _WRITERS:
        raise StoreError(f"{form!r} is no format of export; take one of: {', '.join(_WRITERS)}")
    refuse_name_of_a_file(out, StoreError, _FILES, ", and the form by --to, as --to parquet")
    refuse_what_is_there(out, StoreError)
    names = list(dict.fromkeys(map(store.field_name, fields))) if fields else _held(store, out, say or silent)
    store = store.relying_on(names)
    rows, told = len(store.ok_rows), _left_out(store)
    if not rows:
        raise StoreError(f"{store.path}: no row has all of {', '.join(names)}: {told}")
    if told:
        (say or silent)(f"{out}: {told}")
    for name, volume in store.added.items():
        empty = len(np.intersect1d(store.ok_rows, volume.failed)) if volume.manifest.fields.keys() & names else 0
        if empty:  # of neighbours alone: where a teacher failed, the row is left out
            (say or silent)(f"{out}: {name} of {empty:,} of {count(rows, 'row')} are empty (-1, NaN): none were mined")
    for volume in (store.base, *store.added.values()):
        wanted = volume.manifest.fields.keys() & names
        if wanted or volume is store.base:  # which has the index
            shards = touched(store.ok_rows, volume.manifest)
            refuse_damage(volume.path, volume.manifest, shards, wanted, say=say or silent)
    # In npy fields come one behind the other, else together.
    total, what = (rows * len(names), "rows of each field") if form == "npy" else (rows, "rows")
    with new_folder(out, StoreError) as folder, Progress(f"{out}: {what}", total, say) as progress:
        _WRITERS[form](store, names, folder, progress.advance)
    return rows


def _held(store: FeatureStore, out: Path, say: Say) -> list[str]:
    """All fields but those whose every row is empty, as of neighbours that were mined for other rows than a view's."""
    usable = store.relying_on(list(store.fields)).ok_rows
    empty = {
        name: list(volume.manifest.fields)
        for name, volume in store.added.items()
        if len(usable) and np.isin(usable, volume.failed).all()
    }
    for name, fields in empty.items():
        named = " ".join(f"--field {field}" for field in fields)
        say(f"{out}: left out {name}, which were mined of none of its {count(len(usable), 'row')} ({named} takes them)")
    return [name for name in store.fields if not any(name in fields for fields in empty.values())]


def _left_out(store: FeatureStore) -> str:
    """How many rows are left out, and where they failed; empty where all are there."""
    meant = np.arange(len(store)) if store.selection is None else store.selection.rows
    left, parts = meant, []
    for volume in (store.base, *store.used.values()):
        failed = np.isin(left, volume.failed)
        if failed.any():  # each row counts once: where it failed first
            parts.append(f"{failed.sum():,} failed (why: distillkit store failures {as_word(volume.path)})")
        left = left[~failed]
    return f"left out {len(meant) - len(left):,} of {count(len(meant), 'row')}, {', '.join(parts)}" if parts else ""


def _numbers(store: FeatureStore, name: str, rows: np.ndarray) -> np.ndarray:
    values = store.read(name, rows)
    return (values.float() if store.fields[name].dtype == "bfloat16" else values).numpy()


def _spans(total: int, size: int) -> Iterator[tuple[int, slice]]:
    for number, first in enumerate(range(0, total, size)):
        yield number, slice(first, first + size)


def _facts(store: FeatureStore, rows: np.ndarray) -> pa.Table:
    return store.index.select(_COLUMNS).take(pa.array(rows))


def _npy(store: FeatureStore, names: list[str], folder: Path, tick: Tick) -> None:
    rows = store.ok_rows
    for name in names:
        path = folder / f"{name}.npy"
        path.parent.mkdir(exist_ok=True)
        one = _numbers(store, name, rows[:1])
        with path.open("wb") as file:  # through a mapping, a full disk would end the process
            npy.begin(file, one.dtype, (len(rows), *one.shape[1:]))
            for _, span in _spans(len(rows), _BLOCK):
                file.write(np.ascontiguousarray(_numbers(store, name, rows[span])).reshape(-1).view(np.uint8).data)
                tick(len(rows[span]))
    pq.write_table(_facts(store, rows), folder / "keys.parquet")


def _table(store: FeatureStore, names: list[str], rows: np.ndarray) -> pa.Table:
    """Facts and fields of some rows; the shape of a row, which a list does not tell, is in the column's metadata."""
    table = _facts(store, rows)
    for name in names:
        values = _numbers(store, name, rows)
        shape = values.shape[1:]
        lists = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), math.prod(shape))
        table = table.append_column(pa.field(name, lists.type, metadata={"shape": json.dumps(shape)}), lists)
    return table


def _arrow(store: FeatureStore, names: list[str], folder: Path, tick: Tick) -> None:
    for number, span in _spans(len(store.ok_rows), _ROWS["arrow"]):
        table = _table(store, names, store.ok_rows[span])
        with pa.ipc.new_file(folder / f"rows-{number:05d}.arrow", table.schema) as file:
            file.write_table(table, _BLOCK)
        tick(table.num_rows)


def _parquet(store: FeatureStore, names: list[str], folder: Path, tick: Tick) -> None:
    for number, span in _spans(len(store.ok_rows), _ROWS["parquet"]):
        table = _table(store, names, store.ok_rows[span])
        # Embeddings have no repeated values for a dictionary to name.
        pq.write_table(table, folder / f"rows-{number:05d}.parquet", row_group_size=_BLOCK, use_dictionary=False)
        tick(table.num_rows)


def _webdataset(store: FeatureStore, names: list[str], folder: Path, tick: Tick) -> None:
    for number, span in _spans(len(store.ok_rows), _ROWS["webdataset"]):
        rows = store.ok_rows[span]
        facts = _facts(store, rows).select(["key", "text", "label"]).to_pylist()
        values = {name: _numbers(store, name, rows) for name in names}
        with tarfile.open(folder / f"rows-{number:05d}.tar", "w") as tar:
            for place, (row, fact) in enumerate(zip(rows.tolist(), facts, strict=True)):
                _add(tar, f"{row:09d}.json", json.dumps(fact, ensure_ascii=False).encode())
                for name in names:
                    file = io.BytesIO()
                    np.save(file, values[name][place], allow_pickle=False)
                    _add(tar, f"{row:09d}.{name.replace('/', '.')}.npy", file.getvalue())
                tick(1)


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # of no owner and no time: equal stores make equal tars
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


_WRITERS: dict[str, Callable[[FeatureStore, list[str], Path, Tick], None]] = {
    "npy": _npy,
    "arrow": _arrow,
    "parquet": _parquet,
    "webdataset": _webdataset,
}
