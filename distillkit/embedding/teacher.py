"""A teacher at work again, as a store or a run remembers it: the very same weights, or it is refused."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import torch

from distillkit.embedding.embedder import Embedder, ImageTower, TextTower
from distillkit.errors import DistillkitError, TeacherError
from distillkit.pixels import decode
from distillkit.recipe import Component
from distillkit.recipe.registry import resolve
from distillkit.store.format.sameness import other_teacher
from distillkit.system.record import digest
from distillkit.teachers._again import component_of
from distillkit.teachers._said import fingerprint_of, said_of


class Teacher(Embedder):
    """`record`: its fingerprint. `of`: whose teacher it is, for errors.

    It is loaded when it is first asked; TeacherError where it is not at hand, or is another one by now.
    """

    def __init__(self, record: Mapping[str, Any], of: str, device: str = "auto"):
        self.record, self.of, self._asked_device = record, of, device
        self.name = f"{of}: its teacher {record.get('model', 'of an import')}"

    def identity(self, field: str) -> str:
        return digest({"teacher": dict(self.record), "field": field})

    @cached_property
    def network(self) -> Any:
        """The network of the teachers' room, with the weights that the record tells."""
        try:
            network = self._component.build("teachers")
        except DistillkitError as error:
            raise TeacherError(f"{self.of}: its teacher cannot be loaded: {error}") from error
        told = other_teacher(self.record, fingerprint_of(network, self._component.kind))
        if told:
            raise TeacherError(f"{self.name} is now another one ({told}); bring back the one that made its features")
        return network

    def as_teacher(self, field: str) -> Component:
        known = self.record.get("weights_sha256")
        knobs = self._component.knobs | ({"sha256": known} if known else {})
        return Component(kind=self._component.kind, **knobs)

    def other_space(self, record: Mapping[str, Any]) -> str | None:
        return other_teacher(record, self.record)

    @property
    def _component(self) -> Component:
        try:
            component = component_of(self.record, self._asked_device)
        except DistillkitError as error:
            raise TeacherError(f"{self.of}: its teacher cannot be loaded: {error}") from error
        if component is None:
            raise TeacherError(f"{self.name} cannot be run: its features were imported, and no network came with them")
        return component

    @property
    def image_tower(self) -> ImageTower:
        if "image" not in self.network.fields:
            raise TeacherError(f"{self.name} gives no image embeddings; name a run or store whose teacher does")
        look: Any = self.network.preprocess
        return ImageTower(getattr(look, "decode", decode), look, self._images)

    def _images(self, pixels: torch.Tensor) -> torch.Tensor:
        said = self.network.forward(pixels=pixels, fields=["image"])
        return said_of(self.network, said, "image", len(pixels), self.name)

    @property
    def text_tower(self) -> TextTower:
        # Known of the kind, before a weight is loaded.
        if not hasattr(resolve("teachers", self._component.kind), "tokenize") or "text" not in self.network.fields:
            raise TeacherError(f"{self.name} gives no text embeddings; ask by a picture")
        return TextTower(self._texts)

    def _texts(self, texts: list[str]) -> torch.Tensor:
        tokens, lengths = self.network.tokenize(texts)
        said = self.network.forward(tokens=tokens[:, : int(lengths.max())], fields=["text"])
        return said_of(self.network, said, "text", len(texts), self.name)
