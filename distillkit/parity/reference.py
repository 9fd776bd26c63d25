"""The student itself, as evaluation asks it: what an export is held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image

from distillkit.parity.questions import Tell
from distillkit.pixels import centre_view, render
from distillkit.teachers._frozen import quiet
from distillkit.teachers._hub import expanded, hub
from distillkit.teachers._openclip_network import load, tokenizer

_BATCH = 32


def teacher_says(fingerprint: dict[str, Any]) -> Tell:
    """What an open_clip teacher says of texts, by its own tokenizer and its whole model."""
    name = expanded(str(fingerprint["model"]))
    with quiet(), hub():
        teacher, tokens = load(name).eval(), tokenizer(name, fingerprint.get("context_length"))

    @torch.inference_mode()
    def tell(texts: list[str]) -> Float[np.ndarray, "t d"]:
        parts = [texts[first : first + _BATCH] for first in range(0, len(texts), _BATCH)]
        return np.concatenate([teacher.encode_text(tokens(part)).float().numpy() for part in parts])

    return tell


class Reference:
    """`texts`: who speaks for the texts of a student without a text tower; None: nobody does."""

    def __init__(self, student: Any, texts: Tell | None = None):
        self._student, self._texts = student.eval(), texts

    @property
    def sees(self) -> bool:
        """Whether it has an image tower."""
        return "image" in self._student.widths

    @property
    def tells(self) -> Tell | None:
        """Who speaks for its texts; None: nobody, so what the teacher said is taken from stores."""
        return self.texts if self._texts is not None or hasattr(self._student, "embed_text") else None

    @torch.inference_mode()
    def images(self, pictures: Sequence[Image.Image]) -> Float[np.ndarray, "n d"]:
        said = []
        for first in range(0, len(pictures), _BATCH):
            part = [pictures[place] for place in range(first, min(first + _BATCH, len(pictures)))]
            views = [render(one, centre_view(*one.size), self._student.image_size) for one in part]
            said.append(self._student.embed(torch.from_numpy(np.stack(views))).float().numpy())
        return np.concatenate(said)

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Float[np.ndarray, "t d"]:
        if self._texts is not None:
            return self._texts(texts)
        parts = [texts[first : first + _BATCH] for first in range(0, len(texts), _BATCH)]
        said = [self._student.embed_text(self._student.tokenize(part)).float().numpy() for part in parts]
        return np.concatenate(said)
