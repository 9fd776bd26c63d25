"""Vectors as files that other programs read: npy, with the keys beside it, or Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from distillkit.errors import StoreError
from distillkit.system import npy
from distillkit.system.together import write_together

FORMS = (".npy", ".parquet")
_NONE: Mapping[str, str] = MappingProxyType({})
Write = Callable[[BinaryIO], object]


def form_of(out: Path) -> str:
    """The ending that says what is written: one of FORMS, or "" for a store. StoreError for any other."""
    if out.suffix in ("", *FORMS) and out.name:
        return out.suffix
    raise StoreError(
        f"{out}: {out.suffix or 'no name'} is no format of vectors; end the name in .npy or .parquet, or give it no "
        "ending, for a store"
    )


def write_vectors(
    out: Path, keys: Sequence[str], vectors: Float[np.ndarray, "n d"], column: str, broken: Mapping[str, str] = _NONE
) -> Path | None:
    """`vectors.npy` with `vectors.keys.txt` (a key a line, in the same order), or `vectors.parquet` with both.

    `column`: what the keys are called in Parquet: "key" of pictures, "text" of texts. `broken`: key and error of what
    has no vector, for `vectors.broken.tsv`, of Parquet `vectors.parquet.broken.tsv`; returns its path, None where there
    is none. Names and vectors of two times never stand beside each other, and the vectors come last.
    """
    npys = out.with_suffix(".broken.tsv")
    told = npys if out.suffix == ".npy" else out.with_name(f"{out.name}.broken.tsv")
    files: dict[Path, Write] = (
        {told: _lines(f"{key}\t{' '.join(why.split())}" for key, why in broken.items())} if broken else {}
    )
    if out.suffix == ".npy":
        files[out.with_suffix(".keys.txt")] = _lines(" ".join(key.splitlines()) for key in keys)
        files[out] = lambda file: npy.save(file, vectors)
    else:
        lists = pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(vectors).reshape(-1)), vectors.shape[1])
        table = pa.table({column: pa.array(keys, pa.string()), "vector": lists})
        files[out] = lambda file: pq.write_table(table, file, use_dictionary=False)
    # Older versions gave both forms one name; without vectors.npy it is this file's.
    older = (npys,) if told != npys and not out.with_suffix(".npy").exists() else ()
    write_together(files, without=older + (() if broken else (told,)))
    return told if broken else None


def _lines(lines: Iterable[str]) -> Write:
    return lambda file: file.write("".join(f"{line}\n" for line in lines).encode("utf-8", "backslashreplace"))
