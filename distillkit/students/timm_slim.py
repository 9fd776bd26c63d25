"""Automatic inheritance for timm's vision transformers: openclip_slim.py without texts, and with a projection.

    masks = true    a copy of the teacher, or of what an earlier stage left, learns masks beside its weights; its
                    `sparsity` belongs to the loss `sparsity`
    masks = false   what the masks of `inherit = "run:FOLDER"` left, as a really smaller network, is trained on

https://arxiv.org/abs/2309.12314
"""

from __future__ import annotations

from typing import Any

import timm
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.recipe.schema import Side, Width
from distillkit.recipe.weights import Inherit, inherited
from distillkit.students._configs import timm_model
from distillkit.students._count import count, smaller
from distillkit.students._inherit import refuse_other_activation
from distillkit.students._masks import Masks, share_gone
from distillkit.students._pixels import Normalise
from distillkit.students._slim_blocks import take_sizes
from distillkit.students._slim_timm import encode, fuse, refuse_other_trunks, sizes
from distillkit.students._timm import create_trunk
from distillkit.students._weights import earlier_student, timm_teacher
from distillkit.types import Batch, Features


class TimmSlim(nn.Module):
    """`model`: the whole network of the first stage, by its name in timm. Sparsity is the share of its parameters that
    masks have removed. `image_size`: side of the square images that it sees, in pixels. `embed_dim`: width of the joint
    space. `options`: more arguments of timm's constructor, such as {depth = 6}.

    `inherit`: timm's "NAME" or "NAME.TAG", "NAME/path/to/checkpoint", or "run:FOLDER", an earlier stage. Layers have
    the sizes of the weights that are loaded.
    """

    def __init__(
        self,
        *,
        model: str,
        image_size: Side,
        embed_dim: Width,
        masks: bool,
        options: dict[str, Any] | None = None,
        inherit: Inherit | None = None,
    ):
        super().__init__()
        name, own = timm_model(model)
        self.inherit, self.image_size = inherited(inherit), image_size
        self.trunk = create_trunk(name, image_size, own | (options or {}))
        refuse_other_trunks(self.trunk, model)
        self.projection = nn.Linear(self.trunk.num_features, embed_dim, bias=False)
        config = timm.get_pretrained_cfg(name)
        self.normalise = Normalise(*((config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)))
        self.image_masks = Masks(*sizes(self.trunk)) if masks else None
        self.widths = {"image": embed_dim} | ({"sparsity": 1} if masks else {})
        self.register_load_state_dict_pre_hook(take_sizes)

    def begin(self) -> str | None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none.

        Tells how much smaller than the whole network it is, if it is.
        """
        if self.inherit is None:
            return None
        whole = count(self)
        for name, part in self._teacher().items():
            weights, own = part.state_dict(), getattr(self, name)
            refuse_other_activation(part, own, self.inherit)
            if weights.keys() != own.state_dict().keys():
                raise RecipeError(f"inherit from {self.inherit}: its {name} is another network; set model to its name")
            take_sizes(own, weights, "")
            own.load_state_dict(weights)
        if self.image_masks is not None:
            self.image_masks.restart(*sizes(self.trunk))
        return smaller(whole, count(self))

    def _teacher(self) -> dict[str, nn.Module]:
        name = self.inherit or ""
        if not name.startswith("run:"):
            return timm_teacher(name, self.image_size)._asdict()
        earlier: Any = earlier_student(name)
        if not isinstance(earlier, TimmSlim):
            raise RecipeError(
                f"student: inherit = {name!r}: that student is of another kind; name a run of a timm_slim"
            )
        earlier.fuse()
        return {"trunk": earlier.trunk, "projection": earlier.projection, "normalise": earlier.normalise}

    def fuse(self) -> None:
        """Make the masks, as they settled, part of the weights, and forget them. Its output stays as in evaluation."""
        if self.image_masks is None:
            return
        masks = self.image_masks.eval()()
        fuse(self.trunk, masks)
        self.projection.weight.data = self.projection.weight.data[:, masks.hidden > 0]
        self.image_masks = None
        self.widths.pop("sparsity")

    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        masks = self.image_masks() if self.image_masks is not None else None
        return self.projection(encode(self.trunk, self.normalise(pixels), masks))

    def forward(self, batch: Batch) -> Features:
        assert batch.pixels is not None
        masks = [] if self.image_masks is None else [self.image_masks]
        if self.training and batch.step > 0:
            for group in masks:
                group.clamp()
        return Features(image=self.embed(batch.pixels), sparsity=share_gone(masks))
