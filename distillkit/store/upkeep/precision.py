"""What a field of a store would cost in another precision, measured on its own rows.

Rows are rounded and compared with what is stored: by the cosine between a vector and its rounded self, and by how many
of its nearest neighbours stay the same (overlap@10, inner product of unit vectors, everything rounded alike). Vectors
are the last axis of a field: of tokens, each token is one. int8 gets the range that an extraction would measure.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numcodecs import Zstd
from torch import Tensor
from torch.nn.functional import normalize

from distillkit.errors import StoreError
from distillkit.store.format.field import DTYPES, Field
from distillkit.store.format.layout import ZSTD_LEVEL, packed_rows
from distillkit.store.format.steps import Steps, sample_of
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.evenly import evenly
from distillkit.system.wording import count

_VECTORS, _QUERIES, NEIGHBOURS = 8192, 256, 10
# Beyond these, a student would learn from another teacher: cosine error of the worst vector, overlap of neighbours.
_WORST, OVERLAP = 1e-4, 0.99
_UNCENTRED = "int8, not centred"  # for comparison; stores have none of it
_PAYS = 0.8  # compressed rows cannot be mapped, so compression has to save a fifth


@dataclass(frozen=True)
class Choice:
    """One way to keep a field: what a row takes, 1 - cosine to what is stored (mean, worst), neighbours kept."""

    dtype: str
    bytes_per_row: float
    zstd_per_row: float
    error: float
    worst: float
    overlap: float

    @property
    def good(self) -> bool:
        return self.worst <= _WORST and self.overlap >= OVERLAP and self.dtype != _UNCENTRED


def choices(store: FeatureStore, name: str) -> list[Choice]:
    """What the field is, then what it could be instead. StoreError for a field that holds no features."""
    field = store.field(name)
    if field.dtype in ("int32", "uint8"):
        raise StoreError(f"{store.path}: {name} is {field.dtype}: whole numbers, of which no bit can be spared")
    wanted = math.ceil(_VECTORS / math.prod(field.shape[:-1]))
    usable = store.rows_with(name)
    rows = evenly(usable, wanted)
    if len(rows) < 2:
        raise StoreError(f"{store.path}: {name} has {count(len(rows), 'row')} with features, too few to measure")
    seen = np.intersect1d(sample_of(len(store), [field]), usable)
    sample = store.read(name, seen if len(seen) else rows).float()
    tested = store.read(name, rows).float()
    made = [_choice(field.dtype, store.read(name, rows, raw=True), tested, tested)]
    for dtype, kept, meant in _roundings(sample, tested):
        if dtype != field.dtype and kept.element_size() <= DTYPES[field.dtype].itemsize:
            made.append(_choice(dtype, kept, meant, tested))
    return made


def _roundings(sample: Tensor, rows: Tensor) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Each dtype, the numbers that it keeps of `rows`, and what they mean."""
    for dtype in (torch.float16, torch.bfloat16):
        kept = rows.to(dtype)
        yield str(dtype).removeprefix("torch."), kept, kept.float()
    for name, steps in (("int8", Steps.of(sample)), (_UNCENTRED, Steps.of(torch.cat([sample, -sample])))):
        kept, _ = steps.encode(rows)
        yield name, kept, steps.decode(kept)


def _choice(dtype: str, kept: Tensor, meant: Tensor, exact: Tensor) -> Choice:
    vectors, rounded = (normalize(rows.flatten(0, -2).double(), dim=1) for rows in (exact, meant))
    vectors, rounded = vectors[:_VECTORS], rounded[:_VECTORS]
    # 1 - cosine, without the difference of two numbers that are almost 1.
    errors = (vectors - rounded).square().sum(1) / 2
    size = kept.element_size() * kept[0].numel()
    return Choice(
        dtype, size, size * _zstd(kept), float(errors.mean()), float(errors.max()), neighbours_kept(vectors, rounded)
    )


def neighbours_kept(vectors: Tensor, rounded: Tensor) -> float:
    """The share of nearest neighbours that stay, of vectors spread over all."""
    queries = torch.arange(0, len(vectors), max(1, len(vectors) // _QUERIES))
    k = min(NEIGHBOURS, len(vectors) - 1)
    if k == 0:
        return 1.0
    near = [_nearest(rows.float(), queries, k) for rows in (vectors, rounded)]
    same = [len(set(one) & set(other)) for one, other in zip(*near, strict=True)]
    return sum(same) / (k * len(queries))


def _nearest(vectors: Tensor, queries: Tensor, k: int) -> list[list[int]]:
    scores = vectors[queries] @ vectors.T
    scores[torch.arange(len(queries)), queries] = -torch.inf
    return scores.topk(k).indices.tolist()


def _zstd(kept: Tensor) -> float:
    """The share of bytes that zstd leaves, chunk by chunk, as a store would compress it."""
    rows = kept.contiguous().view(torch.uint8).numpy()
    codec, chunk = Zstd(level=ZSTD_LEVEL), packed_rows(rows[0].nbytes)
    return sum(len(codec.encode(rows[first : first + chunk])) for first in range(0, len(rows), chunk)) / rows.nbytes


def table(made: list[Choice]) -> str:
    """The choices as aligned text."""
    lines = [("", "bytes/row", "with zstd", "of stored", "1 - cosine", "worst", f"overlap@{NEIGHBOURS}")]
    for number, choice in enumerate(made):
        sizes = (f"{choice.bytes_per_row:,.0f}", f"{choice.zstd_per_row:,.0f}")
        share = f"{choice.bytes_per_row / made[0].bytes_per_row:.0%}"
        losses = (f"{choice.error:.1e}", f"{choice.worst:.1e}", f"{choice.overlap:.4f}")
        lines.append(
            (choice.dtype + (" (stored)" if number == 0 else ""), *sizes, share, *(losses if number else "---"))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]).rstrip() for line in lines
    )


def advice(name: str, field: Field, made: list[Choice]) -> str:
    """The smallest choice that changes nothing a student would learn, as a line of a recipe; and whether zstd pays."""
    best = min((made[0], *(choice for choice in made[1:] if choice.good)), key=lambda choice: choice.bytes_per_row)
    short = name.split("/")[1]
    told = f"{best.dtype} it is: nothing smaller has a worst error <= {_WORST:g} and an overlap >= {OVERLAP:g}"
    if best.bytes_per_row < made[0].bytes_per_row:
        saved = 1 - best.bytes_per_row / made[0].bytes_per_row
        told = f'dtypes = {{ {short} = "{best.dtype}" }} takes {saved:.0%} less; {best.overlap:.1%} of neighbours stay'
    share = best.zstd_per_row / best.bytes_per_row
    if field.holds_tokens and share <= _PAYS:
        return f'{told}; compression = {{ {short} = "zstd" }} takes {1 - share:.0%} off that, for slower reads'
    return f"{told}; zstd would take {1 - share:.0%} off, but such rows cannot be mapped: not worth it"
