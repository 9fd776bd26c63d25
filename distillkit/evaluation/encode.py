"""How an evaluation asks: a store in, one vector for each usable row out. The teacher is read, a student computes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from jaxtyping import Float
from torch import Tensor

from distillkit.errors import MissingExtra, RecipeError, SourceError, StoreError, TrainError
from distillkit.evals._encode import Tokens, taught
from distillkit.evaluation.embed import Pace, embedded, embedded_tokens
from distillkit.evaluation.features import Features
from distillkit.originals import Originals
from distillkit.pixels.looks import lies_over
from distillkit.pixels.pillow import Header
from distillkit.pixels.views import unpacked
from distillkit.store.format.field import PARAMETERS
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.progress import hearer, paced
from distillkit.system.wording import count
from distillkit.system.workers import cores
from distillkit.types import View

_HEADERS = 64  # between two words on how far it is
# Of stores that are open: by where their images lie by now and by row, what their files say.
_SAID: WeakKeyDictionary[FeatureStore, dict[str | None, dict[int, Header | None]]] = WeakKeyDictionary()
Embed = Callable[[Any, Originals, np.ndarray, Pace], Tensor]


class Teacher:
    """What the teacher said of the clean views, read from the stores. `device`: see Encode; `roots`: see Student."""

    def __init__(self, device: torch.device | None = None, roots: Mapping[Path, str] | None = None):
        self.device, self._roots = device or torch.device("cpu"), roots or {}
        self._files: dict[Path, Originals] = {}

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        return taught(store)

    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        return store.read("text", rows).float()

    def tokens(self, store: FeatureStore, rows: np.ndarray, *, cls: bool) -> Tokens:
        said = [self._stored(store, name, rows) for name in ("patches", *(("cls",) if cls else ()))]
        return Tokens(said[0], said[1] if cls else None)

    def looked(self, store: FeatureStore, rows: np.ndarray) -> Callable[[int, int, int], View] | None:
        """What its patches lie over, of the n-th of these rows, its image being so wide and high; None for the largest
        centred square of each.
        """
        if PARAMETERS in store.fields and not store.manifest.views.get("clean_first"):
            drawn = [unpacked(row) for row in store.read(PARAMETERS, rows, view=np.zeros(len(rows), np.int64)).numpy()]
            return lambda n, width, height: drawn[n]
        look = lies_over(store.teacher("patches")) if "patches" in store.own_fields else None
        return None if look is None else lambda n, width, height: look(width, height)

    def headers(self, store: FeatureStore, rows: np.ndarray) -> list[Header | None]:
        """What the files of these rows' images say of them; None where there is no file, or none that can be read.

        Behind a URL that is to fetch them, so each is looked at once as long as the store is open: as a command takes.
        """
        known = _SAID.setdefault(store, {}).setdefault(self._roots.get(store.path.resolve()), {})
        new = [row for row in rows.tolist() if row not in known]
        try:
            files = self._originals(store)
            _ = files.source
        except (SourceError, RecipeError, MissingExtra):  # neither they nor who reads them need be here by now
            return [None] * len(rows)
        with ThreadPoolExecutor(cores()) as pool:
            for start in paced(f"{store.path}: images whose headers are looked at", len(new), _HEADERS, hearer()):
                some = new[start : start + _HEADERS]
                known.update(zip(some, pool.map(files.header, some), strict=True))
        return [known[row] for row in rows.tolist()]

    def _originals(self, store: FeatureStore) -> Originals:
        if store.path not in self._files:
            self._files[store.path] = Originals(store, self._roots.get(store.path.resolve()))
        return self._files[store.path]

    def _stored(self, store: FeatureStore, name: str, rows: np.ndarray) -> Tensor:
        if name not in store.own_fields:
            raise StoreError(
                f"{store.path}: holds no {name!r}, only {', '.join(store.own_fields)}; extract it with {name!r} in "
                "fields, so that the teacher can be measured on it"
            )
        return store.read(name, rows, view=0 if store.field(name).per_view else None).float()


class Student(Teacher):
    """A student, applied to the clean centre view of every usable row, and to texts if it has a tower for them.

    `load` gives it when it is first asked; `roots` says where images lie that were moved (originals.py). What it cannot
    embed is the teacher's: texts of an image student, images of a text student. `kept`: where what it said of images is
    kept, for the next time. `name` is what errors call it. `embed`: how images are looked at, by one process or more.
    """

    def __init__(
        self,
        load: Callable[[], Any],
        roots: Mapping[Path, str],
        pace: Pace | None = None,
        kept: Features | None = None,
        name: str = "the student",
        embed: Embed = embedded,
    ):
        super().__init__(pace.device if pace else None, roots)
        self._load, self._pace, self._kept, self._name = load, pace or Pace(), kept, name
        self._embed = embed
        self._seen: dict[Path, Tensor] = {}

    @cached_property
    def _student(self) -> Any:
        student = self._load()
        return student if self._pace.device is None else student.to(self._pace.device)

    @property
    def has_texts(self) -> bool:
        """Whether it embeds texts itself."""
        return hasattr(self._student, "embed_text")

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        if "image" not in self._student.widths:
            return super().__call__(store)
        if store.path not in self._seen:
            said = self._kept.of(store) if self._kept else None
            if said is None:
                files = self._originals(store)
                first, image = _once(store)
                said = self._embed(self._student, files, store.ok_rows[first], self._pace)
                self._refuse_no_numbers(said, store, store.ok_rows[first])
                said = said if len(first) == len(image) else said[torch.from_numpy(image)]
                if self._kept:
                    self._kept.keep(store, said)
            self._seen[store.path] = said
        return self._seen[store.path]

    def looked(self, store: FeatureStore, rows: np.ndarray) -> None:
        """At the largest centred squares."""

    def tokens(self, store: FeatureStore, rows: np.ndarray, *, cls: bool) -> Tokens:
        if not hasattr(self._student, "embed_tokens"):
            raise TrainError(f"{self._name}: sees no images, so it has no patches; measure dense features of another")
        pooled, patches = embedded_tokens(self._student, self._originals(store), rows, self._pace)
        if patches is None:
            raise TrainError(f"{self._name}: is no vision transformer, so it has no patches to be measured")
        self._refuse_no_numbers(patches.flatten(1), store, rows)
        return Tokens(patches, pooled)

    @torch.inference_mode()
    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        if not self.has_texts:
            return super().texts(store, rows)
        texts, device = store.index["text"].take(rows).to_pylist(), next(self._student.parameters()).device
        starts = paced(f"{store.path}: texts", len(texts), self._pace.batch, self._pace.say)
        batches = (texts[start : start + self._pace.batch] for start in starts)
        with self._pace.precision(device):
            tokens = (self._student.tokenize(batch).to(device) for batch in batches)
            said = torch.cat([self._student.embed_text(one).float().cpu() for one in tokens])
        self._refuse_no_numbers(said, store, rows)
        return said

    def _refuse_no_numbers(self, said: Float[Tensor, "n d"], store: FeatureStore, rows: np.ndarray) -> None:
        bad = np.flatnonzero(~torch.isfinite(said).all(1).numpy())
        if len(bad):
            key = store.values("key", rows[bad[:1]])[0]
            raise TrainError(
                f"{self._name}: gives NaN or infinity for {len(bad):,} of {count(len(said), 'row')} of "
                f"{store.path}, the first "
                f"is {key!r}; it has diverged, train it anew with a lower optim.lr"
            )


def _once(store: FeatureStore) -> tuple[np.ndarray, np.ndarray]:
    """Of the usable rows the first of each image, and which of these images every row has: several captions of one
    image are several rows, and one forward.
    """
    index = store.index.select(["image", "key"]).take(store.ok_rows)
    where = pc.coalesce(index["image"], index["key"]).combine_chunks()
    # Encoded in order of appearance, so that where no image comes twice every row stays where it is.
    number = pa.array(where).dictionary_encode().indices.to_numpy()
    return np.unique(number, return_index=True)[1], number


class Blank(Student):
    """A student that says nothing of anything: what an evaluation would refuse, it refuses of this one.

    As it is `blank`, evaluations learn and rank little of it, however much there is.
    """

    blank = True

    def __call__(self, store: FeatureStore) -> Float[Tensor, "n d"]:
        if "image" not in self._student.widths:
            return super().__call__(store)
        _ = Originals(store, self._roots.get(store.path.resolve())).source
        return torch.zeros(len(store.ok_rows), self._student.widths["image"])

    def tokens(self, store: FeatureStore, rows: np.ndarray, *, cls: bool) -> Tokens:
        said = super().tokens(store, rows[:1], cls=cls)
        patches, pooled = (None if one is None else torch.zeros(len(rows), *one.shape[1:]) for one in said)
        assert patches is not None  # or it was refused
        return Tokens(patches, pooled)

    def texts(self, store: FeatureStore, rows: np.ndarray) -> Float[Tensor, "n d"]:
        said = super(Student, self).texts(store, rows)
        return torch.zeros(len(rows), self._student.widths["text"]) if self.has_texts else said
