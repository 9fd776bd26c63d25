"""clip-retrieval's embeddings: `img_emb/*.npy`, `text_emb/*.npy` and their rows' facts in `metadata/*.parquet`.

Parts belong together by their number: `img_emb_7.npy`, `metadata_7.parquet`. They are of length 1, as clip-retrieval
normalises before it writes; of others that is not said. https://github.com/rom1504/clip-retrieval
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distillkit.errors import SourceError
from distillkit.importers._record import imported
from distillkit.store.format.field import Field
from distillkit.system import npy
from distillkit.system.evenly import evenly
from distillkit.system.wording import one_line
from distillkit.types import Sample

_FOLDERS = {"image": "img_emb", "text": "text_emb"}
_LOOKED_AT = 256  # rows of a part whose lengths tell whether it is normalised
_NEAR = 0.01  # to 1, the length of a vector that was normalised in float16


class ClipRetrieval:
    """`root`: the output folder of `clip-retrieval inference`.

    `key`: the metadata column with the rows' keys. `images`: the folder that the metadata column image_path starts
    from; not given: image paths are as they are.
    """

    def __init__(
        self,
        root: Path,
        *,
        name: str = "imported",
        model: str | None = None,
        sha256: str | None = None,
        logit_scale: float | None = None,
        key: str = "image_path",
        images: str | None = None,
    ):
        self.root, self.name, self.key, self.images = root, name, key, images
        self.views: dict[str, Any] = {"count": 1, "kind": "as clip-retrieval showed them"}
        self.source: dict[str, Any] = {"kind": "folder", "knobs": {}, "root": images}
        self.metadata = sorted((root / "metadata").glob("*.parquet"))
        parts = {field: sorted((root / folder).glob("*.npy")) for field, folder in _FOLDERS.items()}
        paths = {field: _in_order(found, self.metadata) for field, found in parts.items() if found}
        if not paths or not self.metadata:
            raise SourceError(f"{root}: no img_emb/*.npy or text_emb/*.npy with metadata/*.parquet beside them")
        self.places = [*self.metadata, *(path for found in paths.values() for path in found)]
        self.files = {field: [_mapped(path) for path in found] for field, found in paths.items()}
        unit = [_of_one_kind(paths[field], arrays) for field, arrays in self.files.items()]
        record = imported("clip_retrieval", model=model, sha256=sha256, logit_scale=logit_scale)
        self.teachers = {name: record | ({"normalised": True} if all(unit) else {})}
        with _reading(root):
            rows = [self._rows(path) for path in self.metadata]
        for field, arrays in self.files.items():
            if [len(array) for array in arrays] != rows:
                raise SourceError(f"{root}/{_FOLDERS[field]}: not as many rows as in metadata/; fetch both again")
        self.starts = np.cumsum([0, *rows])

    def _rows(self, path: Path) -> int:
        """Of a part; SourceError where its table cannot name or tell them."""
        schema = pq.read_schema(path)
        if self.key not in schema.names:
            raise SourceError(
                f"{path}: no column {self.key!r} to name rows by; set key to one of: {', '.join(schema.names)}"
            )
        for name in {"image_path", "caption"} & set(schema.names):
            if not _is_text(kind := schema.field(name).type):
                raise SourceError(f"{path}: its column {name} is {kind}, text is wanted; write it anew as text")
        return int(pq.read_metadata(path).num_rows)

    @property
    def fields(self) -> dict[str, Field]:
        """The dtype is the files' own, of several the wider one."""
        return {
            f"{self.name}/{field}": Field(
                teacher=self.name,
                shape=[int(arrays[0].shape[1])],
                dtype="float16" if {array.dtype.itemsize for array in arrays} == {2} else "float32",
            )
            for field, arrays in self.files.items()
        }

    def __iter__(self) -> Iterator[Sample]:
        with _reading(self.root):
            yield from self._samples()

    def _samples(self) -> Iterator[Sample]:
        for path in self.metadata:
            columns = [name for name in pq.read_schema(path).names if name in {self.key, "image_path", "caption"}]
            for batch in pq.ParquetFile(path).iter_batches(columns=columns):
                table = pa.Table.from_batches([batch])
                for row in table.to_pylist():
                    if row[self.key] is None:
                        raise SourceError(
                            f"{path}: a row has no {self.key}, which names it; set key to a column that names every row"
                        )
                    yield Sample(str(row[self.key]), self._below(row.get("image_path")), row.get("caption"))

    def _below(self, place: str | None) -> str | None:
        """Where an image is, below `images` where that is known and so."""
        if place is None or self.images is None:
            return place
        path = Path(place)
        return path.relative_to(self.images).as_posix() if path.is_relative_to(self.images) else place

    def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """What is stored of these rows. None of them is refused here."""
        return {f"{self.name}/{field}": _gather(arrays, self.starts, rows) for field, arrays in self.files.items()}, {}


@contextmanager
def _reading(root: Path) -> Iterator[None]:
    """SourceError where the tables of rows cannot be read."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(
            f"{root}/metadata: damaged, or no Parquet files ({one_line(error)}); fetch it again"
        ) from error


def _mapped(path: Path) -> np.ndarray:
    try:
        array = npy.load(path, "r")
    except (ValueError, OSError) as error:
        raise SourceError(f"{path}: not an array of numbers ({one_line(error)})") from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise SourceError(f"{path}: {array.dtype} {list(array.shape)}, want rows of float embeddings")
    return array


def _numbered(paths: Sequence[Path]) -> dict[tuple[int, ...], Path]:
    """Parts by their number: the last in a name, or all of its numbers where the last is everywhere the same."""
    every = {path: tuple(int(number) for number in re.findall(r"\d+", path.stem)) for path in paths}
    last = {numbers[-1:]: path for path, numbers in every.items()}
    return last if len(last) == len(paths) else {numbers: path for path, numbers in every.items()}


def _in_order(paths: Sequence[Path], metadata: Sequence[Path]) -> list[Path]:
    """The parts of a folder as those of metadata/ come; SourceError where one has no other half."""
    ours, theirs = _numbered(paths), _numbered(metadata)
    if len(paths) == len(metadata) == 1 and () in (*ours, *theirs):
        return list(paths)
    for here, there, folder in ((ours, theirs, "metadata"), (theirs, ours, paths[0].parent.name)):
        alone = [path for number, path in here.items() if number not in there]
        if alone:
            raise SourceError(f"{alone[0]}: {folder}/ has no part of that number; fetch it, or number both alike")
    if len(ours) < len(paths) or len(theirs) < len(metadata):
        raise SourceError(f"{paths[0].parent}: several parts have one number; number them as those of metadata/")
    return [ours[number] for number in theirs]


def _of_one_kind(paths: Sequence[Path], arrays: Sequence[np.ndarray]) -> bool:
    """Whether the vectors are of length 1. SourceError where parts differ in that, or in how many numbers they have."""
    unit: dict[bool, Path] = {}
    for path, array in zip(paths, arrays, strict=True):
        if array.shape[1] != arrays[0].shape[1]:
            raise SourceError(
                f"{path}: rows of {array.shape[1]} numbers, those of {paths[0].name} have {arrays[0].shape[1]}; import "
                "what one network said"
            )
        some = evenly(array, _LOOKED_AT)
        lengths = np.linalg.norm(some.astype(np.float64), axis=1)
        lengths = lengths[np.isfinite(lengths) & (lengths > 0)]
        if len(lengths):
            unit[bool((np.abs(lengths - 1) < _NEAR).all())] = path
    if len(unit) > 1:
        raise SourceError(f"{unit[False]}: not of length 1, as those of {unit[True].name}; import what is of one kind")
    return False not in unit


def _is_text(kind: pa.DataType) -> bool:
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(plain) or pa.types.is_large_string(plain) or pa.types.is_null(plain))


def _gather(arrays: list[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows numbered through all arrays, in the order asked for: float [rows, d]."""
    found = np.empty((len(rows), arrays[0].shape[1]), np.result_type(*arrays).newbyteorder("="))
    whose = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(whose):
        mine = whose == number
        found[mine] = arrays[number][rows[mine] - starts[number]]
    return found
