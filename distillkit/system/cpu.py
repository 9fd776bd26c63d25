"""Two settings that decide how fast networks run on a CPU. Call before torch starts its threads."""

from __future__ import annotations

import ctypes
import platform

import torch

# glibc's malloc.h
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_GIBIBYTE = 1 << 30


def settle() -> None:
    """Reuse freed memory, and treat numbers below 1e-38 as zero.

    By default glibc maps every activation above 128 KiB afresh, and its pages must be faulted in again: at batch 64,
    EfficientNet-Lite0 spent 36 ms in the kernel beside 20 ms of arithmetic per image, and nothing with this setting
    (other C libraries have no such threshold). Softmaxes at a logit scale of 100 are full of denormals, slow on a CPU:
    two `affinity` terms over 1024 x 1024 scores took ten times as long. Nothing of a loss is lost with them.
    """
    torch.set_flush_denormal(True)
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_MMAP_THRESHOLD, _GIBIBYTE)
        libc.mallopt(_TRIM_THRESHOLD, _GIBIBYTE)
