"""clip-retrieval's embeddings: `img_emb/*.npy`, `text_emb/*.npy` and their rows' facts in `metadata/*.parquet`.

They are of length 1: clip-retrieval normalises before it writes. https://github.com/rom1504/clip-retrieval
"""

from __future__ import annotations

from collections.abc import Iterator
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
from distillkit.system.wording import one_line
from distillkit.types import Sample

_FOLDERS = {"image": "img_emb", "text": "text_emb"}


class ClipRetrieval:
    """`root`: the output folder of `clip-retrieval inference`. `model`, `sha256`, `logit_scale`: what is known of its
    network. `key`: the metadata column that names a row; images lie at `image_path`, below `images` if that is given.
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
        self.teachers = {
            name: imported("clip_retrieval", model=model, sha256=sha256, logit_scale=logit_scale, normalised=True)
        }
        self.views: dict[str, Any] = {"count": 1, "kind": "as clip-retrieval showed them"}
        self.source: dict[str, Any] = {"kind": "folder", "knobs": {}, "root": images}
        self.files = {
            field: [_mapped(path) for path in sorted((root / folder).glob("*.npy"))]
            for field, folder in _FOLDERS.items()
            if (root / folder).is_dir()
        }
        self.metadata = sorted((root / "metadata").glob("*.parquet"))
        with _reading(root):
            self._refuse_what_does_not_fit()
            self.starts = np.cumsum([0, *(pq.read_metadata(path).num_rows for path in self.metadata)])

    def _refuse_what_does_not_fit(self) -> None:
        if not self.files or not self.metadata:
            raise SourceError(f"{self.root}: no img_emb/*.npy or text_emb/*.npy with metadata/*.parquet beside them")
        rows = [pq.read_metadata(path).num_rows for path in self.metadata]
        for field, arrays in self.files.items():
            if [len(array) for array in arrays] != rows:
                raise SourceError(f"{self.root}/{_FOLDERS[field]}: not as many files and rows as in metadata/")
        columns = pq.read_schema(self.metadata[0]).names
        if self.key not in columns:
            raise SourceError(
                f"{self.metadata[0]}: no column {self.key!r} to name rows by; set key to one of: {', '.join(columns)}"
            )

    @property
    def fields(self) -> dict[str, Field]:
        """The dtype is the files' own."""
        return {
            f"{self.name}/{field}": Field(
                teacher=self.name,
                shape=[int(arrays[0].shape[1])],
                dtype="float16" if arrays[0].dtype == np.float16 else "float32",
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
        raise SourceError(f"{path}: no array of numbers ({one_line(error)})") from error
    if array.ndim != 2 or array.dtype.kind != "f":
        raise SourceError(f"{path}: {array.dtype} {list(array.shape)}, want rows of float embeddings")
    return array


def _gather(arrays: list[np.ndarray], starts: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rows numbered through all arrays, in the order asked for: float [rows, d]."""
    found = np.empty((len(rows), arrays[0].shape[1]), arrays[0].dtype)
    whose = np.searchsorted(starts, rows, side="right") - 1
    for number in np.unique(whose):
        mine = whose == number
        found[mine] = arrays[number][rows[mine] - starts[number]]
    return found
