"""DataCompDR: tars in which each sample has `UID.npz` or `UID.pth.gz` with its teachers' embeddings of every view.

`image_emb` is [views, d], `text_emb` [captions, d], the first of them the corpus's own caption; d is what several
teachers said, one behind the other. `UID.paug.json` tells how each view was cut, in terms of its own code, which is
not ours: views can be learned from here, not cut again. https://huggingface.co/datasets/apple/DataCompDR-12M
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch

from distillkit.errors import SourceError
from distillkit.importers._record import imported
from distillkit.store.format.field import Field
from distillkit.system import npy
from distillkit.system.opening import blame_the_file
from distillkit.system.wording import one_line
from distillkit.types import Sample

_KINDS = (".npz", ".pth.gz")
_LIMIT = 1 << 26  # bytes unpacked; a sample of 30 views of 1,536 numbers is 200 KB
_READING = (OSError, EOFError, zlib.error, zipfile.BadZipFile, UnpicklingError)
_DAMAGE = (*_READING, ValueError, KeyError, TypeError, RuntimeError)


@dataclass(frozen=True)
class _Member:
    key: str
    tar: Path
    kind: str
    start: int
    size: int
    text: str | None


class Datacompdr:
    """`root`: a .tar, or a folder of them. `widths`: the widths of the teachers, whose vectors stand one behind the
    other, such as [768, 768]; if not given, they count as one teacher.

    Rows are kept as bfloat16 where the files have that, else as float16.
    """

    def __init__(
        self,
        root: Path,
        *,
        widths: list[int] | None = None,
        name: str = "imported",
        model: str | None = None,
        logit_scale: float | None = None,
    ):
        tars = [root] if root.is_file() else sorted(root.glob("*.tar"))
        self.members = [member for tar in tars for member in _members(tar)]
        if not self.members:
            raise SourceError(f"{root}: no .tar with .npz or .pth.gz files of embeddings")
        first = _unpacked(self.members[0])
        image, text = first["image_emb"], first["text_emb"]
        self.places, self.half = tars, image.dtype == torch.bfloat16
        self.shape, told = tuple(image.shape), tuple(text.shape)
        self.widths = widths or [self.shape[-1]]
        if self.shape[-1] != told[-1] or sum(self.widths) != told[-1] or min(self.widths) < 0:
            raise SourceError(f"{root}: embeddings {list(image.shape)} and {list(text.shape)}, widths {self.widths}")
        self.names = (
            [name] if len(self.widths) == 1 else [f"{name}{number}" for number in range(1, 1 + len(self.widths))]
        )
        record = imported("datacompdr", model=model, sha256=None, logit_scale=logit_scale)
        self.teachers = {alias: record | {"place": number} for number, alias in enumerate(self.names)}
        self.views: dict[str, Any] = {
            "count": self.shape[0],
            "kind": "DataCompDR's own augmentation; cannot be cut again",
        }
        self.source: dict[str, Any] = {"kind": "folder", "knobs": {}, "root": None}

    @property
    def fields(self) -> dict[str, Field]:
        """`image` of every view, and `text` of the corpus's own caption."""
        dtype: Literal["bfloat16", "float16"] = "bfloat16" if self.half else "float16"
        fields = {}
        for alias, width in zip(self.names, self.widths, strict=True):
            shape = [self.shape[0], width]
            fields[f"{alias}/image"] = Field(teacher=alias, shape=shape, dtype=dtype, per_view=self.shape[0] > 1)
            fields[f"{alias}/text"] = Field(teacher=alias, shape=[width], dtype=dtype)
        return fields

    def __iter__(self) -> Iterator[Sample]:
        for member in self.members:
            yield Sample(member.key, None, member.text)

    def read(self, rows: np.ndarray) -> tuple[dict[str, torch.Tensor], dict[int, str]]:
        """What is stored of these rows; a file that cannot be unpacked safely, or is of another shape, is refused."""
        image = torch.full((len(rows), *self.shape), torch.nan)
        text = torch.full((len(rows), self.shape[1]), torch.nan)
        refused: dict[int, str] = {}
        for place, row in enumerate(rows.tolist()):
            try:
                held = _unpacked(self.members[row])
                shape, width = tuple(held["image_emb"].shape), held["text_emb"].shape[1]
                if shape != self.shape or width != self.shape[1]:
                    raise SourceError(f"image_emb {list(shape)}, texts of {width}; the first has {list(self.shape)}")
                image[place], text[place] = held["image_emb"], held["text_emb"][0]
            except (SourceError, RuntimeError, IndexError) as error:
                refused[place] = str(error)
        arrays: dict[str, torch.Tensor] = {}
        for alias, one, other in zip(self.names, image.split(self.widths, 2), text.split(self.widths, 1), strict=True):
            arrays |= {f"{alias}/image": one, f"{alias}/text": other}
        return arrays, refused


def _members(tar: Path) -> Iterator[_Member]:
    """The embeddings in a tar, by sample, with its caption if it has one. Nothing is unpacked to disk."""
    texts: dict[tuple[str, str], str] = {}
    found: dict[tuple[str, str], tuple[str, int, int]] = {}
    try:
        with tarfile.open(tar, "r:") as archive:
            for member in archive:
                folder, _, name = member.name.rpartition("/")
                key, _, ending = name.partition(".")
                if member.isfile() and f".{ending}" in _KINDS:
                    found[folder, key] = f".{ending}", member.offset_data, member.size
                elif member.isfile() and ending == "txt" and member.size < _LIMIT:
                    content = archive.extractfile(member)
                    texts[folder, key] = content.read().decode("utf-8", "replace") if content else ""
    except (tarfile.TarError, OSError) as error:
        blame_the_file(error, tar)
        raise SourceError(f"{tar}: no tar that can be read ({error})") from error
    times = Counter(key for _, key in found)
    for (folder, key), (kind, start, size) in found.items():
        named = key if times[key] == 1 else f"{folder}/{key}"  # of several folders, so that none is taken for another
        yield _Member(named, tar, kind, start, size, texts.get((folder, key)))


def _unpacked(member: _Member) -> dict[str, torch.Tensor]:
    """The arrays of one sample. Nothing in it is run, and nothing is unpacked beyond a limit."""
    try:
        with member.tar.open("rb") as file:
            file.seek(member.start)
            packed = file.read(min(member.size, _LIMIT))
        held = _from_npz(packed) if member.kind == ".npz" else _from_pth(packed)
        found = {name: torch.as_tensor(held[name]) for name in ("image_emb", "text_emb")}
        for name, value in found.items():
            if value.ndim != 2 or not len(value) or not value.is_floating_point():
                raise ValueError(f"{name} is {value.dtype} {list(value.shape)}, want rows of floats")
        return found
    except _DAMAGE as error:
        blame_the_file(error, member.tar)
        told = one_line(error)
        raise SourceError(
            f"{member.tar.name}/{member.key}{member.kind}: damaged, or not safe to load ({told})"
        ) from error


def _from_npz(packed: bytes) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _LIMIT:
            raise ValueError(f"more than {_LIMIT} bytes when unpacked")
    return npy.load_all(io.BytesIO(packed))


def _from_pth(packed: bytes) -> dict[str, torch.Tensor]:
    with gzip.GzipFile(fileobj=io.BytesIO(packed)) as stream:
        whole = stream.read(_LIMIT + 1)
    if len(whole) > _LIMIT:
        raise ValueError(f"more than {_LIMIT} bytes when unpacked")
    held: dict[str, torch.Tensor] = torch.load(io.BytesIO(whole), weights_only=True, map_location="cpu")
    return held
