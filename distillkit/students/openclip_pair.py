"""Image and text tower of any open_clip model, or of a paper's own, with a learned logit scale; without weights unless
they are inherited.

https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.students._image import ImageStudent
from distillkit.students._inherit import inherit_from
from distillkit.students._look import Look, look
from distillkit.students._openclip import (
    TextInput,
    configure,
    image_tower,
    mean_and_std,
    size_of,
    text_tower,
)
from distillkit.students._scale import START, multiplier
from distillkit.students._text import TextStudent
from distillkit.students._weights import openclip_teacher
from distillkit.types import Batch, Features


class OpenclipPair(ImageStudent, TextStudent):
    """`model`: a name of open_clip's or of a paper's pair, or a table like open_clip's model_configs.

    `embed_dim` and `image_size` replace the configuration's own. `tokens` and `drop_patches`: see ImageStudent.
    `inherit`: both towers start as parts of "NAME/TAG", "local-dir:FOLDER", "hf-hub:OWNER/NAME", or "run:FOLDER".
    """

    def __init__(
        self,
        *,
        model: str | dict[str, Any],
        embed_dim: int | None = None,
        image_size: int | None = None,
        tokens: bool = False,
        drop_patches: float = 0.0,
        inherit: str | None = None,
    ):
        super().__init__()
        config = configure(model, embed_dim=embed_dim, image_size=image_size)
        self.inherit, self.image_size = inherit, size_of(config)
        self.widths = {"image": config["embed_dim"], "text": config["embed_dim"], "scale": 1}
        self.visual, self.text = image_tower(config), text_tower(config)
        self.logit_scale = nn.Parameter(torch.tensor(float(config.get("init_logit_scale", START))))
        self.text_input = TextInput.of(self.text, config)
        mean, std = mean_and_std(model)
        self._prepare(self.visual, model, mean=mean, std=std, tokens=tokens, drop_patches=drop_patches)

    def begin(self) -> None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none."""
        if self.inherit is not None:
            teacher = openclip_teacher(self.inherit)
            self.normalise.load_state_dict(teacher.normalise.state_dict())
            self.logit_scale.data.copy_(teacher.log_scale)
            inherit_from(teacher.visual, self.visual, self.inherit)
            inherit_from(teacher.text, self.text, self.inherit, all_positions=False)

    def forward(self, batch: Batch) -> Features:
        text = None if batch.tokens is None else self.embed_text(batch.tokens)
        return replace(super().forward(batch), text=text, scale=multiplier(self.logit_scale))

    def _look(self, x: Float[Tensor, "b 3 h w"]) -> Look:
        return look(self.visual, x)
