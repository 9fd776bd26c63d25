"""How much memory: "8GiB", "500MB"."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

# What the key `memory` means in every recipe.
MEMORY = 'the most that decoded images take in memory at once, as "2GiB"; if not given, a quarter of the free memory'
_UNITS = {"MB": 10**6, "GB": 10**9, "MiB": 2**20, "GiB": 2**30}


def memory_bytes(size: str) -> int:
    """ "8GiB" is 8,589,934,592. ValueError says how to write a size."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?) ?(MB|GB|MiB|GiB)", size)
    if not found or len(size) > 24 or float(found[1]) * _UNITS[found[2]] >= 2**63:
        raise ValueError("write a size such as 8GiB or 500MB")
    return int(float(found[1]) * _UNITS[found[2]])


def _checked(size: str) -> str:
    memory_bytes(size)
    return size


Size = Annotated[str, AfterValidator(_checked)]
