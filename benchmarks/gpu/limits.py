"""What the card can do: products of matrices, copies to it, from it, within it. All else is told as a share of it."""

from __future__ import annotations

from pathlib import Path

import torch

from benchmarks.gpu.clock import here, seconds
from benchmarks.gpu.results import Part

BF16, FP32, TO = "products of bf16 matrices", "products of fp32 matrices", "copies to the card, pinned"


def run(out: Path, toy: bool) -> None:
    part, device = Part(out, "limits"), here()
    side, size = (128, 1 << 20) if toy else (8192, 1 << 30)
    for name, dtype in ((BF16, torch.bfloat16), (FP32, torch.float32)):
        one, other = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        part.add(name, 2 * side**3 / seconds(lambda a=one, b=other: a @ b, 4 if toy else 32) / 1e12, "TFLOP/s")
    there = torch.empty(size, dtype=torch.uint8, device=device)
    plain = torch.empty(size, dtype=torch.uint8)
    pinned = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    for name, into, source in (
        (TO, there, pinned),
        ("copies to the card, pageable", there, plain),
        ("copies from the card, pinned", pinned, there),
    ):
        part.add(name, size / seconds(lambda i=into, s=source: i.copy_(s, non_blocking=True), 4) / 1e9, "GB/s")
    twin = torch.empty_like(there)
    part.add("memory of the card, read and written", 2 * size / seconds(lambda: twin.copy_(there), 8) / 1e9, "GB/s")
    part.keep(ended="whole")
