"""What several targets write: weights, preprocessing, numbers of a network; and what a full disk says to libraries.

A library that writes a file past Python tells of a full disk in words of its own, or dies of it: what can be is made in
memory, and written here.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from distillkit.system.atomic import noticing_a_full_disk

Weights = dict[str, Tensor]


def write_weights(path: Path, weights: Weights, precision: str = "fp32") -> None:
    """A file of safetensors; `precision`: what its floats are kept in."""
    dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
    kept = {name: (value.to(dtype) if value.is_floating_point() else value) for name, value in weights.items()}
    put(path, save({name: value.detach().clone().contiguous() for name, value in kept.items()}, {"format": "pt"}))


def write_json(path: Path, value: Any) -> None:
    put(path, (json.dumps(value, indent=2) + "\n").encode())


def put(path: Path, content: bytes | memoryview) -> None:
    """A file of an export that is being filled. DiskFull where there is no room for it."""
    with noticing_a_full_disk(path):
        path.write_bytes(content)


def take_room(folder: Path, number: int) -> None:
    """DiskFull where a file of so many bytes does not fit into `folder`: asked before a library writes there that does
    not tell it.
    """
    with noticing_a_full_disk(folder), tempfile.TemporaryFile(dir=folder) as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, number)


@contextmanager
def by_number(path: Path) -> Iterator[None]:
    """An error of the system that a library in Rust tells in words alone, as "(os error 28)", as what it is."""
    with noticing_a_full_disk(path):
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            told = re.search(r"\(os error (\d+)\)", str(error))
            if told is None:
                raise
            raise OSError(int(told[1]), os.strerror(int(told[1])), str(path)) from error
