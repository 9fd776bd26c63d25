"""The image tower of any open_clip model, or of a paper's own, without weights unless it inherits.

https://github.com/mlfoundations/open_clip
"""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor

from distillkit.recipe.schema import Part, Side, Width
from distillkit.recipe.weights import Inherit, inherited
from distillkit.students._configs import Config
from distillkit.students._image import ImageStudent
from distillkit.students._inherit import inherit_from
from distillkit.students._look import Look, look
from distillkit.students._openclip import configure, image_tower, mean_and_std, size_of
from distillkit.students._weights import Teacher, openclip_teacher


class OpenclipImage(ImageStudent):
    """An image tower. A model's name with "-quickgelu" behind it has the activation of OpenAI's weights.

    `inherit`: the network that the first weights are a part of: "NAME/TAG", "local-dir:FOLDER", "hf-hub:OWNER/NAME",
    "run:FOLDER", or { model = "NAME", weights = "FILE" }. Not given: random weights.
    """

    def __init__(
        self,
        *,
        model: str | dict[str, Any],
        embed_dim: Width | None = None,
        image_size: Side | None = None,
        tokens: bool = False,
        drop_patches: Part = 0.0,
        inherit: Inherit | None = None,
    ):
        super().__init__()
        config = configure(model, embed_dim=embed_dim, image_size=image_size)
        self.inherit, self.image_size = inherited(inherit), size_of(config)
        self.widths = {"image": config["embed_dim"]}
        self.visual = image_tower(config)
        self._extend(config)
        mean, std = mean_and_std(model)
        self._prepare(self.visual, model, mean=mean, std=std, tokens=tokens, drop_patches=drop_patches)

    def _extend(self, config: Config) -> None:
        """What a student has beside its image tower; see openclip_pair.py."""

    def begin(self) -> None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none."""
        if self.inherit is not None:
            self._take_over(openclip_teacher(self.inherit), self.inherit)

    def _take_over(self, teacher: Teacher, name: str) -> None:
        self.normalise.load_state_dict(teacher.normalise.state_dict())
        inherit_from(teacher.visual, self.visual, name)

    def _look(self, x: Float[Tensor, "b 3 h w"]) -> Look:
        return look(self.visual, x)
