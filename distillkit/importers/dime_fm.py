"""DIME-FM's feature files: a row is `key <tab> base64 of float32 numbers`, and `.lineidx` says where each row begins.

Its own code pairs them with images or texts by row number and compares no key; here they are compared.
https://github.com/sunxm2357/DIME-FM
"""

from __future__ import annotations

import base64
import binascii
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from distillkit.errors import SourceError
from distillkit.importers._record import imported
from distillkit.store.format.field import Field
from distillkit.system.atomic import parsed_json
from distillkit.system.paths import expand
from distillkit.system.wording import one_line
from distillkit.types import Sample

_KEY = 4096  # bytes; a longer key is cut


class DimeFm:
    """`root`: a .tsv, or a folder of them, taken in the order of their names. `field`: what the rows are features of.

    `beside`: the .tsv files with the images or texts of the rows: as many files, in the same order, with the same rows.
    """

    def __init__(
        self,
        root: Path,
        *,
        field: Literal["image", "text"] = "image",
        beside: list[str] | None = None,
        name: str = "imported",
        model: str | None = None,
        sha256: str | None = None,
        logit_scale: float | None = None,
    ):
        paths = [root] if root.is_file() else sorted(root.glob("*.tsv"))
        if not paths:
            raise SourceError(f"{root}: neither a .tsv file nor a folder of them")
        self.files = [_Rows(path) for path in paths]
        self.beside = [_Rows(Path(expand(path))) for path in beside or ()]
        self.places = [place for rows in (*self.files, *self.beside) for place in rows.places]
        if self.beside and [len(file) for file in self.beside] != [len(file) for file in self.files]:
            raise SourceError(
                f"{root}: the files in `beside` have other numbers of rows; the two lists must go together"
            )
        self.starts = np.cumsum([0, *map(len, self.files)])
        self.full = f"{name}/{field}"
        self.width = self._width()
        self.fields = {self.full: Field(teacher=name, shape=[self.width], dtype="float32")}
        self.teachers = {name: imported("dime_fm", model=model, sha256=sha256, logit_scale=logit_scale)}
        self.views: dict[str, Any] = {"count": 1, "kind": "unknown"}
        self.source: dict[str, Any] = {"kind": "folder", "knobs": {}, "root": None}

    def _width(self) -> int:
        """How many numbers the first row has; SourceError where there is none."""
        first = self.files[0]
        columns = first[0] if len(first) else []
        width = len(_numbers(columns[1])) if len(columns) > 1 else 0
        if not width:
            raise SourceError(f"{first.path}: its first row has no key and features behind a tab; fetch it again")
        return width

    def __iter__(self) -> Iterator[Sample]:
        for number, file in enumerate(self.files):
            for row in range(len(file)):
                key, text = file.key(row), None
                if self.beside:
                    beside = self.beside[number]
                    if beside.key(row) != key:
                        raise SourceError(f"{file.path}: row {row} is {key!r}, in {beside.path} {beside.key(row)!r}")
                    text = _caption(beside[row][-1]) if self.full.endswith("/text") else None
                # Keys count the rows of a file in some of these corpora; several files would share them.
                yield Sample(key if len(self.files) == 1 else f"{file.path.stem}/{key}", None, text)

    def read(self, rows: np.ndarray) -> tuple[dict[str, np.ndarray], dict[int, str]]:
        """What is stored of these rows; one that does not decode, or is of another width, is refused."""
        found = np.full((len(rows), self.width), np.nan, np.float32)
        refused: dict[int, str] = {}
        whose = np.searchsorted(self.starts, rows, side="right") - 1
        for place, (number, row) in enumerate(zip(whose, rows, strict=True)):
            try:
                values = _numbers(self.files[number][int(row - self.starts[number])][1])
            except (SourceError, IndexError) as error:
                refused[place] = str(error)
                continue
            if len(values) == self.width:
                found[place] = values
            else:
                refused[place] = f"{len(values)} numbers, the first row has {self.width}"
        return {self.full: found}, refused


class _Rows:
    """The rows of a .tsv as lists of columns, found by its .lineidx, or by looking for line ends if it has none."""

    def __init__(self, path: Path):
        self.path = path
        try:
            self.file = path.open("rb")
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from error
        index = path.with_suffix(".lineidx")
        chosen = path.with_suffix(".linelist")
        self.places = [place for place in (path, index, chosen) if place.is_file()]
        self.begins = _begins(index) if index.is_file() else self._searched()
        size = path.stat().st_size
        if len(self.begins) and not 0 <= self.begins.min() <= self.begins.max() <= size:
            raise SourceError(f"{index}: places beyond the {size} bytes of {path.name}; fetch both again")
        self.index = index
        if index.is_file() and self._ends() < size:
            raise SourceError(f"{index}: ends before the last line of {path.name}; fetch both again")
        if chosen.is_file():
            lines = np.sort(_begins(chosen))
            if len(lines) and not 0 <= lines[0] <= lines[-1] < len(self.begins):
                raise SourceError(f"{chosen}: names lines that {path.name} has not; fetch both again")
            self.begins = self.begins[lines]

    def _searched(self) -> np.ndarray:
        self.file.seek(0)
        lengths = [len(line) for line in self.file]
        return np.cumsum([0, *lengths[:-1]]) if lengths else np.empty(0, np.int64)

    def _ends(self) -> int:
        """Where the last row that is known ends."""
        self.file.seek(int(self.begins.max()) if len(self.begins) else 0)
        if len(self.begins):
            self.file.readline()
        return self.file.tell()

    def __len__(self) -> int:
        return len(self.begins)

    def key(self, row: int) -> str:
        """The first column alone: behind it may lie an image. SourceError where no line begins there."""
        begin = int(self.begins[row])
        self.file.seek(max(begin - 1, 0))
        if begin and self.file.read(1) != b"\n":
            raise SourceError(f"{self.index}: row {row} begins within a line of {self.path.name}; fetch both again")
        start = self.file.readline(_KEY)
        return start.partition(b"\t")[0].decode("utf-8", "replace").rstrip("\r\n")

    def __getitem__(self, row: int) -> list[str]:
        self.file.seek(int(self.begins[row]))
        return self.file.readline().decode("utf-8", "replace").rstrip("\r\n").split("\t")


def _begins(path: Path) -> np.ndarray:
    """A number a line: int64 [n]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of a file without lines
            warnings.simplefilter("error", DeprecationWarning)  # of numbers that are not whole
            numbers = np.loadtxt(path, np.int64, ndmin=1)
        if numbers.ndim > 1:
            raise ValueError(f"{numbers.shape[1]} in a line")
    except (ValueError, OverflowError, DeprecationWarning) as error:
        raise SourceError(f"{path}: not a number a line ({one_line(error)}); fetch it again") from error
    return numbers


def _numbers(text: str) -> np.ndarray:
    try:
        return np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except (binascii.Error, ValueError) as error:
        raise SourceError(f"not the base64 of float32 numbers ({error})") from error


def _caption(text: str) -> str:
    """The first caption of a row of texts: JSON with `captions` or `caption`, a list or a text, or a plain text."""
    try:
        told = parsed_json(text)
    except ValueError:
        return text
    told = told[0] if isinstance(told, list) and told else told
    if isinstance(told, dict):
        told = told.get("captions", told.get("caption"))
    told = told[0] if isinstance(told, list) and told else told
    return told if isinstance(told, str) else text
