"""Multiply-adds of a student for one image, counted in a forward."""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from distillkit.runfolder import RunFolder


def macs(run: RunFolder) -> int | None:
    """None for a student that sees no images. Half of the floating-point operations of products and convolutions."""
    student = run.load_student()
    if "image" not in student.widths:
        return None
    pixels = torch.zeros(1, 3, student.image_size, student.image_size, dtype=torch.uint8)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        student.embed(pixels)
    return counted.get_total_flops() // 2
