"""Any timm network as an image student, with a linear projection to the teacher's joint width.

https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import timm
from jaxtyping import Float
from torch import Tensor, nn

from distillkit.recipe.schema import Part, Side, Width
from distillkit.recipe.weights import Inherit, inherited
from distillkit.students._configs import timm_model
from distillkit.students._image import ImageStudent
from distillkit.students._inherit import inherit_from
from distillkit.students._look import Look, look_timm
from distillkit.students._timm import create_trunk
from distillkit.students._weights import continued, timm_teacher
from distillkit.types import Features


class TimmImage(ImageStudent):
    """`model`: a name that timm has, or a paper's student. `image_size`: side of the square images that it sees, in
    pixels.

    `embed_dim`: width of the joint space, to which the network's features are projected; not given: no projection.
    `projection_bias`: whether the projection to the joint space has a bias. `classes`: the number of classes of a
    linear classifier that the student has, too; not given: no classifier. `drop`: the dropout probability before the
    projection to the joint space. `drop_path`: timm's drop_path_rate, the probability that a block is skipped.
    `layer_scale`: timm's init_values, where the factors of a block's branches start. `options`: more arguments of
    timm's constructor, such as {depth = 6}. `inherit`: the network that the first weights are a part of: timm's "NAME"
    or "NAME.TAG", { model = "NAME", weights = "FILE" }, or "run:FOLDER". A run of the same student is taken over whole,
    for fine-tuning. Not given: random weights.

    Pixels are normalised here, with timm's mean and std for that network, or those of what it inherits from.
    """

    def __init__(
        self,
        *,
        model: str,
        image_size: Side,
        embed_dim: Width | None = None,
        projection_bias: bool = False,
        classes: int | None = None,
        tokens: bool = False,
        drop_patches: Part = 0.0,
        drop: Part = 0.0,
        drop_path: Part | None = None,
        layer_scale: float | None = None,
        options: dict[str, Any] | None = None,
        inherit: Inherit | None = None,
    ):
        super().__init__()
        name, own = timm_model(model)
        asked = {"drop_path_rate": drop_path, "init_values": layer_scale, **(options or {})}
        wanted = own | {key: value for key, value in asked.items() if value is not None}
        self.image_size, self.inherit = image_size, inherited(inherit)
        self.trunk = create_trunk(name, image_size, wanted)
        features: int = getattr(self.trunk, "head_hidden_size", None) or self.trunk.num_features
        self.drop = nn.Dropout(drop)
        self.projection = nn.Linear(features, embed_dim, bias=projection_bias) if embed_dim else nn.Identity()
        self.classifier = nn.Linear(features, classes) if classes else None
        self.widths = {"image": embed_dim or features} | ({"logits": classes} if classes else {})
        config = timm.get_pretrained_cfg(name)
        mean, std = (config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)
        self._prepare(self.trunk, model, mean=mean, std=std, tokens=tokens, drop_patches=drop_patches)

    def begin(self) -> None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none."""
        if self.inherit is not None and not continued(self, self.inherit):
            teacher = timm_teacher(self.inherit, self.image_size)
            self.normalise.load_state_dict(teacher.normalise.state_dict())
            inherit_from(teacher.trunk, self.trunk, self.inherit)

    def _look(self, x: Float[Tensor, "b 3 h w"]) -> Look:
        return look_timm(self.trunk, lambda pooled: self.projection(self.drop(pooled)), x)

    def _features(self, seen: Look) -> Features:
        features = super()._features(seen)
        return features if self.classifier is None else replace(features, logits=self.classifier(self.drop(seen.cls)))
