"""Numbers that functions are given: the command line refuses those that cannot be meant, and so must Python."""

from __future__ import annotations

from distillkit.errors import DistillkitError


def refuse_less(least: int, **asked: int | None) -> None:
    """DistillkitError where one of these, by its name, is less; None is none that was asked for."""
    for name, number in asked.items():
        if number is not None and number < least:
            raise DistillkitError(f"{name} = {number}: at least {least} is needed")
