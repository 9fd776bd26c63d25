"""Addresses that plans and manifests may keep: without passwords and signatures, which would travel with a store."""

from __future__ import annotations

import os
from typing import Any

from distillkit.errors import SecretGiven
from distillkit.hidden import public

_PLACE = 200  # letters of where an address stands


def refuse_secrets(address: str, where: str = "") -> None:
    """SecretGiven for an address, or a connection string, with a password, a key or a signature; `where` it was given.
    The line does not hold it."""
    if (told := public(address)) != address:
        raise SecretGiven(
            f"{where}{': ' if where else ''}{' '.join(told.split()):.200} has a password or a signature in it, which "
            "plans and logs would keep; take it out: credentials come from the environment (AWS_PROFILE, FSSPEC_HTTPS, "
            "...; docs/inputs.md)"
        )


def refuse_secrets_within(content: Any, where: str) -> None:
    """The same of every text in nested tables and lists, however deep they go."""
    todo = [(content, where)]
    while todo:
        value, place = todo.pop()
        if isinstance(value, str | os.PathLike):
            refuse_secrets(os.fsdecode(value), place)
        elif isinstance(value, dict):
            todo += [(one, f"{place}: {key}"[:_PLACE]) for key, one in reversed(value.items())]
        elif isinstance(value, list | tuple):
            todo += [(one, place) for one in reversed(value)]
