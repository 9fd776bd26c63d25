"""The images behind a store, where its source has them."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from distillkit.errors import SourceError
from distillkit.pixels.resample import RESAMPLE
from distillkit.recipe import Component
from distillkit.registry import resolve
from distillkit.store.reader import FeatureStore


class Originals:
    """The images of a store, read from their source and decoded at every call. `root` is where they lie by now."""

    def __init__(self, store: FeatureStore, root: str | None, resample: str = "pillow"):
        self.store, self.root, self.resample = store, root, RESAMPLE[resample]
        if not hasattr(resolve("sources", store.manifest.source["kind"]), "read"):
            raise SourceError(f"{store.path}: its corpus has no images on disk; choose another store for data.images")
        self.names = store.index["image"]

    @cached_property
    def source(self) -> Any:
        """The source that the store was made of; opened late, because a pixel cache can do without it."""
        made_of = self.store.manifest.source
        root = self.root or made_of["root"]
        knobs = made_of["knobs"] | ({} if root is None else {"root": root})
        component = Component(kind=made_of["kind"], **knobs)
        component.check("sources", f"{self.store.path}: its source")
        return component.build("sources")

    def open(self, row: int) -> tuple[Any, int, int]:
        """An image, and the width and height it had when it was whole."""
        source, location = self.source, self.names[row].as_py()
        try:
            image = self.resample.decode(source.read(location))
        except SourceError as error:
            place = location if source.root is None else f"{source.root}/{location}"
            raise SourceError(f"{place}: could be read when its features were extracted, now: {error}") from error
        return image, *self.resample.size(image)
