"""The images behind a store, where its source has them."""

from __future__ import annotations

import inspect
import io
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from distillkit.errors import SourceError, unreadable_by_now
from distillkit.pixels.pillow import MAX_PIXELS, Header, header_of_file
from distillkit.pixels.resample import RESAMPLE
from distillkit.recipe import Component, Data
from distillkit.recipe.registry import resolve
from distillkit.store.bucket.remote import local
from distillkit.store.reading.reader import FeatureStore
from distillkit.system.paths import expand


def moved(data: Data) -> dict[Path, str]:
    """Where the images of stores lie by now, by the store's own place; of those that the recipe says were moved."""
    return by_place(data.moved)


def by_place(roots: Mapping[str, str]) -> dict[Path, str]:
    """The same of stores and folders as a recipe names them."""
    return {local(expand(store)).resolve(): expand(root) for store, root in roots.items()}


class Originals:
    """The images of a store, read from their source and decoded at every call. `root` is where they lie by now."""

    def __init__(self, store: FeatureStore, root: str | None, resample: str = "pillow"):
        self.store, self.root, self.resample = store, root, RESAMPLE[resample]
        if not hasattr(resolve("sources", store.manifest.source["kind"]), "read"):
            raise SourceError(f"{store.path}: its corpus has no images on disk; choose another store for data.images")
        self.names = store.index["image"]
        if "imported" in store.manifest.source and self.names.null_count == len(self.names):
            raise SourceError(
                f"{store.path}: was imported without the names of its images, so no student can look at them; choose a "
                "store with images for data.images, or import it with them"
            )

    @cached_property
    def source(self) -> Any:
        """The source that the store was made of; opened late, because a pixel cache can do without it."""
        made_of = self.store.manifest.source
        root = self.root or made_of["root"]
        if root is None and "imported" in made_of:
            raise SourceError(
                f"{self.store.path}: was imported without its images; where they lie, tell train-student in data.root"
            )
        takes_it = self.root is not None or ":" not in made_of["kind"] or _has_root(made_of["kind"])
        knobs = made_of["knobs"] | ({"root": root} if root is not None and takes_it else {})
        component = Component(kind=made_of["kind"], **knobs)
        component.check("sources", f"{self.store.path}: its source")
        try:
            return component.build("sources")
        except SourceError as error:
            reason, _, _ = str(error).partition(";")
            raise SourceError(
                f"{reason}; where the images of {self.store.path} are by now, tell train-student in data.root, or in "
                f'data.roots = {{ "STORE" = "FOLDER" }} for stores of evaluations'
            ) from error

    @property
    def max_pixels(self) -> int:
        """The most that an image may have: what its extraction allowed."""
        return int(self.store.manifest.source.get("max_pixels", MAX_PIXELS))

    def header(self, row: int) -> Header | None:
        """What the file of an image says of it, no pixel looked at; None where it cannot be read."""
        location = self.names[row].as_py()
        try:
            image = None if location is None else self.source.read(location)
        except SourceError:
            return None
        return None if image is None else header_of_file(io.BytesIO(image) if isinstance(image, bytes) else image)

    def open(self, row: int) -> tuple[Any, int, int]:
        """An image, and the width and height it had when it was whole."""
        source, location = self.source, self.names[row].as_py()
        try:
            image = self.resample.decode(source.read(location), max_pixels=self.max_pixels)
        except SourceError as error:
            place = location if source.root is None else f"{source.root}/{location}"
            raise unreadable_by_now(place, error) from error
        return image, *self.resample.size(image)


def _has_root(kind: str) -> bool:
    """Whether a source of one's own has its root as a knob, too; one that has not knows it by itself."""
    return "root" in inspect.signature(resolve("sources", kind)).parameters
