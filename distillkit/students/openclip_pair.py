"""Image and text tower of any open_clip model, or of a paper's own, with a learned logit scale; without weights unless
they are inherited.

https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from distillkit.students._configs import Config
from distillkit.students._inherit import inherit_from
from distillkit.students._openclip import TextInput, text_tower
from distillkit.students._scale import START, multiplier
from distillkit.students._text import TextStudent
from distillkit.students._weights import Teacher
from distillkit.students.openclip_image import OpenclipImage
from distillkit.types import Batch, Features


class OpenclipPair(OpenclipImage, TextStudent):
    """An OpenclipImage, its recipe included, with the text tower of the same model.

    `inherit`: the pair that the first weights of both towers are a part of: "NAME/TAG", "local-dir:FOLDER",
    "hf-hub:OWNER/NAME", "run:FOLDER", or { model = "NAME", weights = "FILE" }. Not given: random weights.
    """

    def _extend(self, config: Config) -> None:
        self.widths |= {"text": config["embed_dim"], "scale": 1}
        self.text = text_tower(config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.get("init_logit_scale", START))))
        self.text_input = TextInput.of(self.text, config)

    def _take_over(self, teacher: Teacher, name: str) -> None:
        super()._take_over(teacher, name)
        self.logit_scale.data.copy_(teacher.log_scale)
        inherit_from(teacher.text, self.text, name, all_positions=False)

    def forward(self, batch: Batch) -> Features:
        text = None if batch.tokens is None else self.embed_text(batch.tokens)
        return replace(super().forward(batch), text=text, scale=multiplier(self.logit_scale))
