"""The plan: every row of a store, in order, fixed before the first forward. Resuming and parallel runs follow it.

Columns: key (unique), image (where it is: a path below the source's root, or any other location that the source's
`read` knows), text, label; what a corpus lacks is null.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from distillkit.errors import SourceError
from distillkit.types import Sample

SCHEMA = pa.schema([("key", pa.string()), ("image", pa.string()), ("text", pa.string()), ("label", pa.int64())])
_BLOCK = 65_536


def make_plan(samples: Iterable[Sample], root: Path | None) -> tuple[pa.Table, int]:
    """The plan of a corpus, and how many samples were left out because their key had come before."""
    blocks, rows, seen, duplicates = [], [], set(), 0
    for sample in samples:
        # 16 bytes of a hash instead of the key itself: tens of millions of keys stay within memory.
        mark = hashlib.blake2b(sample.key.encode(), digest_size=16).digest()
        if mark in seen:
            duplicates += 1
            continue
        seen.add(mark)
        rows.append((sample.key, _location(sample, root), sample.text, sample.label))
        if len(rows) == _BLOCK:
            blocks.append(_record_batch(rows))
            rows = []
    blocks.append(_record_batch(rows))
    plan = pa.Table.from_batches(blocks, SCHEMA).combine_chunks()
    if plan.num_rows == 0:
        raise SourceError(f"the corpus at {root or 'the source'} is empty: nothing to extract")
    return plan, duplicates


def _record_batch(rows: list[tuple[str, str | None, str | None, int | None]]) -> pa.RecordBatch:
    columns = list(zip(*rows, strict=True)) or [()] * len(SCHEMA)
    return pa.record_batch([pa.array(column, kind.type) for column, kind in zip(columns, SCHEMA, strict=True)], SCHEMA)


def _location(sample: Sample, root: Path | None) -> str | None:
    image = sample.image
    if image is None or isinstance(image, str):
        return image
    if not isinstance(image, Path) or root is None or not image.is_relative_to(root):
        raise SourceError(f"{sample.key}: a source must name its images by paths below its root")
    name = image.relative_to(root).as_posix()
    try:
        name.encode()
    except UnicodeEncodeError:
        return None  # Arrow strings are UTF-8; an image whose file name is not becomes a line in the failure ledger.
    return name


def plan_digest(plan: pa.Table) -> str:
    """sha256 over every key, image path, text and label of the plan, in order."""
    hasher = hashlib.sha256()
    for batch in plan.to_batches(max_chunksize=_BLOCK):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            hasher.update(repr(row).encode("utf-8", "surrogatepass"))
    return hasher.hexdigest()
