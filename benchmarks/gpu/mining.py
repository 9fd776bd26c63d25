"""Exact mining: 100,000 queries against a million rows on the card, as a share of the products that it is made of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.gpu.clock import here, seconds
from benchmarks.gpu.limits import BF16, FP32
from benchmarks.gpu.results import Part, value_of
from distillkit.mining.exact_gpu import ExactOnGPU

_K = 32


class Rows:
    """Random vectors, of length 1 but for a few percent, made when they are asked for."""

    def __init__(self, count: int, width: int):
        self.count, self.width = count, width

    def __len__(self) -> int:
        return self.count

    def unit(self, places: slice, out: Any) -> Any:
        torch.from_numpy(out).normal_().div_(self.width**0.5)
        return out


def run(out: Path, toy: bool) -> None:
    part, device = Part(out, "mining"), here()
    rows, queries, width, at_once = (2000, 64, 32, 32) if toy else (1_000_000, 100_000, 768, 4096)
    corpus: Any = Rows(rows, width)
    search = ExactOnGPU(corpus, rows, 65_536, device)
    asked = np.random.default_rng(0).standard_normal((queries, width), dtype=np.float32)

    def mined() -> None:
        for first in range(0, queries, at_once):
            search.search(asked[first : first + at_once], _K)

    rate = 2 * rows * queries * width / seconds(mined, rounds=1) / 1e12
    part.add(f"exact, {queries:,} queries against {rows:,} rows of {width}", rate, "TFLOP/s")
    for name, goal in ((FP32, 0.4), (BF16, None)):
        limit = value_of(out, "limits", name)
        if limit:
            part.add(f"exact mining / {name}", rate / limit, "", goal)
    part.keep(ended="whole")
