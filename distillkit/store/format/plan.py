"""The plan: every row of a store, in order, fixed before the first forward. Resuming and parallel runs follow it.

Columns: key (unique), image (where it is: a path below the source's root, or any other location that the source's
`read` knows), text, label; what a corpus lacks is null.

Tens of millions of rows are planned within little memory: the plan is a file that is mapped, and of a row nothing
stays in memory but 8 bytes by which duplicates are found.
"""

from __future__ import annotations

import hashlib
import inspect
import mmap
import tempfile
from array import array
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distillkit.errors import SourceError
from distillkit.store.format.labels import Labels, Lose
from distillkit.store.format.maker import caller
from distillkit.store.format.samples import refuse_no_samples
from distillkit.system.arrow import table_at
from distillkit.system.atomic import may_write, noticing_a_full_disk
from distillkit.system.opening import blame_the_file
from distillkit.types import Sample, class_number

FILE_NAME = "plan.arrow"
SCHEMA = pa.schema([("key", pa.string()), ("image", pa.string()), ("text", pa.string()), ("label", pa.int64())])
# As others may have written them: every row has a key.
READ = SCHEMA.set(0, SCHEMA.field("key").with_nullable(False))
INDEX = READ.insert(1, pa.field("ok", pa.bool_(), nullable=False))
_BLOCK = 65_536
OTHERS = 'more caption(s) of images that came before (source.captions = "all" keeps each as a row)'


def make_plan(
    samples: Iterable[Sample],
    root: Path | str | None,
    folder: Path | None = None,
    lose: Lose | None = None,
    number: Callable[[object], int | None] = class_number,
    more: str | None = None,
) -> tuple[pa.Table, int]:
    """The plan of a corpus, and how many samples were left out because their key had come before.

    It lies in a nameless temporary file in `folder` (or the system's own) and goes with the table. `lose` is told of
    labels that are none, where they are few; without it, the first of them is one too many. `number`: of a label; it
    raises ValueError for what is none; `more`: where classes have names, how another one becomes a class.
    """
    source: object = samples
    while hasattr(source, "behind"):  # what counts or chooses among samples stands before the source of them
        source = source.behind
    knobs = [*knobs_of(source, "label"), *knobs_of(source, "parts")]
    marks, labels = array("q"), Labels(str(root or "the source"), knobs, lose, number, more)
    plan = _mapped(_blocks(samples, root, marks, labels), folder)
    labels.refuse_wrong()
    again = repeated(plan["key"], np.frombuffer(marks, np.int64))
    if len(again):
        whole, plan = plan, _mapped(_without(plan, again), folder)
        if lose:
            _tell_other_captions(whole.take(pa.array(again)), plan, lose)
    if plan.num_rows == 0:
        account = getattr(source, "account", None)
        seen = [] if account is None else [account.line(0) if account.passed else "", account.found]
        told = f" ({'; '.join(filter(None, seen))})" if any(seen) else ""
        knobs = [*knobs_of(source, "image"), *knobs_of(source, "text"), *knobs_of(source, "root")]
        cure = caller().mend.format(" or ".join(knobs)) if knobs else "there must be one"
        raise SourceError(f"{root or 'the source'}: no sample of it can be taken{told}; {cure}")
    return plan, len(again)


def plan_at(store: Path) -> pa.Table | None:
    """The rows that the store of a folder was begun with, mapped; None where they are missing or damaged."""
    try:
        return table_at(store / FILE_NAME, READ)
    except (OSError, pa.ArrowException):
        return None


def counted(index: Path, table: Callable[[Path, pa.Schema], pa.Table] = table_at) -> tuple[int, int] | None:
    """How many rows an index has, and how many of them have features; None where it is damaged. `table`: reads it."""
    try:
        ok = table(index, INDEX)["ok"]
    except (OSError, pa.ArrowException) as error:
        blame_the_file(error, index)
        return None
    return len(ok), int(pc.sum(ok).as_py() or 0)


def knobs_of(source: object, column: str) -> list[str]:
    """The knobs by which a source is told where its images, texts or labels are; none of what is no source."""
    try:
        knobs = inspect.signature(type(source)).parameters
    except ValueError:  # a list of samples, a generator
        return []
    return [f"source.{name}" for name in knobs if name.startswith(column)]


def _tell_other_captions(left_out: pa.Table, plan: pa.Table, lose: Lose) -> None:
    """Of rows whose key had come before: the captions that their images have beside the first one."""
    first = plan.take(pc.index_in(left_out["key"], value_set=plan["key"].combine_chunks()))
    said = pc.fill_null(pc.not_equal(left_out["text"], pc.fill_null(first["text"], "")), False)
    other = left_out.filter(pc.and_(said, pc.fill_null(pc.equal(left_out["image"], first["image"]), False)))
    for batch in other.select(["key", "text"]).to_batches(max_chunksize=_BLOCK):
        for key, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            lose(OTHERS, key, "text", f"another caption of an image that came before: {text!r:.60}")


def _blocks(
    samples: Iterable[Sample], root: Path | str | None, marks: array[int], labels: Labels
) -> Iterator[pa.RecordBatch]:
    """The samples in blocks; `marks` gets a hash of each key."""
    waiting = iter(samples)
    while block := list(islice(waiting, _BLOCK)):
        refuse_no_samples(block, root)
        marks.extend(hash(sample.key) for sample in block)
        columns = (
            [sample.key for sample in block],
            [_location(sample, root) for sample in block],
            [sample.text for sample in block],
            labels.read(block),
        )
        yield pa.record_batch([pa.array(c, kind.type) for c, kind in zip(columns, SCHEMA, strict=True)], SCHEMA)


def _mapped(batches: Iterable[pa.RecordBatch], folder: Path | None) -> pa.Table:
    """A table of the batches, written and mapped: its memory is the system's page cache, not ours."""
    if folder is not None and not may_write(folder):  # the store there may be finished, and need nothing
        folder = None
    with (
        noticing_a_full_disk(folder or Path(tempfile.gettempdir())),
        tempfile.TemporaryFile(dir=folder) as file,
    ):
        with pa.ipc.new_file(file, SCHEMA) as arrow:
            for batch in batches:
                arrow.write_batch(batch)
        file.flush()
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return pa.ipc.open_file(pa.BufferReader(pa.py_buffer(mapped))).read_all()


def repeated(keys: pa.ChunkedArray, marks: np.ndarray, meant: np.ndarray | None = None) -> np.ndarray:
    """The rows whose key has come before, int64 in order. `marks`: a hash of each key; `meant`: bool, the others are
    as if they were not there."""
    ordered = np.sort(marks if meant is None else marks[meant])
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not len(twice):
        return twice
    suspect = np.isin(marks, twice)
    if meant is not None:
        suspect &= meant
    # Equal hashes are a suspicion; which keys are equal, the keys say.
    codes = pc.dictionary_encode(keys.filter(pa.array(suspect))).chunks
    _, first = np.unique(np.concatenate([chunk.indices.to_numpy() for chunk in codes]), return_index=True)
    return np.delete(np.flatnonzero(suspect), first)


def _without(plan: pa.Table, rows: np.ndarray) -> Iterator[pa.RecordBatch]:
    start = 0
    for batch in plan.to_batches():
        keep = np.ones(batch.num_rows, dtype=bool)
        first, last = np.searchsorted(rows, (start, start + batch.num_rows))
        keep[rows[first:last] - start] = False
        yield batch.filter(pa.array(keep))
        start += batch.num_rows


def kept(plan: pa.Table, keys: Iterable[str]) -> np.ndarray:
    """Which of the samples that a plan was made of became its rows, int64 [rows]: the first of each key."""
    waiting = (key.as_py() for chunk in plan["key"].chunks for key in chunk)
    wanted, places = next(waiting, None), []
    for place, key in enumerate(keys):
        # A repeated key is never the next one: the plan has it already.
        if key == wanted:
            places.append(place)
            wanted = next(waiting, None)
    return np.array(places, np.int64)


def _location(sample: Sample, root: Path | str | None) -> str | None:
    image = sample.image
    if isinstance(image, Path) and isinstance(root, Path) and image.is_relative_to(root):
        image = image.relative_to(root).as_posix()
    if image is None:
        return None
    if not isinstance(image, str):
        raise SourceError(f"{sample.key}: a source must name its images by paths below its root")
    try:
        image.encode()
    except UnicodeEncodeError:
        return None  # Arrow strings are UTF-8; an image whose file name is not becomes a line in the failure ledger.
    return image


def plan_digest(plan: pa.Table, version: int = 2) -> str:
    """sha256 over every key, image location, text and label of the plan, in order, as that version of the format does.

    Version 2 hashes columns, 2 GB of them in seconds; how the table is cut into chunks changes nothing.
    """
    if version == 1:
        return _digest_of_rows(plan)
    hasher = hashlib.sha256()
    for column in (plan[name] for name in ("key", "image", "text")):
        for chunk in column.chunks:
            hasher.update(pc.fill_null(pc.binary_length(chunk), -1).to_numpy().astype("<i4"))
        for chunk in column.chunks:
            hasher.update(_bytes(chunk))
    labels = plan["label"].chunks
    for chunk in labels:
        hasher.update(pc.fill_null(chunk, 0).to_numpy().astype("<i8"))
    for chunk in labels:
        hasher.update(chunk.is_valid().to_numpy(zero_copy_only=False).astype("u1"))
    return hasher.hexdigest()


def _bytes(texts: pa.StringArray) -> memoryview:
    """All the bytes of an array of texts, one after the other; nulls have none."""
    filled = pc.fill_null(texts, "")
    _, offsets, content = filled.buffers()
    ends = np.frombuffer(offsets, np.int32)[filled.offset : filled.offset + len(filled) + 1]
    return memoryview(content or b"")[ends[0] : ends[-1]] if len(filled) else memoryview(b"")


def _digest_of_rows(plan: pa.Table) -> str:
    """Version 1 hashed what Python prints of each row."""
    hasher = hashlib.sha256()
    for batch in plan.to_batches(max_chunksize=_BLOCK):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            hasher.update(repr(row).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()
