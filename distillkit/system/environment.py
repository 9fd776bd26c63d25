"""Numbers that come from environment variables."""

from __future__ import annotations

import os

from distillkit.errors import DistillkitError


def whole_number(variable: str, default: int, least: int = 0) -> int:
    """What the variable says, `default` where it is not set or empty. DistillkitError for what is no such number."""
    said = os.environ.get(variable, "").partition(",")[0].strip()  # OpenMP takes a number for each of nested teams
    if not said:
        return default
    if not (said.isascii() and said.isdigit() and len(said) < 19 and int(said) >= least):
        raise DistillkitError(f"{variable}={said!r:.80}: no whole number from {least} on; mend it, or unset it")
    return int(said)
