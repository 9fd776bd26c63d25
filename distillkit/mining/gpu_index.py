"""What FAISS keeps on a GPU, by the package faiss-gpu: lists of 8-bit codes, for a corpus that outgrows the card.

    row ~ centroid of its list + one of 256 pieces for each of its parts        (96 bytes a row at width 768)

https://arxiv.org/abs/1702.08734 and https://github.com/facebookresearch/faiss/wiki/Faiss-on-the-GPU. The wheels of
faiss-gpu are built without cuVS, so there is no CAGRA in them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from distillkit.errors import RecipeError
from distillkit.mining.which_faiss import faiss
from distillkit.system.machine import search_library

KIND = "gpu_ivf_pq"
MOST = 2048  # neighbours that its kernels give a query, and lists that they visit for it
_PARTS = (96, 64, 56, 48, 32, 28, 24, 20, 16, 12, 8, 4, 3, 2, 1)  # that its kernels can do


def cards() -> int:
    """GPUs that FAISS finds; none without faiss-gpu."""
    return int(faiss.get_num_gpus()) if hasattr(faiss, "GpuIndexIVFPQ") else 0


def refuse_without_cards() -> None:
    """RecipeError where this kind of index cannot be."""
    if not cards():
        raise RecipeError(
            f'index = "{KIND}": FAISS finds no GPU here ({search_library() or "a build of its own"}); it takes a GPU '
            'and faiss-gpu (pip install "distillkit[mining-gpu]"), or set index to auto'
        )


def parts(width: int) -> int:
    """Parts of a vector that get a code each: as many as the kernels can do."""
    return next(count for count in _PARTS if width % count == 0)


def empty(width: int, lists: int, seed: int) -> Any:
    """An index without rows, to be trained: its lists by k-means on unit vectors, then its codes."""
    config = faiss.GpuIndexIVFPQConfig()
    config.device = torch.cuda.current_device()
    config.useFloat16LookupTables = True  # in float32 those of 96 parts do not fit beside a kernel
    index: Any = faiss.GpuIndexIVFPQ(_resources(), width, lists, parts(width), 8, faiss.METRIC_INNER_PRODUCT, config)
    index.cp.seed, index.cp.min_points_per_centroid = seed, 1
    return index


def on_host(index: Any) -> Any:
    """A copy that can be written to a file."""
    return faiss.index_gpu_to_cpu(index)


def on_card(index: Any) -> Any:
    """A copy of what was read from a file."""
    options = faiss.GpuClonerOptions()
    options.useFloat16 = True  # of the lookup tables
    return faiss.index_cpu_to_gpu(_resources(), torch.cuda.current_device(), index, options)


@cache
def _resources() -> Any:
    """Streams and scratch memory; an index must not outlive them."""
    return faiss.StandardGpuResources()
