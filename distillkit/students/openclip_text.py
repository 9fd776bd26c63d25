"""The text tower of any open_clip model alone: distilled from text embeddings, beside an image tower that is there.

https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from typing import Any

from distillkit.students._inherit import inherit_from
from distillkit.students._openclip import TextInput, configure, text_tower
from distillkit.students._text import TextStudent
from distillkit.students._weights import openclip_teacher
from distillkit.types import Batch, Features


class OpenclipText(TextStudent):
    """A text tower, which sees no images and has no image size.

    `inherit`: the text tower that the first weights are a part of: "NAME/TAG", "local-dir:FOLDER", "hf-hub:OWNER/NAME"
    or "run:FOLDER". Not given: random weights.
    """

    image_size = None

    def __init__(self, *, model: str | dict[str, Any], embed_dim: int | None = None, inherit: str | None = None):
        super().__init__()
        config = configure(model, embed_dim=embed_dim)
        self.inherit = inherit
        self.widths = {"text": config["embed_dim"]}
        self.text = text_tower(config)
        self.text_input = TextInput.of(self.text, config)

    def begin(self) -> None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none."""
        if self.inherit is not None:
            inherit_from(openclip_teacher(self.inherit).text, self.text, self.inherit, all_positions=False)

    def forward(self, batch: Batch) -> Features:
        return Features(text=None if batch.tokens is None else self.embed_text(batch.tokens))
