"""Which images of a store have a class, and which: the one place where labels are read, for measures and training.

A label below 0, and none at all, is no class. Numbers of classes are names, not places of a list: they may begin
anywhere, have holes and be as large as an int64, and only the classes that exist take memory.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Int64

from distillkit.errors import RecipeError, StoreError
from distillkit.system.one_image import first_of_each, images_of
from distillkit.system.paths import expand
from distillkit.system.wording import count as counted

SHARED = "also in train"  # what the number of images is called that are no example for themselves
UNSHOWN = "of classes without an example"  # and of those whose class nothing that is learned from is of
MATCHED = "classes matched by name"  # and of classes that got another number than their store has for them
_LARGEST = np.iinfo(np.int64).max
_SHOWN = 3


@dataclass(frozen=True)
class Labels:
    """`places`: the images with a class, among the usable rows of the store at `path`; `ids`: their classes' numbers.

    `usable`: how many usable rows there are, with a class or without; `first`: the class that label 0 is taken for.

    `names`: by name, the numbers of the store's classes, where it knows names and its labels count. `matched`: how many
    classes were put under another number, by their names. `shared`: how many images
    are among those to learn from, too. `bare`: those of `places` of whose class nothing is learned from.
    """

    path: Path
    places: Int64[np.ndarray, "m"]
    ids: Int64[np.ndarray, "m"]
    usable: int
    first: int = 0
    names: Mapping[str, int] = field(default_factory=dict)
    matched: int = 0
    shared: int = 0
    bare: Int64[np.ndarray, "b"] = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def unlabelled(self) -> int:
        return self.usable - len(self.places)

    @property
    def noted(self) -> dict[str, float]:
        """For the numbers of a measure: how many images it left out, how many were left out where it learned or voted,
        how many nobody could learn the class of, and classes it matched by name, where it did.
        """
        told = {"unlabelled": self.unlabelled, MATCHED: self.matched, SHARED: self.shared}
        told |= {UNSHOWN: len(self.bare)}
        return {name: float(number) for name, number in told.items() if number}

    def called(self, numbers: Sequence[int]) -> str:
        """The first of these classes, each by its number, and by its name where the store knows it."""
        names: dict[int, str] = {}
        for name, number in self.names.items():
            names.setdefault(number, name)
        told = [f"{one}, {names[one]!r}" if one in names else f"{one}" for one in numbers[:_SHOWN]]
        return first_of(told, len(numbers), " and " if names else ", ")

    def but(self, places: Int64[np.ndarray, "s"]) -> Labels:
        """Without these images."""
        kept = ~np.isin(self.places, places)
        return replace(self, places=self.places[kept], ids=self.ids[kept], usable=self.usable - int((~kept).sum()))


def quoted(names: Sequence[str]) -> str:
    """The first of classes that have names and no numbers."""
    return first_of([repr(name) for name in names[:_SHOWN]], len(names), ", ")


def numbered(numbers: Sequence[int]) -> str:
    """The first of classes that have numbers and no names."""
    return first_of([str(one) for one in numbers[:_SHOWN]], len(numbers), ", ")


def first_of(told: Sequence[str], count: int, between: str) -> str:
    """What is told of the first of so many, and how many more there are."""
    return between.join(told) + (f" and {count - len(told):,} more" if count > len(told) else "")


def labels_of(store: Any, names: str | None = None, first: int = 0) -> Labels:
    """The class of every usable row: its label, counted from `first` on, or its caption's line in the file `names`.

    StoreError where no row has a class, or a caption is no class; RecipeError for what is no file of class names.
    """
    own = np.asarray(pc.fill_null(store.index["label"].take(store.ok_rows), -1).to_numpy(), np.int64)
    ids = own if names is None else _lines_of(store.path, store.index["text"].take(store.ok_rows), names)
    places = np.flatnonzero(ids >= 0)
    found = Labels(store.path, places, ids[places], len(ids))
    if not len(places):
        wanted = (
            "extract it with its labels (source.label_column, label_field, label; a folder's classes = true), or name "
            "the file of class names that its captions are (classes, data.class_names)"
        )
        if names is not None:
            cure = "extract it with labels (a folder's classes = true), or captions"
            wanted = f"it has no captions that {names} could name; {f'leave {names} out' if (own >= 0).any() else cure}"
        raise StoreError(f"{store.path}: none of its {counted(len(ids), 'image')} has a class; {wanted}")
    if first and (int(found.ids.max()) > _LARGEST - max(first, 0) or int(found.ids.min()) + first < 0):
        low, high = int(found.ids.min()), int(found.ids.max())
        raise StoreError(
            f"{store.path}: its classes are {low} to {high}: they cannot begin at first_class = {first}; correct it"
        )
    named: dict[str, int] = getattr(store, "class_numbers", {}) if names is None else {}
    known = {unicodedata.normalize("NFC", name): number + first for name, number in named.items()}
    return replace(found, ids=found.ids + first, first=first, names=known)


def labels_of_images(store: Any, names: str | None = None, first: int = 0) -> Labels:
    """The same for measures, where rows of one image are one image: the first of them that has a class counts.

    Every caption of an image may be a row. Other rows of the same image would vote for it, and count as more images.
    """
    found = labels_of(store, names, first)
    places = found.places[first_of_each(store, store.ok_rows[found.places])]
    if len(places) == len(found.places) and not found.unlabelled:
        return found
    usable = len(first_of_each(store, store.ok_rows))
    there = np.isin(found.places, places)
    return replace(found, places=places, ids=found.ids[there], usable=usable)


def images_with(store: Any, places: Int64[np.ndarray, "s"]) -> Int64[np.ndarray, "m"]:
    """Every place among the usable rows that is of the same image as one of these."""
    image = images_of(store, store.ok_rows)
    return np.flatnonzero(np.isin(image, image[places]))


def _lines_of(path: Path, captions: pa.ChunkedArray, names: str) -> Int64[np.ndarray, "n"]:
    """The line of each caption in a file of class names, from 0; of a name on several lines the first. -1: none."""
    said = as_names(captions)
    listed = as_names(pa.chunked_array([pa.array(read_names(names), pa.string())]))
    unique = pc.unique(listed)
    first = np.full(len(unique), -1, np.int64)
    of_line = pc.index_in(listed, value_set=unique).to_numpy()
    first[of_line[::-1]] = np.arange(len(of_line))[::-1]
    found = pc.index_in(said, value_set=unique, skip_nulls=True)
    lost = pc.and_(pc.is_valid(said), pc.is_null(found))
    count = pc.sum(lost).as_py() or 0
    if count:
        such = pc.filter(captions, lost)[0].as_py()
        raise StoreError(
            f"{path}: {count:,} of {counted(len(said), 'caption')} are no class of {names}, such as {such!r:.60}; "
            "add their lines, or leave the file out where the images have labels"
        )
    places = pc.fill_null(found, -1).to_numpy()
    return np.where(places < 0, -1, first[places])


def as_names(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts as they are compared: in one Unicode form (NFC), without blanks around them. An empty text is none."""
    names = pc.utf8_trim_whitespace(pc.utf8_normalize(texts, form="NFC"))
    return pc.if_else(pc.equal(names, ""), None, names)


def codes_of(texts: pa.ChunkedArray) -> Int64[np.ndarray, "n"]:
    """A number for each text, equal for equal ones, in the order in which they come; -1 for none."""
    encoded = pc.dictionary_encode(texts).chunks
    return np.concatenate([pc.fill_null(one.indices, -1).to_numpy() for one in encoded] or [[]]).astype(np.int64)


def files_of_names(classes: str | None) -> dict[str, list[Path]]:
    """The file of class names behind a measure's knob `classes`, if it names one: answers hang on its lines."""
    return {} if classes is None else {"classes": [Path(expand(classes))]}


def read_names(file: str) -> list[str]:
    """The lines of a file of class names. Only a line feed ends one, as in the source class_prompts."""
    try:
        return Path(expand(file)).read_bytes().decode("utf-8-sig").removesuffix("\n").split("\n")
    except OSError as error:
        raise RecipeError(f"{file}: cannot be read ({error.strerror}); name a file with a class name a line") from error
    except UnicodeDecodeError as error:
        raise RecipeError(f"{file}: not UTF-8 ({error.reason}); convert the file of class names") from error
