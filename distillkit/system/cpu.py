"""Settings that decide how fast networks run on a CPU. Call before torch starts its threads."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch

from distillkit.system.workers import cores

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_GIBIBYTE = 1 << 30


@contextmanager
def settled() -> Iterator[None]:
    """`settle`, for the time within: a notebook's or a script's own numbers go on as they would have.

    torch's random numbers, its number of threads, and whether numbers below 1e-38 count (NumPy's, too) are then those
    of before. Random numbers of a GPU are, where somebody had used one. They are the process's: what another thread
    draws meanwhile, it draws again afterwards.
    """
    threads, small, drawn = torch.get_num_threads(), _small_count(), torch.get_rng_state()
    of_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None
    try:
        settle()
        yield
    finally:
        torch.set_rng_state(drawn)
        if of_gpus is not None:
            torch.cuda.set_rng_state_all(of_gpus)
        torch.set_flush_denormal(not small)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        # Pools of ours have threads of one core each, and torch takes what one of them said for every thread to come.
        last = threading.Thread(target=torch.set_num_threads, args=(threads,))
        with suppress(RuntimeError):  # none can begin, as at the end of a process: then none is to come, either
            last.start()
            last.join()


def _small_count() -> bool:
    """Whether this thread tells numbers below 1e-38 from zero; a caller's defaults are perhaps float64, or a GPU."""
    return bool(torch.tensor([1e-40], dtype=torch.float32, device="cpu").mul(1) != 0)


def settle() -> None:
    """Reuse freed memory, treat numbers below 1e-38 as zero, and take no more threads than there are cores to use.

    By default glibc maps every activation above 128 KiB afresh, and its pages must be faulted in again: at batch 64,
    EfficientNet-Lite0 spent 36 ms in the kernel beside 20 ms of arithmetic per image, and nothing with this setting
    (other C libraries have no such threshold). Softmaxes at a logit scale of 100 are full of denormals, slow on a CPU:
    two `affinity` terms over 1024 x 1024 scores took ten times as long. Nothing of a loss is lost with them. torch does
    not see the limit of a container, and threads beyond it are stopped in the middle of a kernel while all wait for
    them; whoever sets OMP_NUM_THREADS decides.
    """
    torch.set_flush_denormal(True)
    if "OMP_NUM_THREADS" not in os.environ and torch.get_num_threads() > cores():
        torch.set_num_threads(cores())
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _GIBIBYTE)
        libc.mallopt(_TRIM_THRESHOLD, _GIBIBYTE)
