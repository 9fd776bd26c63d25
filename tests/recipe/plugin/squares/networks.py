"""A teacher that says an image's mean colour, and a student of one linear layer."""

import hashlib
from typing import ClassVar

import numpy as np
import torch
from torch import nn

from distillkit.types import Features


class Colour:
    """The mean colour, times `strength`."""

    fields: ClassVar = {"image": [3]}
    scale = None

    def __init__(self, *, strength: float = 1.0):
        self.strength = strength

    def preprocess(self, image):
        return torch.from_numpy(np.asarray(image, np.float32) / 255).permute(2, 0, 1)

    def forward(self, pixels, fields=None):
        return Features(image=self.strength * pixels.mean((2, 3)))

    def fingerprint(self):
        return {
            "kind": "squares.networks:Colour",
            "model": f"mean colour times {self.strength}",
            "weights_sha256": hashlib.sha256(str(self.strength).encode()).hexdigest(),
            "tensors": 0,
            "preprocess": {},
            "activation": "none",
            "precision": "fp32",
        }


class Linear(nn.Module):
    """One layer over all pixels."""

    def __init__(self, *, image_size: int = 8):
        super().__init__()
        self.image_size, self.widths = image_size, {"image": 3}
        self.layer = nn.Linear(3 * image_size**2, 3)

    def embed(self, pixels):
        return self.layer(pixels.flatten(1) / 255)

    def forward(self, batch):
        return Features(image=self.embed(batch.pixels))
