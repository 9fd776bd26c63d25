"""TinyCLIP's automatic inheritance: an open_clip pair that learns which channels, heads and neurons it can do without.

    masks = true    a copy of the teacher, or of what an earlier stage left, learns masks beside its weights; its
                    `sparsity` belongs to the loss `sparsity`
    masks = false   what the masks of `inherit = "run:FOLDER"` left, as a really smaller network, is trained on

https://arxiv.org/abs/2309.12314. The stages alternate, each a run that inherits from the one before.
"""

from __future__ import annotations

import operator
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.recipe.schema import Side
from distillkit.recipe.weights import Inherit, inherited
from distillkit.students._count import count, smaller
from distillkit.students._inherit import refuse_other_activation
from distillkit.students._masks import Masks, share_gone
from distillkit.students._openclip import TextInput, configure, image_tower, mean_and_std, size_of, text_tower
from distillkit.students._pixels import Normalise
from distillkit.students._scale import START, multiplier
from distillkit.students._slim import encode_image, encode_text, fuse, refuse_other_towers, sizes
from distillkit.students._slim_blocks import take_sizes
from distillkit.students._text import TextStudent
from distillkit.students._weights import openclip_teacher
from distillkit.types import Batch, Features


class OpenclipSlim(TextStudent):
    """`model`: the whole network of the first stage, by its name in open_clip or as a table. Sparsity is the share of
    its parameters that masks have removed.

    `inherit`: "NAME/TAG", "local-dir:FOLDER" or "hf-hub:OWNER/NAME" of exactly this model's shape, or "run:FOLDER", an
    earlier stage. Layers have the sizes of the weights that are loaded.
    """

    def __init__(
        self,
        *,
        model: str | dict[str, Any],
        masks: bool,
        inherit: Inherit | None = None,
        image_size: Side | None = None,
    ):
        super().__init__()
        config = configure(model, embed_dim=None, image_size=image_size)
        self.inherit, self.image_size = inherited(inherit), size_of(config)
        self.widths = {"image": config["embed_dim"], "text": config["embed_dim"], "scale": 1}
        self.visual, self.text = image_tower(config), text_tower(config)
        for tower in (self.visual, self.text):
            refuse_other_towers(tower)
        self.logit_scale = nn.Parameter(torch.tensor(START))
        self.normalise = Normalise(*mean_and_std(model))
        self.text_input = TextInput.of(self.text, config)
        self.image_masks = Masks(*sizes(self.visual)) if masks else None
        self.text_masks = Masks(*sizes(self.text)) if masks else None
        if masks:
            self.widths |= {"sparsity": 1}
        self.register_load_state_dict_pre_hook(take_sizes)

    def begin(self) -> str | None:
        """What a fresh run does once: take over the teacher's weights. A resumed or finished run needs none.

        Tells how much smaller than the whole network it is, if it is.
        """
        if self.inherit is None:
            return None
        whole = count(self)
        teacher = openclip_teacher(self.inherit)
        with torch.no_grad():
            self.logit_scale.copy_(teacher.log_scale)
        for part in ("normalise", "visual", "text"):
            own, weights = getattr(self, part), getattr(teacher, part).state_dict()
            refuse_other_activation(getattr(teacher, part), own, self.inherit)
            _refuse_other_shapes(own, weights, self.inherit)
            take_sizes(own, weights, "")
            own.load_state_dict(weights)
        for masks, tower in ((self.image_masks, self.visual), (self.text_masks, self.text)):
            if masks is not None:
                masks.restart(*sizes(tower))
        return smaller(whole, count(self))

    def fuse(self) -> None:
        """Make the masks, as they settled, part of the weights, and forget them. Its output stays as in evaluation."""
        for masks, encoder in ((self.image_masks, self.visual), (self.text_masks, self.text)):
            if masks is not None:
                fuse(encoder, masks.eval()())
        self.image_masks = self.text_masks = None
        self.widths.pop("sparsity", None)

    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return encode_image(self.visual, self.normalise(pixels), self.image_masks() if self.image_masks else None)

    def embed_text(self, tokens: Int[Tensor, "t l"]) -> Float[Tensor, "t d"]:
        return encode_text(self.text, tokens, self.text_masks() if self.text_masks else None)

    def forward(self, batch: Batch) -> Features:
        masks = [group for group in (self.image_masks, self.text_masks) if group is not None]
        if self.training and batch.step > 0:
            for group in masks:
                group.clamp()
        image = None if batch.pixels is None else self.embed(batch.pixels)
        text = None if batch.tokens is None else self.embed_text(batch.tokens)
        return Features(image=image, text=text, scale=multiplier(self.logit_scale), sparsity=share_gone(masks))


def _refuse_other_shapes(own: nn.Module, weights: dict[str, Tensor], name: str) -> None:
    """Parts of the whole network may be missing, positions and kernels may not; all else would be another network."""
    shapes = {key: value.shape for key, value in own.state_dict().items()}
    for key in shapes.keys() | weights.keys():
        if key not in shapes or key not in weights:
            raise RecipeError(f"inherit from {name}: {key} is only in one of both; set model to its name")
        ours, theirs = shapes[key], weights[key].shape
        fixed = slice(2, None) if len(ours) > 2 else slice(1) if key.endswith("positional_embedding") else slice(0)
        if len(ours) != len(theirs) or any(map(operator.lt, ours, theirs)) or ours[fixed] != theirs[fixed]:
            raise RecipeError(
                f"inherit from {name}: {key} is {list(theirs)} there and {list(ours)} in model; set model to its name"
            )
