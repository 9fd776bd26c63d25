"""Some of what a recipe has several of, by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import TypeVar

from distillkit.errors import RecipeError

T = TypeVar("T")


def only(all_of: Sequence[T], names: Sequence[str], called: Callable[[T], str], what: str) -> list[T]:
    """Those of these names, in the recipe's order; all without names. RecipeError for a name that nothing has."""
    known = [called(one) for one in all_of]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            told = f"did you mean {near[0]!r}?" if near else f"there are: {', '.join(known)}"
            raise RecipeError(f"--only {name}: the recipe has no {what} of that name; {told}")
    return [one for one, name in zip(all_of, known, strict=True) if name in names or not names]
