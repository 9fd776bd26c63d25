"""Vectors as files that other programs read: npy, with the keys beside it, or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from distillkit.errors import StoreError
from distillkit.system.atomic import atomic_file, remove_file

FORMS = (".npy", ".parquet")


def form_of(out: Path) -> str:
    """The ending that says what is written: one of FORMS, or "" for a store. StoreError for any other."""
    if out.suffix in ("", *FORMS) and out.name:
        return out.suffix
    raise StoreError(
        f"{out}: {out.suffix or 'no name'} is no form of vectors; end it in .npy or .parquet, or in nothing: a store"
    )


def write_vectors(out: Path, keys: Sequence[str], vectors: Float[np.ndarray, "n d"], column: str) -> Path:
    """`vectors.npy` with `vectors.keys.txt` (a key a line, in the same order), or `vectors.parquet` with both.

    `column`: what the keys are called in Parquet: "key" of pictures, "text" of texts.
    """
    if out.suffix == ".npy":
        with atomic_file(out.with_suffix(".keys.txt")) as file:
            file.write("".join(f"{' '.join(key.splitlines())}\n" for key in keys).encode("utf-8", "backslashreplace"))
        with atomic_file(out) as file:
            np.save(file, vectors, allow_pickle=False)
        return out
    lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])
    table = pa.table({column: pa.array(keys, pa.string()), "vector": lists})
    with atomic_file(out) as file:
        pq.write_table(table, file, use_dictionary=False)
    return out


def write_broken(out: Path, broken: Mapping[str, str]) -> Path | None:
    """Beside `vectors.npy`, `vectors.broken.tsv`: key and error of what has no vector. None where there is none."""
    path = out.with_suffix(".broken.tsv")
    if not broken:
        remove_file(path)  # of an earlier time
        return None
    with atomic_file(path) as file:
        file.write("".join(f"{key}\t{' '.join(told.split())}\n" for key, told in broken.items()).encode())
    return path
