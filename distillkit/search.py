"""Pictures by a text or by a picture: what a student says of them, or what the teacher said and a store keeps.

    distillkit search runs/mine "a red bicycle" --in ~/photos
    distillkit search runs/mine --image bicycle.jpg --in stores/mine/images

Of a folder the student looks at every picture once, and what it said is kept in the cache; of a store nothing is
computed but the query: the student asks, the teacher's rows answer. The search is exact (mining/exact.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Float
from PIL import Image

from distillkit.callable import Say, make_callable, silent
from distillkit.embedding.embedder import Embedder
from distillkit.embedding.kept import Gallery, gallery_of, kept_text
from distillkit.embedding.looking import Picture
from distillkit.embedding.opened import is_store, opened
from distillkit.embedding.pictures import folder_of
from distillkit.embedding.student import Student
from distillkit.embedding.teacher import Teacher
from distillkit.errors import DistillkitError, SourceError, StoreError
from distillkit.mining.exact import Exact, nearest
from distillkit.mining.found import Found, merge, nothing
from distillkit.mining.vectors import Vectors
from distillkit.originals import Originals
from distillkit.pixels import decode, upright_rgb
from distillkit.report.found import Shown, thumbnail, write_found
from distillkit.store.reading.images import one_row_each
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import cpu
from distillkit.system.fitting import fitting
from distillkit.system.numbers import refuse_less
from distillkit.system.paths import expand, here

Show = Callable[[], Image.Image]  # a picture that was found

_BLOCK = 65_536  # rows of a store, or of what is kept of a folder, that are in memory at a time


@dataclass(frozen=True)
class Hit:
    """A picture by its key, how near it is (the cosine), and where its file lies, if it is one."""

    key: str
    score: float
    path: Path | None


@dataclass(frozen=True)
class Search:
    """What was found, best first, `among` how many pictures, in how many `seconds`; `broken` ones are named by key.

    `by`: who made the vector of the text or picture that was asked, and who those of the pictures. A student without a
    text tower asks by its teacher's, and of a store the teacher answers: with both, the student is not asked at all.
    """

    query: str
    hits: list[Hit]
    among: int
    seconds: float
    by: tuple[str, str]
    broken: Mapping[str, str] = field(default_factory=dict)
    page: Path | None = None


@fitting("search", "lower batch_size (--batch-size)", "device (--device) to cpu")
@cpu.settled()
def search(
    who: str | Path | Embedder,
    query: str | None = None,
    *,
    within: str | Path,
    image: Picture | None = None,
    top: int = 10,
    page: str | Path | None = None,
    batch_size: int = 128,
    threads: int | None = None,
    device: str = "auto",
    say: Say = silent,
) -> Search:
    """The `top` pictures of `within` (a folder, or a store of the same teacher) nearest to a text or to a picture.

    `who`: a run, its best/, a store (then its teacher is asked), or what load_student gave, which is quickest again and
    again. `page`: write them as one page of HTML, too. TeacherError where texts are the teacher's, and that is gone.
    """
    refuse_less(1, top=top, batch_size=batch_size, threads=threads)
    if (query is None) == (image is None):
        raise DistillkitError("search: give either a text or a picture (--image FILE) to search by")
    if query is not None and not query.strip():
        raise DistillkitError("search: the text is empty; say what to look for")
    store = FeatureStore(expand(str(within))) if is_store(within) else None
    folder = None if store else folder_of(str(within))
    if store is None and folder is None:
        raise SourceError(f"{within}: name a folder of pictures, or a store, to search in")
    embedder, began = opened(who, device), time.perf_counter()
    # What is asked by comes first: a folder may take hours, and want of a text tower is known at once.
    asked = kept_text(embedder, query) if query is not None else embedder.embed_images([image or ""]).numpy()
    asked = asked / np.linalg.norm(asked, axis=1, keepdims=True)
    if store is not None:
        found = _in_store(embedder, store, asked, top, say)
    else:
        assert folder is not None
        found = _in_folder(embedder, folder, asked, top, say, batch_size, threads)
    seconds, named = time.perf_counter() - began, query or _name(image)
    written = None if page is None else _page(here(page), named, image, embedder.name, str(within), found)
    by = embedder.who_says("image" if query is None else "text"), found.by
    if isinstance(embedder, Student) and embedder.name not in by:
        told = "its teacher embedded query and pictures; search in a folder, or by what the student has a tower for"
        say(f"{embedder.name}: the student was not used: {told}")
    return Search(named, found.hits, found.among, seconds, by, found.broken, written)


@dataclass(frozen=True)
class _Found:
    hits: list[Hit]
    shown: Sequence[Show]
    among: int
    by: str
    broken: Mapping[str, str]


def _in_folder(
    embedder: Embedder,
    folder: Path,
    asked: Float[np.ndarray, "1 d"],
    top: int,
    say: Say,
    batch_size: int,
    threads: int | None,
) -> _Found:
    gallery = gallery_of(embedder, folder, say, batch_size=batch_size, threads=threads)
    _refuse_other_width(embedder, asked, gallery.kept.shape[1])
    found = _nearest_kept(gallery, asked, top)
    hits = [Hit(gallery.keys[at], score, gallery.paths[at]) for at, score in _pairs(found)]
    shown = [partial(decode, gallery.paths[at]) for at, _ in _pairs(found)]
    return _Found(hits, shown, len(gallery.keys), embedder.who_says("image"), gallery.broken)


def _nearest_kept(gallery: Gallery, asked: Float[np.ndarray, "1 d"], top: int) -> Found:
    """The nearest of what is kept of a folder; a block of it is in memory at a time, the file is mapped."""
    best = nothing(len(asked), min(top, len(gallery.keys)))
    for first in range(0, len(gallery.rows), _BLOCK):
        rows = gallery.kept[gallery.rows[first : first + _BLOCK]]  # a copy
        rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        found = nearest(asked, rows, min(top, len(rows)))
        merge(best, Found(found.scores, found.places + first))
    return best


def _in_store(embedder: Embedder, store: FeatureStore, asked: Float[np.ndarray, "1 d"], top: int, say: Say) -> _Found:
    if "image" not in store.own_fields:
        raise StoreError(f"{store.path}: holds no image features; search in a store of images")
    told = embedder.other_space(store.teacher("image"))
    if told:
        raise StoreError(
            f"{store.path}: is of another teacher than {embedder.name} ({told}); search in one of the same"
        )
    vectors = Vectors.of(store, "image").directed(say)
    vectors = vectors.only(one_row_each(store, vectors.rows))
    _refuse_other_width(embedder, asked, vectors.width)
    found = Exact(vectors, _BLOCK).search(asked, min(top, len(vectors)))
    pairs = _pairs(found)
    rows = vectors.rows[np.array([at for at, _ in pairs], np.int64)]
    files = Originals(store, None) if store.index["image"].null_count < len(store.index) else None
    keys, places = store.values("key", rows), store.values("image", rows)
    root = store.manifest.source.get("root")
    hits = [
        Hit(key, score, Path(root) / place if root and place and (Path(root) / place).is_file() else None)
        for key, place, (_, score) in zip(keys, places, pairs, strict=True)
    ]

    def show(row: int) -> Image.Image:
        if files is None:
            raise SourceError("the store has no names of images")
        picture: Image.Image = files.open(row)[0]
        return picture

    said_by = Teacher(store.teacher("image"), str(store.path)).name
    return _Found(hits, [partial(show, int(row)) for row in rows], len(vectors), said_by, {})


def _pairs(found: Found) -> list[tuple[int, float]]:
    """Places and cosines of the one query."""
    return [(int(at), float(score)) for at, score in zip(found.places[0], found.scores[0], strict=True) if at >= 0]


def _refuse_other_width(embedder: Embedder, asked: Float[np.ndarray, "1 d"], width: int) -> None:
    if asked.shape[1] != width:
        raise DistillkitError(
            f"{embedder.name}: the query's vector has {asked.shape[1]} numbers, those of the pictures {width}, so they "
            f"cannot be compared; search by a picture, or train with student.embed_dim = {width}"
        )


def _page(path: Path, query: str, image: Picture | None, who: str, within: str, found: _Found) -> Path:
    shown = []
    for hit, show in zip(found.hits, found.shown, strict=True):
        try:
            shown.append(Shown(hit.key, hit.score, thumbnail(show())))
        except SourceError as error:
            shown.append(Shown(hit.key, hit.score, None, str(error)))
    asked = None if image is None else thumbnail(_open(image))
    return write_found(path, query=query, asked=asked, who=who, within=within, among=found.among, shown=shown)


def _open(image: Picture) -> Image.Image:
    return upright_rgb(image) if isinstance(image, Image.Image) else decode(Path(image))


def _name(image: Picture | None) -> str:
    if isinstance(image, str | Path):
        return Path(image).name
    return Path(str(getattr(image, "filename", "") or "a picture")).name


make_callable(__name__)
