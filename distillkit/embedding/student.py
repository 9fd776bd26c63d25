"""A finished student at work: what it embeds itself, and what it keeps of its teacher's.

student = load_student("runs/mine")         # or runs/mine/best
student.embed_images(["a.jpg", "b.jpg"])    # Tensor [2, d]
student.embed_texts(["a red bicycle"])      # by its own text tower, or the teacher's, where it learned from that
student.module                              # the network itself: an ordinary torch module
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distillkit.embedding.embedder import Embedder, ImageTower, TextTower
from distillkit.embedding.teacher import Teacher
from distillkit.pixels import centre_view, decode, render
from distillkit.recipe import Component
from distillkit.runfolder import RunFolder
from distillkit.store.format.manifest import file_digest
from distillkit.system.device import device_of
from distillkit.system.paths import here
from distillkit.system.record import digest
from distillkit.teachers._frozen import weights_sha256


def load_student(run: str | Path, *, device: str = "auto") -> Student:
    """The student of the finished run at `run`, or of its best/, on `device`: "auto" is the GPU where there is one."""
    student = Student(RunFolder(here(run)), device)
    _ = student.module
    return student


class Student(Embedder):
    """`run`: the folder that it comes from. Weights are loaded when they are first needed."""

    def __init__(self, run: RunFolder, device: str = "auto"):
        self.run, self.recipe, self.device = run, run.recipe(), device_of(device)
        self.name = str(run.path)

    @cached_property
    def module(self) -> Any:
        """The network, in evaluation mode: `embed(pixels)` of uint8 pixels, `embed_text(tokens)` where it has texts."""
        return self.run.load_student().to(self.device)

    @cached_property
    def _outline(self) -> Any:
        """The same without numbers: what it is, at no cost."""
        with torch.device("meta"):
            return self.recipe.student.build("students")

    @property
    def image_size(self) -> int | None:
        """Pixels of a side; None where it sees no images."""
        return self._outline.image_size

    def _own(self, field: str) -> bool:
        return "image" in self._outline.widths if field == "image" else hasattr(self._outline, "embed_text")

    @cached_property
    def teacher(self) -> Teacher:
        """Who says what the student does not: texts of a student of images, images of a student of texts."""
        return Teacher(self.run.facts()["teacher"], self.name, str(self.device))

    @cached_property
    def _weights(self) -> str:
        return file_digest(self.run.path / "student.safetensors").sha256

    def identity(self, field: str) -> str:
        if not self._own(field):
            return self.teacher.identity(field)
        return digest(
            {"weights": self._weights, "student": self.recipe.student.model_dump(mode="json"), "field": field}
        )

    def who_says(self, field: str) -> str:
        return self.name if self._own(field) else self.teacher.name

    def as_teacher(self, field: str) -> Component:
        if not self._own(field):
            return self.teacher.as_teacher(field)
        return Component(kind="run", run=str(self.run.path), device=str(self.device))

    def other_space(self, record: Mapping[str, Any]) -> str | None:
        own = record.get("kind") == "run" and record.get("weights_sha256") == weights_sha256(self.module)
        return None if own else self.teacher.other_space(record)

    @property
    def image_tower(self) -> ImageTower:
        if not self._own("image"):
            return self.teacher.image_tower
        size = self.module.image_size

        def look(image: Any) -> UInt8[Tensor, "3 h w"]:
            return torch.from_numpy(render(image, centre_view(*image.size), size))

        return ImageTower(decode, look, self.embed)

    @torch.no_grad()
    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Pixels of `image_size` to raw vectors, float32 on the CPU."""
        return self.module.embed(pixels.to(self.device, non_blocking=True)).float().cpu()

    @property
    def text_tower(self) -> TextTower:
        return TextTower(self._texts) if self._own("text") else self.teacher.text_tower

    @torch.no_grad()
    def _texts(self, texts: list[str]) -> Float[Tensor, "t d"]:
        return self.module.embed_text(self.module.tokenize(texts).to(self.device)).float().cpu()
