"""Any timm network as an image student, with a linear projection to the teacher's joint width.

https://github.com/huggingface/pytorch-image-models
"""

from __future__ import annotations

import difflib

import timm
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distillkit.errors import RecipeError
from distillkit.types import Batch, Features


class TimmImage(nn.Module):
    """`model`: a timm name, from scratch. `image_size`: pixels of a side. `embed_dim`: width of the joint space.

    Pixels come as uint8 and are normalised here, with timm's mean and std for that network.
    """

    def __init__(self, *, model: str, image_size: int, embed_dim: int, drop_path: float = 0.0, drop: float = 0.0):
        super().__init__()
        if model not in timm.list_models():
            near = difflib.get_close_matches(model, timm.list_models(), n=3)
            raise RecipeError(f"student: timm has no model {model!r}, did you mean {' or '.join(near) or 'another'}?")
        self.image_size, self.embed_dim = image_size, embed_dim
        options = {"drop_path_rate": drop_path} if drop_path else {}
        self.trunk = _create(model, image_size, options | {"drop_rate": drop})
        self.projection = nn.Linear(self.trunk.num_features_out, embed_dim, bias=False)
        config = timm.get_pretrained_cfg(model)
        mean, std = (config.mean, config.std) if config else ((0.5,) * 3, (0.5,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1) * 255, persistent=False)

    @property
    def widths(self) -> dict[str, int]:
        return {"image": self.embed_dim}

    def forward(self, batch: Batch) -> Features:
        return Features(image=self.embed(batch.pixels))

    def embed(self, pixels: UInt8[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        return self.projection(self.trunk((pixels - self.mean) / self.std))


def _create(model: str, image_size: int, options: dict[str, float]) -> nn.Module:
    """The trunk without classifier; transformers are told the image size, convolutional networks do not need it."""
    try:
        trunk = timm.create_model(model, num_classes=0, img_size=image_size, **options)
    except TypeError:
        trunk = timm.create_model(model, num_classes=0, **options)
    with torch.no_grad():
        trunk.eval()
        trunk.num_features_out = trunk(torch.zeros(1, 3, image_size, image_size)).shape[-1]
    return trunk.train()
