"""Bytes to pixels: safe decoding, and the pure functions from (image, view) to the pixels a network sees.

Pillow's pixels are the ones that everybody means; PyTorch's (`tensors`) are faster, and are had by asking for them.
"""

from distillkit.pixels.pillow import FORMATS, INTERPOLATIONS, centre_view, decode, refuse_bombs, render, upright_rgb

__all__ = ["FORMATS", "INTERPOLATIONS", "centre_view", "decode", "refuse_bombs", "render", "upright_rgb"]
