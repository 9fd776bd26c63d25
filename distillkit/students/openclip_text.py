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
    """`model`: a name of open_clip's or of a paper's pair, or a table like open_clip's model_configs.

    `embed_dim` replaces the configuration's own. `inherit`: start as a part of the text tower of "NAME/TAG",
    "local-dir:FOLDER" or "hf-hub:OWNER/NAME", or of "run:FOLDER". There is no image size, as it sees no images.
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
