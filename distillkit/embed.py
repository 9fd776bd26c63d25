"""Pictures and texts to vectors, by a student or by the teacher of a store, into a file or a store of their own.

    distillkit embed runs/mine ~/photos --out photos.npy
    distillkit embed runs/mine ~/photos --texts sentences.txt --out vectors.parquet

What is said of a folder's pictures is kept in the cache, so that a second time, and a search, costs new pictures only.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from distillkit.callable import Say, make_callable, silent
from distillkit.embedding.embedder import Embedder
from distillkit.embedding.kept import Gallery, gallery_of
from distillkit.embedding.looking import seen
from distillkit.embedding.opened import opened
from distillkit.embedding.pictures import Named, called, folder_of, listed, texts_of
from distillkit.embedding.teacher import Teacher
from distillkit.embedding.writing import form_of, write_vectors
from distillkit.engine.append import append as _append
from distillkit.engine.redo import redo
from distillkit.engine.retry import retry
from distillkit.errors import DistillkitError, SourceError
from distillkit.extract import Instead, extract
from distillkit.recipe import ExtractRecipe
from distillkit.recipe.schema import validate
from distillkit.sources._places import printable
from distillkit.store.format.maker import Caller, called_by
from distillkit.store.format.manifest import FILE_NAME
from distillkit.store.reading.reader import FeatureStore
from distillkit.system import cpu
from distillkit.system.fitting import fitting
from distillkit.system.numbers import refuse_less
from distillkit.system.paths import expand
from distillkit.system.progress import Progress
from distillkit.system.turns import in_turn
from distillkit.system.wording import count

_INSTEAD: dict[str, Instead] = {"failed": retry, "changed": redo, "append": _append}
_OTHERS = "mend them, or name others"
_OPTIONS = {"failed": "--retry-failed", "changed": "--retry-changed", "append": "--append"}


@dataclass(frozen=True)
class Embedded:
    """Where vectors of `images` and `texts` were written, how many rows of each, and why pictures are `broken`, by key.

    `told`: the file that names the broken ones; None where there are none, or a store's ledger names them.
    """

    images: Path | None = None
    texts: Path | None = None
    rows: int = 0
    text_rows: int = 0
    broken: Mapping[str, str] = field(default_factory=dict)
    told: Path | None = None


@fitting("embed", "lower batch_size (--batch-size)", "device (--device) to cpu")
@cpu.settled()
def embed(
    who: str | Path | Embedder,
    images: str | Path | None = None,
    *,
    out: str | Path,
    texts: str | Path | None = None,
    normalise: bool = False,
    batch_size: int | None = None,
    threads: int | None = None,
    device: str = "auto",
    retry_failed: bool = False,
    retry_changed: bool = False,
    append: bool = False,
    overwrite: bool = False,
    say: Say = silent,
) -> Embedded:
    """Write a vector for each picture of `images`, and for each line of the file `texts`.

    `who`: a run, its best/, a store (then its teacher is asked), or what load_student gave. `images`: a folder, a
    picture, a .txt with a path a line, or "-" for such lines from stdin. `out` ends in .npy, in .parquet, or in
    nothing: then a store is made. Texts beside pictures go to NAME.texts.npy, or in a store to OUT/texts. Vectors are
    raw, or of length 1 (`normalise`). `batch_size`: pictures or texts at a time; if not given 128, in a store 256. A
    store that is there is the same whatever number it was made with. `threads` decode pictures.

    A store that is there is left as it is, and what is another since is told: pictures that failed are tried again
    (`retry_failed`), those whose files changed (`retry_changed`) and those that came (`append`) are done, or all of it
    is made anew (`overwrite`). Files of vectors always follow the folder.
    """
    refuse_less(1, batch_size=batch_size, threads=threads)
    place = Path(expand(str(out)))
    form = form_of(place)
    if images is None and texts is None:
        raise DistillkitError("embed: neither pictures nor texts; name a folder, a picture, or --texts FILE")
    again = _again({"failed": retry_failed, "changed": retry_changed, "append": append}, overwrite, place, form)
    if not form and normalise:
        raise DistillkitError(f"{place}: a store holds raw vectors; leave --normalise out, or write .npy or .parquet")
    folder = None if images is None else folder_of(str(images))
    lines = None if texts is None else texts_of(texts)
    embedder = opened(who, device)
    if not form:
        if images is not None and folder is None:
            raise DistillkitError(f"{place}: a store is made of a folder; of single pictures write .npy or .parquet")
        asked = (embedder.of if isinstance(embedder, Teacher) else embedder.name) if who is embedder else str(who)
        command = _command(asked, images, texts, out, device, batch_size)
        return _stores(embedder, folder, texts, place, command, again, overwrite, say, batch_size, threads)
    batch_size = batch_size or 128
    both = images is not None and lines is not None
    text_place = place.with_suffix(f".texts{form}") if both else place
    if lines is not None:  # before the hours that pictures may take
        vectors = embedder.embed_texts(lines, normalise=normalise, batch_size=batch_size, say=say).numpy()
        with in_turn(text_place):
            write_vectors(text_place, lines, vectors, "text")
    found = Embedded(texts=text_place if lines is not None else None, text_rows=len(lines or ()))
    if images is None:
        return found
    gallery = (
        _of_list(embedder, str(images), say, batch_size, threads)
        if folder is None
        else gallery_of(embedder, folder, say, batch_size=batch_size, threads=threads)
    )
    with in_turn(place):  # they belong together
        vectors = _scaled(gallery.vectors) if normalise else gallery.vectors
        told = write_vectors(place, gallery.keys, vectors, "key", gallery.broken)
    return Embedded(place, found.texts, len(gallery.keys), found.text_rows, gallery.broken, told)


def _of_list(embedder: Embedder, place: str, say: Say, batch_size: int, threads: int | None) -> Gallery:
    """Pictures that somebody named one by one, which is not kept."""
    pictures = listed(place)
    whole: list[Named] = []
    parts, broken, tower = [], dict[str, str](), embedder.image_tower
    with Progress(f"{called(place)}: pictures", len(pictures), say) as progress:
        for part in seen(tower, [one.path for one in pictures], batch_size=batch_size, threads=threads):
            whole += [pictures[at] for at in part.places]
            broken |= {pictures[at].key: told for at, told in part.broken.items()}
            parts += [part.vectors] if part.places else []
            progress.advance(len(part.places) + len(part.broken))
    if not parts:
        key, told = next(iter(broken.items()))
        raise SourceError(f"{place}: not one of {count(len(pictures), 'picture')} can be read, as of {key}: {told}")
    vectors = embedder.usable(torch.cat(parts)).numpy()
    return Gallery([one.key for one in whole], [one.path for one in whole], vectors, np.arange(len(whole)), broken)


def _scaled(vectors: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    return torch.nn.functional.normalize(torch.from_numpy(np.array(vectors))).numpy()


def _again(asked: Mapping[str, bool], overwrite: bool, place: Path, form: str) -> Instead | None:
    """What is done to a store that is there, in place of leaving it as it is."""
    options = [_OPTIONS[name] for name, wanted in asked.items() if wanted] + ["--overwrite"] * overwrite
    if form and options:
        raise DistillkitError(
            f"{place}: {options[0]} is for stores; leave it out: a file of vectors always follows its folder"
        )
    if len(options) > 1:
        raise DistillkitError(f"{place}: {' and '.join(options)} are done one after the other; leave one out")
    return next((_INSTEAD[name] for name, wanted in asked.items() if wanted), None)


def _command(
    who: str, images: str | Path | None, texts: str | Path | None, out: str | Path, device: str, batch_size: int | None
) -> str:
    """What is to be typed to embed the same again, which the store's log keeps."""
    words = ["distillkit", "embed", who, *([] if images is None else [str(images)]), "--out", str(out)]
    words += [] if texts is None else ["--texts", str(texts)]
    words += [] if batch_size is None else ["--batch-size", str(batch_size)]
    return shlex.join(words + ([] if device == "auto" else ["--device", device]))


def _stores(
    embedder: Embedder,
    folder: Path | None,
    texts: str | Path | None,
    place: Path,
    command: str,
    again: Instead | None,
    overwrite: bool,
    say: Say,
    batch_size: int | None,
    threads: int | None,
) -> Embedded:
    """A store of each, made as any teacher's is: killed, it goes on; what cannot be read is in its ledger."""
    if printable(command) != command:
        raise DistillkitError(
            f"{printable(command)}: not all of these names are UTF-8, as a store notes them; rename what is not, or "
            "write .npy or .parquet"
        )
    sources = {
        "image": None if folder is None else {"kind": "folder", "root": str(folder)},
        "text": None if texts is None else {"kind": "textlines", "file": str(texts)},
    }
    asked = {name: source for name, source in sources.items() if source is not None}
    made = {}
    for name, source in asked.items():
        at = place / f"{name}s" if len(asked) > 1 else place
        recipe = _recipe(embedder, name, source, at, place, batch_size, threads)
        instead = again if (at / FILE_NAME).is_file() else None
        words = Caller(command, f"{command} --append", "--overwrite", "name another --out", _OTHERS)
        with called_by(words):
            (made[name],) = extract(recipe, say, command, instead=instead, allow_smaller=overwrite, overwrite=overwrite)
    rows = {name: FeatureStore(path) for name, path in made.items()}
    images = rows.get("image")
    broken = {} if images is None else {one["key"]: one["error"] for one in images.failures()}
    if images is not None and broken and not len(images.ok_rows):
        key, told = next(iter(broken.items()))
        raise SourceError(
            f"{folder}: not one of {count(len(broken), 'picture')} can be read, as of {key}: {told}; mend them, then "
            "add --retry-failed"
        )
    return Embedded(
        images=made.get("image"),
        texts=made.get("text"),
        rows=0 if images is None else len(images.ok_rows),
        text_rows=len(rows["text"].ok_rows) if "text" in rows else 0,
        broken=broken,
    )


def _recipe(
    embedder: Embedder,
    name: str,
    source: Mapping[str, str],
    at: Path,
    place: Path,
    batch_size: int | None,
    threads: int | None,
) -> ExtractRecipe:
    """How the store at `at`, of what `source` has, is made. As many pictures may be broken as there are, as in a file
    of vectors: they are named.
    """
    batches = {} if batch_size is None else {"batch_size": batch_size}
    corpus = {"name": at.name, "source": source, "fields": [name], "max_failures": 1.0} | batches
    teacher = embedder.as_teacher(name).model_dump()
    content = {"name": at.name, "out": str(at.parent), "teacher": teacher, "corpora": [corpus]}
    return validate(ExtractRecipe, content | {"decode_threads": threads}, f"--out {place}")


make_callable(__name__)
