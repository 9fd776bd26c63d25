"""A finished student as the teacher of the next one: teaching assistants, proxies, self-distillation.

Who it is, is its weights and how it looks at pictures: a run that is trained anew is another teacher.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from distillkit.errors import TeacherError
from distillkit.pixels import centre_view
from distillkit.system.device import brought, device_of
from distillkit.system.paths import expand
from distillkit.teachers._frozen import Precision, activation, autocast, freeze, precision_of, refuse_other_weights
from distillkit.teachers._openclip_network import quick_gelu
from distillkit.teachers._outline import Outline, or_none, outlining
from distillkit.teachers._preprocess import Preprocess
from distillkit.teachers._students import student_of, student_without_weights
from distillkit.types import Batch, Features

_TOKENS = ("cls", "patches")


class Run:
    """`run`: the folder of a finished run, its best/, or the folder of its export to open_clip or timm in fp32.

    `precision`: the number format that it computes in; fp32 is what an evaluation of the run uses. Features are
    float32.

    It gives `image` and `text`, where the student has these towers, and `cls` and `patches` where it gives tokens.
    """

    def __init__(self, *, run: str, precision: Precision = "fp32", device: str = "auto", sha256: str | None = None):
        self.written, self.device = run, device_of(device, "teacher.device", TeacherError)
        self.precision = precision_of(precision, self.device)
        self.kind, self.model = student_of(Path(expand(run)))
        self._sha256 = freeze(self.model, self.device)
        if sha256:
            refuse_other_weights(run, self._sha256, sha256)
        scale = getattr(self.model, "logit_scale", None)
        self.scale = None if scale is None else float(scale.detach().exp())
        if self.model.image_size is not None:
            self.preprocess = _preprocess(self.model.image_size)

    @staticmethod
    @or_none
    def outline(*, run: str, precision: Precision = "fp32", device: str = "auto", **knobs: Any) -> Outline:
        """What it gives, from its run's recipe; TeacherError for a run that is not there or not finished."""
        precision_of(precision, device_of(device, "teacher.device", TeacherError))
        with outlining(""):
            student = student_without_weights(Path(expand(run)))
            preprocess = None if student.image_size is None else _preprocess(student.image_size)
            return Outline(_fields(student), preprocess)

    @property
    def fields(self) -> dict[str, list[int]]:
        """What this teacher can say, and the shape of one row of it."""
        return _fields(self.model)

    def tokenize(self, texts: list[str]) -> tuple[Int[Tensor, "t l"], Int[Tensor, "t"]]:
        """Tokens, and how many of each row matter: all, as the student pads them to what it reads."""
        tokens = self.model.tokenize(texts)
        return tokens, torch.full((len(texts),), tokens.shape[1])

    @torch.inference_mode()
    def forward(
        self,
        pixels: UInt8[Tensor, "b 3 h w"] | None = None,
        tokens: Int[Tensor, "t l"] | None = None,
        fields: Collection[str] | None = None,
        stay: bool = False,
    ) -> Features:
        """Raw features, float32 on the CPU (`stay`: where the student is): those of `fields` that the inputs give."""
        asked = set(self.fields if fields is None else fields)
        said: dict[str, Tensor] = {}
        with autocast(self.device, self.precision):
            if pixels is not None:
                shown = pixels.to(self.device, non_blocking=True)
                if asked & set(_TOKENS):
                    seen = self.model(Batch(pixels=shown))
                    said |= {name: getattr(seen, name) for name in ("image", *_TOKENS) if name in asked}
                elif "image" in asked:
                    said["image"] = self.model.embed(shown)
            if tokens is not None and "text" in asked:
                said["text"] = self.model.embed_text(tokens.to(self.device, non_blocking=True))
        scale = None if self.scale is None else torch.tensor(self.scale)
        told = {name: value.float() for name, value in said.items()}
        return Features(**(told if stay else brought(told)), scale=scale)

    def fingerprint(self) -> dict[str, Any]:
        """Everything the features depend on. Two stores belong together when these are equal."""
        counted = sum(value.numel() for value in self.model.parameters())
        return {
            "kind": "run",
            "model": self.written,
            "student": self.kind,
            "weights_sha256": self._sha256,
            "tensors": len(self.model.state_dict()),
            "parameters": {"all": counted},
            "preprocess": {"size": self.model.image_size, "interpolation": "bicubic", "shows": "middle square"},
            "activation": "quick_gelu" if quick_gelu(self.model) else activation(self.model),
            "precision": self.precision,
        } | ({} if self.scale is None else {"logit_scale": self.scale})


def _fields(student: Any) -> dict[str, list[int]]:
    widths = student.widths
    fields = {name: [widths[name]] for name in ("image", "text") if name in widths}
    if not getattr(student, "patches", 0) or "patches" not in widths:
        return fields
    return fields | {"cls": [widths["cls"]], "patches": [student.patches, widths["patches"]]}


def _preprocess(side: int) -> Preprocess:
    return Preprocess((_Middle(side),), (side, side), "bicubic", "centre")


@dataclass(frozen=True)
class _Middle:
    """A picture as evaluations show it: its middle square, to a fraction of a pixel."""

    side: int

    def __call__(self, image: Image.Image) -> Image.Image:
        width, height = image.size
        left, top, right, bottom = centre_view(width, height).box
        box = (left * width, top * height, right * width, bottom * height)
        return image.resize((self.side, self.side), Image.Resampling.BICUBIC, box=box)
